"""One vocabulary with its engine: texts to ids and back, with special tokens in a text read as text.

A translation model that reads other pieces than it writes has two. `convert.numbered_pieces.NumberedPieces` has the
same methods, for models whose texts are split by SentencePiece.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tokenizers
from tokenizers import models

from keras_transformers.data.containers import as_text
from keras_transformers.data.sources import texts_of
from keras_transformers.tokenizers.engine import unknown_id_of
from keras_transformers.tokenizers.normalization import keep_spaces_at_ends

# Texts given to the engine at once: enough for its threads, few enough that its offsets and strings take little memory.
_CHUNK = 8192


class EncodedWords(NamedTuple):
    """The result of `Tokenizer.encode_words`.

    Attributes:
        token_ids: a list of ids for each row.
        words: of the same lengths: the index, in its row, of the word that the token comes from.
    """

    token_ids: list[list[int]]
    words: list[list[int]]


class EncodedSpans(NamedTuple):
    """The result of `Tokenizer.encode_with_offsets`.

    Attributes:
        token_ids: a list of ids for each text.
        spans: for each text int32 `[T, 2]`: the characters that each token stands for are `text[start:end]`.
    """

    token_ids: list[list[int]]
    spans: list[np.ndarray]


class Vocabulary:
    """A vocabulary and the engine that splits texts into its pieces.

    Args:
        engine: a `tokenizers.Tokenizer`, which is changed: it takes special tokens in a text as text from here on.
        unknown_id: the id of the unknown token, or None. Another may be the one that the engine's own model gives.

    Attributes:
        engine: the same.
        control_ids: the ids of special tokens that stand for no text.
    """

    def __init__(self, engine: tokenizers.Tokenizer, unknown_id: int | None):
        self.engine = engine
        self.engine.encode_special_tokens = True  # the engine means: encode the text of special tokens
        self._unknown_ids = {unknown_id, unknown_id_of(engine)}
        self._find_control_ids()

    def _find_control_ids(self) -> None:
        self.control_ids = {i for _, i in self.special_tokens()} - self._unknown_ids
        self._parsing_engine: tokenizers.Tokenizer | None = None

    def special_tokens(self) -> list[tuple[str, int]]:
        """All special tokens that the engine knows, with their ids."""
        return [(token.content, i) for i, token in self.engine.get_added_tokens_decoder().items() if token.special]

    def add_tokens(self, tokens: list[str], special: bool) -> None:
        """Add tokens behind the vocabulary."""
        keep_spaces_at_ends(self.engine)
        (self.engine.add_special_tokens if special else self.engine.add_tokens)(tokens)
        self._find_control_ids()

    def _engine_for(self, parse_special: bool) -> tokenizers.Tokenizer:
        if not parse_special:
            return self.engine
        if self._parsing_engine is None:  # a second one: the setting belongs to an engine, and threads share that
            self._parsing_engine = copy_of(self.engine)
        return self._parsing_engine

    def encode(self, texts: list[str], parse_special: bool = False) -> list[list[int]]:
        """The ids of each text."""
        engine, ids = self._engine_for(parse_special), []
        for chunk in chunks(texts):
            ids += [encoding.ids for encoding in engine.encode_batch_fast(chunk, add_special_tokens=False)]
        return ids if parse_special else [self._without_control_ids(row, row)[0] for row in ids]

    def encode_with_spans(self, texts: list[str], parse_special: bool = False) -> EncodedSpans:
        """The ids of each text, and the characters that each stands for."""
        engine, encoded = self._engine_for(parse_special), EncodedSpans([], [])
        for chunk in chunks(texts):
            for encoding in engine.encode_batch(chunk, add_special_tokens=False):
                ids, spans = encoding.ids, encoding.offsets
                if not parse_special:
                    ids, spans = self._without_control_ids(ids, spans)
                encoded.token_ids.append(ids)
                encoded.spans.append(np.array(spans, dtype=np.int32).reshape(-1, 2))
        return encoded

    def encode_words(self, rows: list[list[str]]) -> EncodedWords:
        """The ids of rows of words, and the word that each comes from."""
        encoded = EncodedWords([], [])
        for chunk in chunks(rows):
            for encoding in self.engine.encode_batch(chunk, is_pretokenized=True, add_special_tokens=False):
                ids, words = self._without_control_ids(encoding.ids, encoding.word_ids)
                encoded.token_ids.append(ids)
                encoded.words.append(words)
        return encoded

    def decode(self, rows: list[list[int]], cleaned: bool = False) -> list[str]:
        """The text of each row of ids.

        Args:
            rows: lists of ids.
            cleaned: whether spaces before punctuation go, if the engine's model is not BPE.
        """
        texts = self.engine.decode_batch(rows, skip_special_tokens=True)
        cleaned = cleaned and not isinstance(self.engine.model, models.BPE)
        return [_without_spaces_before(text) for text in texts] if cleaned else texts

    def _without_control_ids(self, ids: list[int], beside: list[Any]) -> tuple[list[int], list[Any]]:
        """The ids, and the values beside them, with control ids spelled by others."""
        if self.control_ids.isdisjoint(ids):
            return ids, beside
        # Some loaded models (SentencePiece's Unigram) hold their special tokens among the pieces, and find them in
        # text: spell those by other pieces.
        spelled, beside_spelled = [], []
        for i, value in zip(ids, beside, strict=True):
            piece = self.engine.id_to_token(i) or ""
            parts = [piece[:1], piece[1:]] if i in self.control_ids else []
            pieces = [token.id for part in parts for token in self.engine.model.tokenize(part)] or [i]
            spelled += pieces
            beside_spelled += [value] * len(pieces)
        return spelled, beside_spelled

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_parsing_engine": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.engine.encode_special_tokens = True  # the one setting that the engine's own pickling loses


def copy_of(engine: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """A second engine like this one, which parses special tokens in a text."""
    return tokenizers.Tokenizer.from_str(engine.to_str())


def size_of(engine: tokenizers.Tokenizer) -> int:
    """One more than the highest id, as many rows as an embedding needs."""
    return max(engine.get_vocab(with_added_tokens=True).values()) + 1


def checked_texts(texts: Any) -> list[str]:
    """Texts as a list.

    Raises:
        TypeError: for one plain string, and for items that are not strings.
        ValueError: for a text with a lone surrogate.
    """
    if isinstance(texts, (str, bytes)):
        raise TypeError(
            f"Expected a list of strings, got one {type(texts).__name__} alone. Put it in a list: encode([text])."
        )
    return texts_of(texts)[0]


def checked_words(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Rows of words as lists.

    Raises:
        TypeError: for rows that are not lists of strings.
        ValueError: for a word with a lone surrogate.
    """
    checked = []
    for index, row in enumerate(rows):
        if isinstance(row, (str, bytes)) or not isinstance(row, Iterable):
            raise TypeError(
                f"Expected every row to be a list of words, got {type(row).__name__} at index {index}. Split it, "
                "or call encode_with_offsets for whole texts."
            )
        checked.append([as_text(word, f"word {place} of row {index}") for place, word in enumerate(row)])
    return checked


