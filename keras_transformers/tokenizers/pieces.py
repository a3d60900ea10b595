"""Ids as they are written. All but the last function are methods of `Tokenizer`."""

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_transformers.tokenizers.engine import guarded
from keras_transformers.tokenizers.parts import Parts
from keras_transformers.tokenizers.vocabulary import checked_ids, checked_texts

_MARKS = re.compile(r"\s*[^\w\s'’\ufffd-]+\s*")


@guarded()
def tokens(self: Parts, text: "str | Sequence[int] | np.ndarray", *, target: bool = False) -> list[str]:
    """The pieces of a text, or of ids, as a reader would write them, for the axes of a picture.

    A space in front of a word stays with it ("bike" and " bike" are two pieces), special ids are shown, and a piece
    that is only part of a character is shown as U+FFFD.

    Args:
        text: one string, or the ids of one text.
        target: whether it is a translation, for a model that writes other pieces than it reads.

    Raises:
        TypeError, ValueError: as `encode` and `decode` do.
    """
    side = self._sides[target]
    ids = side.encode(checked_texts([text]))[0] if isinstance(text, str) else _checked(self, text, target)
    return [side.engine.decode([i], skip_special_tokens=False) for i in ids]


@guarded()
def words(self: Parts, token_ids: "Sequence[int] | np.ndarray", *, target: bool = False) -> tuple[list[int], list[str]]:
    """The words of ids: the places where they begin, and their texts. Special ids and punctuation marks stand alone.

    Two pieces are of one word if no space stands between them in their text together.

    Args:
        token_ids: the ids of one text.
        target: whether it is a translation, for a model that writes other pieces than it reads.

    Raises:
        TypeError, ValueError: as `decode` does.
    """
    ids = _checked(self, token_ids, target)
    decode = self._sides[target].engine.decode
    alone = [decode([i], skip_special_tokens=False) for i in ids]
    inner = [i not in self.control_ids and not _MARKS.fullmatch(text) for i, text in zip(ids, alone, strict=True)]
    begins = [0] if ids else []
    for place in range(1, len(ids)):
        before, after = alone[place - 1 : place + 1]
        joined = decode(ids[place - 1 : place + 1], skip_special_tokens=False)
        of_one_character = "\ufffd" in before and "\ufffd" in after
        rest = joined.strip().removeprefix(before.strip())
        touching = not (before[-1:].isspace() or after[:1].isspace() or rest[:1].isspace())
        within = inner[place - 1] and inner[place] and touching
        if not (of_one_character or within):
            begins.append(place)
    spans = itertools.pairwise([*begins, len(ids)])
    return begins, [decode(ids[begin:end], skip_special_tokens=False) for begin, end in spans]


@guarded()
def to_pieces(self: Parts, token_ids: Sequence[int], *, target: bool = False) -> list[str]:
    """Ids as the vocabulary itself writes them ("Ġbike", "</s>"), which other programs call tokens.

    An id that the vocabulary skips is written "<unused_7>".

    Args:
        token_ids: the ids of one text.
        target: whether they are of the vocabulary that a translation model writes, if that is another.

    Raises:
        ValueError: for ids that are not in the vocabulary.
    """
    pieces = [(i, self._sides[target].engine.id_to_token(i)) for i in _checked(self, token_ids, target)]
    return [f"<unused_{i}>" if piece is None else piece for i, piece in pieces]


@guarded()
def from_pieces(self: Parts, pieces: Sequence[str], *, target: bool = False) -> list[int]:
    """The ids of pieces as `to_pieces` writes them.

    Raises:
        ValueError: for pieces that are not in the vocabulary.
    """
    ids: list[Any] = [self._sides[target].engine.token_to_id(piece) for piece in pieces]
    unknown = [piece for piece, i in zip(pieces, ids, strict=True) if i is None]
    if unknown:
        raise ValueError(
            f"Expected pieces of the vocabulary, got {', '.join(map(repr, unknown[:10]))}. Encode texts instead."
        )
    return ids


def _checked(tokenizer: Parts, token_ids: Any, target: bool) -> list[int]:
    return checked_ids(token_ids, 0, tokenizer.target_vocabulary_size if target else tokenizer.vocabulary_size)
