"""Normalization as tables of characters for a TensorFlow graph.

The engine's own normalizer and pre-tokenizer run once over all 1.1 million code points, and their results are kept. So
the graph agrees with the engine's release of Unicode, and not with that of another library:

    code point    kept as         in words
    b             itself          most of them
    É             e               lower case, no accent
    ß             itself          which libraries with "case folding" turn into "ss"
    !             " ! "           a word of its own, as a Chinese character is
    U+00A0        " "             white space of any kind
    U+200D        nothing         removed

This holds for steps that look at one character at a time. The steps of `normalization.py` that look at neighbours, too,
are written out here, and tensorflow-text has Unicode's forms. Other steps (a pattern of several characters) come out
wrong here, and the check in `tokenizer.py` refuses them.

Legend: `B` texts, `C` characters of all of them in a row.
"""

import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tokenizers
from tokenizers import normalizers

from keras_transformers.extras import require
from keras_transformers.tokenizers.normalization import JOINERS, SPACES_AT_ENDS, SPACES_IN_A_ROW, UNJOINED, parts_of

_CODE_POINTS = 0x110000
_SURROGATES = range(0xD800, 0xE000)
_BLOCK = 256
_ITSELF = -1  # in a replacement: the character itself
_SPACE = ord(" ")


class CharacterTable(tf.Module):
    """An integer for each code point. Blocks of 256 that repeat, as most do, are held once.

    Args:
        values: int array `[0x110000]`.
    """

    def __init__(self, values: np.ndarray):
        super().__init__()
        blocks: dict[bytes, int] = {}
        block_of = [blocks.setdefault(block.tobytes(), len(blocks)) for block in values.reshape(-1, _BLOCK)]
        self._values = tf.constant(np.frombuffer(b"".join(blocks), values.dtype), tf.int32)
        self._start = tf.constant(np.multiply(block_of, _BLOCK), tf.int32)

    def __call__(self, characters: tf.Tensor) -> tf.Tensor:
        """Look up int32 code points of any shape; int32 of the same shape comes back."""
        return tf.gather(self._values, tf.gather(self._start, characters // _BLOCK) + characters % _BLOCK)


class Rewriting(tf.Module):
    """Replaces each character by the characters that stand for it: none, itself, or others.

    Args:
        rewrite: the engine's function of one string. Its result must be the results of all characters in a row.
    """

    def __init__(self, rewrite: Callable[[str], str]):
        super().__init__()
        numbers: dict[tuple[int, ...], int] = {(_ITSELF,): 0}
        number_of = np.zeros(_CODE_POINTS, np.int32)
        for character, replacement in _rewritten(rewrite):
            pattern = tuple(_ITSELF if c == character else ord(c) for c in replacement)
            number_of[ord(character)] = numbers.setdefault(pattern, len(numbers))
        self._number = CharacterTable(number_of)
        self._characters = tf.constant([c for pattern in numbers for c in pattern], tf.int32)
        self._ends = tf.constant(np.cumsum([0, *map(len, numbers)]), tf.int32)

    def __call__(self, characters: tf.RaggedTensor) -> tf.RaggedTensor:
        """Rewrite code points, int32 ragged `[B, characters]`."""
        return self.with_origins(characters)[0]

    def with_origins(self, characters: tf.RaggedTensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """The rewritten code points, and for each the index in `characters.flat_values` that it comes from."""
        replacements = tf.RaggedTensor.from_row_splits(self._characters, self._ends, validate=False)
        replacements = tf.gather(replacements, self._number(characters.flat_values))
        origins = tf.cast(replacements.value_rowids(), tf.int64)
        themselves = tf.gather(characters.flat_values, origins)
        new = tf.where(replacements.flat_values == _ITSELF, themselves, replacements.flat_values)
        splits = tf.cast(tf.gather(replacements.row_splits, characters.row_splits), tf.int64)
        return tf.RaggedTensor.from_row_splits(new, splits, validate=False), origins


class Normalization(tf.Module):
    """The steps of a normalizer in order; each takes code points, int32 ragged `[B, characters]`, and returns others.

    Args:
        engine: one with a normalizer.
    """

    def __init__(self, engine: tokenizers.Tokenizer):
        super().__init__()
        self._steps = [_step(part, description) for part, description in parts_of(engine)]

    def __call__(self, characters: tf.RaggedTensor) -> tf.RaggedTensor:
        for step in self._steps:
            characters = step(characters)
        return characters

    def with_origins(self, characters: tf.RaggedTensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
        """The normalized code points, and for each the index in `characters.flat_values` that it comes from.

        Raises:
            ValueError: for a step that composes characters, such as NFC.
        """
        origins = tf.range(tf.size(characters.flat_values, tf.int64))
        for step in self._steps:
            if not isinstance(step, Rewriting):
                raise ValueError(
                    "Expected a normalizer that looks at one character at a time, to know the characters of each "
                    "piece, got one with further steps. Tag outside of the graph."
                )
            characters, newer = step.with_origins(characters)
            origins = tf.gather(origins, newer)
        return characters, origins


def normalized(engine: tokenizers.Tokenizer) -> Normalization | None:
    """The engine's normalizer; None if it has none."""
    return None if engine.normalizer is None else Normalization(engine)


def _step(part: normalizers.Normalizer, description: dict[str, Any]) -> Callable[[tf.RaggedTensor], tf.RaggedTensor]:
    """A step that looks at neighbours is written out; any other becomes a table of characters."""
    kind, pattern = description["type"], description.get("pattern", {}).get("Regex")
    if kind in ("NFC", "NFKC", "NFD", "NFKD"):
        return _UnicodeForm(kind)
    if pattern == JOINERS:
        return _WithoutJoiners()
    if pattern == SPACES_IN_A_ROW and description["content"] == " ":
        return _one_space_in_a_row
    if pattern == SPACES_AT_ENDS and not description["content"]:
        return _without_spaces_at_ends
    return Rewriting(part.normalize_str)


class _UnicodeForm(tf.Module):
    """One of Unicode's four forms, by tensorflow-text."""

    def __init__(self, form: str):
        super().__init__()
        self._form, self._normalize = form, tensorflow_text().normalize_utf8

    def __call__(self, characters: tf.RaggedTensor) -> tf.RaggedTensor:
        texts = self._normalize(tf.strings.unicode_encode(characters, "UTF-8"), self._form)
        return tf.strings.unicode_decode(texts, "UTF-8")


class _WithoutJoiners(tf.Module):
    """Joiners stay behind what they join: see `normalization.JOINERS`."""

    def __init__(self) -> None:
        super().__init__()
        self._class = matching(r"\x{200c}\x{200d}", UNJOINED.removesuffix(r"\x{200c}\x{200d}"))

    def __call__(self, characters: tf.RaggedTensor) -> tf.RaggedTensor:
        kind = self._class(characters.flat_values)
        first, _ = edges(characters)
        return kept(characters, (kind != 1) | ~(first | (moved(kind, 1) != 0)))


def _one_space_in_a_row(characters: tf.RaggedTensor) -> tf.RaggedTensor:
    space = characters.flat_values == _SPACE
    first, _ = edges(characters)
    return kept(characters, first | ~(space & moved(space, 1)))


def _without_spaces_at_ends(characters: tf.RaggedTensor) -> tf.RaggedTensor:
    """Of texts without two spaces in a row."""
    first, last = edges(characters)
    return kept(characters, ~((first | last) & (characters.flat_values == _SPACE)))


def decoded(texts: tf.Tensor) -> tf.RaggedTensor:
    """The code points of texts: int32 ragged `[B, characters]`."""
    return tf.strings.unicode_decode(texts, "UTF-8")


def kept(characters: tf.RaggedTensor, which: tf.Tensor) -> tf.RaggedTensor:
    """The characters for which `which`, bool `[C]`, is True."""
    counts = tf.concat([[0], tf.cumsum(tf.cast(which, tf.int64))], axis=0)
    splits = tf.gather(counts, characters.row_splits)
    return tf.RaggedTensor.from_row_splits(tf.boolean_mask(characters.flat_values, which), splits, validate=False)


def edges(characters: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Which characters are the first of a text, and which the last: bool `[C]` each."""
    splits = characters.row_splits
    count = tf.size(characters.flat_values, tf.int64)
    found = tf.scatter_nd(splits[:, None], tf.ones_like(splits, tf.int32), [count + 1]) > 0
    return found[:-1], found[1:]


def moved(values: tf.Tensor, by: int, fill: Any = 0) -> tf.Tensor:
    """`values [C]` moved `by` places towards the end (towards the start if `by` is negative), `fill` in the gap."""
    gap = tf.fill([abs(by)], tf.cast(fill, values.dtype))
    size = tf.size(values)
    return tf.concat([gap, values], 0)[:size] if by > 0 else tf.concat([values, gap], 0)[-by:]


def tensorflow_text() -> Any:
    """The package tensorflow-text; an ImportError says how to get it."""
    require("in-graph", tensorflow_text=True)
    return importlib.import_module("tensorflow_text")


def spaced(engine: tokenizers.Tokenizer) -> Rewriting:
    """The engine's normalizer, with a space between any two characters that its pre-tokenizer parts."""

    def rewrite(text: str) -> str:
        text = text if engine.normalizer is None else engine.normalizer.normalize_str(text)
        if engine.pre_tokenizer is None:
            return text
        return " ".join(piece for piece, _ in engine.pre_tokenizer.pre_tokenize_str(text))

    return Rewriting(rewrite)


def matching(*patterns: str) -> CharacterTable:
    """Which of some patterns each character matches: 1 for the first, 2 for the second, …, 0 for none of them.

    Args:
        patterns: regular expressions for one character, none of which overlap, in the engine's own syntax.
    """
    values = np.zeros(_CODE_POINTS, np.int32)
    for number, pattern in enumerate(patterns, start=1):
        values[_matches(pattern)] = number
    return CharacterTable(values)


@functools.cache
def _matches(pattern: str) -> list[int]:
    """The code points that a regular expression matches; to look at all of them takes a second."""
    others = normalizers.Replace(tokenizers.Regex(f"[^{pattern}]"), "")
    return [ord(c) for c in others.normalize_str("".join(map(chr, code_points())))]


def code_points() -> list[int]:
    return [c for c in range(_CODE_POINTS) if c not in _SURROGATES]


def _rewritten(rewrite: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Each character that `rewrite` changes, and the string that it makes of it."""
    # Many characters at a time, with a letter between any two: one call for each character takes ten times as long.
    # "q" cannot part itself from a character that becomes "q", such as "Q"; then "z" is tried.
    characters = list(map(chr, code_points()))
    for start in range(0, len(characters), _BLOCK):
        block = characters[start : start + _BLOCK]
        if (parts := _between(rewrite, block, "q")) is not None:
            if parts != block:
                yield from (pair for pair in zip(block, parts, strict=True) if pair[0] != pair[1])
            continue
        for character in block:
            parts = _between(rewrite, [character], "q") or _between(rewrite, [character], "z") or [character]
            if parts[0] != character:
                yield character, parts[0]


def _between(rewrite: Callable[[str], str], characters: list[str], letter: str) -> list[str] | None:
    parts = rewrite(letter.join(["", *characters, ""])).split(letter)[1:-1]
    return parts if len(parts) == len(characters) else None