def checked_ids(ids: Any, index: int, size: int) -> list[int]:
    """The ids of one text as a list.

    Args:
        ids: the ids.
        index: which text they are of, for the error.
        size: of the vocabulary.

    Raises:
        TypeError: for ids that are not integers.
        ValueError: for ids below 0 or not below `size`.
    """
    row = np.asarray(ids)
    if row.ndim == 1 and row.size == 0:
        return []
    if row.ndim != 1 or row.dtype.kind not in "iu":
        raise TypeError(
            f"Expected a flat list of integer ids, got {row.dtype} of shape {row.shape} at index {index}. Decode "
            "ids, not scores or text."
        )
    wrong = (row < 0) | (row >= size)
    if wrong.any():
        raise ValueError(
            f"Expected ids from 0 to {size - 1}, got {row[wrong][0]} at position "
            f"{int(np.argmax(wrong))} of the text at index {index}. "
            "Do these ids come from another tokenizer's model?"
        )
    return row.tolist()


def rows_of_ids(token_ids: Any, size: int) -> tuple[list[list[int]], bool]:
    """The ids of each text, and whether `token_ids` are those of one text alone.

    Raises:
        TypeError, ValueError: as `checked_ids` does, and a TypeError for a single id.
    """
    if hasattr(token_ids, "shape"):
        token_ids = np.asarray(token_ids)
        one = token_ids.ndim < 2
    elif isinstance(token_ids, (list, tuple)):
        one = not token_ids or not isinstance(token_ids[0], (list, tuple, np.ndarray))
    else:
        raise TypeError(
            f"Expected token ids in a list or an array, got {type(token_ids).__name__}. Put a single id in a "
            "list: decode([id])."
        )
    return [checked_ids(row, index, size) for index, row in enumerate([token_ids] if one else token_ids)], one


def _without_spaces_before(text: str) -> str:
    """A text without the spaces before its punctuation, as `clean_up_tokenization_spaces` asks for."""
    for spaced, mark in (
        *((f" {mark}", mark) for mark in ".?!,"),
        (" ' ", "'"),
        *((f" {mark}", mark) for mark in ("n't", "'m", "'s", "'ve", "'re")),
    ):
        text = text.replace(spaced, mark)
    return text


def chunks(items: list[Any]) -> Iterator[list[Any]]:
    """Items in lists of at most 8192."""
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
