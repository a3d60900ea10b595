"""SentencePiece model files, read without the `sentencepiece` and `protobuf` packages.

The file is one protocol-buffer message. Of its fields these are read:

    field   holds               its fields that are read, with the default if one is left out
    1       a piece, repeated   1 its text, 2 its score (float32), 3 its kind (1: normal)
    2       how it was trained  3 the algorithm (1: Unigram; 2: BPE)
    3       the normalizer      2 the compiled table that maps characters, 3 whether a space is put in front (1),
                                4 whether extra spaces are removed (1)

Source: https://github.com/google/sentencepiece/blob/v0.2.0/src/sentencepiece_model.proto and, for the encoding,
https://protobuf.dev/programming-guides/encoding/.
"""

import dataclasses
import functools
import pathlib
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from keras_transformers.files.reading import read_bytes

_PLACE = "<the file>"  # in an error, for the path
_ALGORITHMS = {1: "unigram", 2: "bpe"}
_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 2, 3, 4, 5


@dataclasses.dataclass(frozen=True)
class SentencePieceModel:
    """The pieces of a model, and its normalization of a text.

    Attributes:
        algorithm: "unigram" or "bpe".
        pieces: `(text, score)`, by id.
        control: the pieces that stand for no text, such as "</s>".
        user_defined: the pieces that are found in a text before all others.
        character_map: the compiled table of the normalizer; empty for none.
        unknown_id: the id of the piece that stands for unknown text.
        textless: the pieces that are never found in a text: the unknown one, the control pieces and unused ones.
        add_prefix: whether a space is put in front of a text.
        remove_extra_spaces: whether spaces around a text, and all but one between words, are removed.
    """

    algorithm: str
    pieces: tuple[tuple[str, float], ...]
    control: tuple[str, ...]
    user_defined: tuple[str, ...]
    character_map: bytes
    unknown_id: int = 0
    textless: frozenset[str] = frozenset()
    add_prefix: bool = True
    remove_extra_spaces: bool = True


def read_sentencepiece(path: pathlib.Path) -> SentencePieceModel:
    """Read a SentencePiece model.

    Args:
        path: the file, usually named `*.model`.

    Raises:
        ValueError: for a file that is no whole SentencePiece model, and for models of words or characters.

    Example:
    ```python
    read_sentencepiece(pathlib.Path("spiece.model")).pieces[0]  # ("<pad>", 0.0)
    ```
    """
    return parse_sentencepiece(read_bytes(path), path)


def parse_sentencepiece(content: bytes, path: object) -> SentencePieceModel:
    """Read the content of a SentencePiece model; `path` names it in errors, which are those of `read_sentencepiece`."""
    try:
        return _parse(content)
    except ValueError as error:
        raise ValueError(str(error).replace(_PLACE, str(path))) from None


@functools.lru_cache(maxsize=2)  # both sides of a translator often have the same model
def _parse(content: bytes) -> SentencePieceModel:
    pieces, kinds = [], []
    training: dict[int, Any] | None = None
    normalizer: dict[int, Any] | None = None
    try:
        for field, value in _fields(content):
            if field == 1:
                parts = dict(_fields(value))
                pieces.append((parts[1].decode(), struct.unpack("<f", parts.get(2, bytes(4)))[0]))
                kinds.append(parts.get(3, 1))
            elif field == 2:
                training = dict(_fields(value))
            elif field == 3:
                normalizer = dict(_fields(value))
    except (IndexError, KeyError, TypeError, AttributeError, ValueError, struct.error) as error:
        raise ValueError(
            f"Expected a SentencePiece model in {_PLACE}, got a broken or truncated file, or one of another kind "
            f"({error}). Fetch it again."
        ) from None
    if not pieces:
        raise ValueError(f"Expected a SentencePiece model in {_PLACE}, got a file without pieces. Fetch it again.")
    if training is None or normalizer is None:  # the file has them behind the pieces
        raise ValueError(
            f"Expected a SentencePiece model in {_PLACE}, got a truncated file, which ends after piece {len(pieces)}. "
            "Fetch it again."
        )
    algorithm = training.get(3, 1)
    if algorithm not in _ALGORITHMS:
        raise ValueError(
            f"Expected a Unigram (1) or BPE (2) model in {_PLACE}, got algorithm {algorithm}. Words and characters "
            "need no such model."
        )
    by_kind: dict[int, list[str]] = {}
    for (piece, _), kind in zip(pieces, kinds, strict=True):
        by_kind.setdefault(kind, []).append(piece)
    return SentencePieceModel(
        algorithm=_ALGORITHMS[algorithm],
        pieces=tuple(pieces),
        control=tuple(by_kind.get(_CONTROL, ())),
        user_defined=tuple(by_kind.get(_USER_DEFINED, ())),
        character_map=normalizer.get(2, b""),
        unknown_id=kinds.index(_UNKNOWN) if _UNKNOWN in kinds else 0,
        textless=frozenset(piece for kind in (_UNKNOWN, _CONTROL, _UNUSED) for piece in by_kind.get(kind, ())),
        add_prefix=bool(normalizer.get(3, 1)),
        remove_extra_spaces=bool(normalizer.get(4, 1)),
    )


def merges_of(pieces: Iterable[str]) -> list[tuple[str, str]]:
    """The merges of a SentencePiece BPE model.

    Args:
        pieces: in the order in which they were merged.
    """
    pieces = list(pieces)
    known = set(pieces)
    return [
        (piece[:at], piece[at:])
        for piece in pieces
        for at in range(1, len(piece))
        if piece[:at] in known and piece[at:] in known
    ]


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: their numbers, and integers or bytes."""
    at = 0
    while at < len(message):
        key, at = _integer(message, at)
        field, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _integer(message, at)
            yield field, value
            continue
        if kind == 2:
            length, at = _integer(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + length > len(message):
            raise ValueError(f"{at + length - len(message)} bytes are missing")
        yield field, message[at : at + length]
        at += length


def _integer(message: bytes, at: int) -> tuple[int, int]:
    """An integer, seven bits a byte with the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
