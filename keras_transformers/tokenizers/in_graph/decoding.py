"""Ids to texts in a TensorFlow graph.

    byte-level      a piece is bytes; the bytes of a text are read as UTF-8         Ġbi ke  ─►  " bike"
    other decoders  a piece is the text that it adds, which depends on whether      ▁bi ke  ─►  "bike"
                    it is the first of its text                                     bi ##ke ─►  "bike"

The texts of the pieces are those that the tokenizer itself decodes. Then texts and random ids go through both, and a
tokenizer that decodes any of them in another way (a decoder that joins bytes, or that cleans spaces) is refused.

Legend: `B` texts.
"""

import json
import random
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_transformers.tokenizers.in_graph.byte_level import bytes_of

_SHOWN = 3  # differing texts in an error
_RANDOM_TEXTS, _RANDOM_LENGTH = 500, 12


class Detokenizer(tf.Module):
    """The texts of `Tokenizer.decode` in a TensorFlow graph.

    Args:
        tokenizer: a `Tokenizer`; the vocabulary that it writes is decoded.
        texts: texts whose ids are compared, besides random ids.

    Raises:
        ValueError: for a tokenizer whose decoder is not exact in the graph; the error shows the first ids that differ.
    """

    def __init__(self, tokenizer: Any, texts: Sequence[str] = ()) -> None:
        super().__init__()
        size = tokenizer.target_vocabulary_size
        engine = (tokenizer.target or tokenizer).engine
        decoder = json.loads(engine.to_str())["decoder"] or {}
        first: list[Any]
        rest: list[Any]
        if decoder.get("type") == "ByteLevel":
            first = rest = bytes_of(engine)
        else:
            first = tokenizer.decode([[i] for i in range(size)])
            rest = _after_another(tokenizer, first, size)
        self._first = tf.constant(first, tf.string)
        self._rest = self._first if rest is first else tf.constant(rest, tf.string)
        # An id without text, such as a special token, leaves the next one the first of its text.
        self._is_text = tf.constant([bool(a or b) for a, b in zip(first, rest, strict=True)])
        self._check(tokenizer, texts)

    def __call__(self, token_ids: tf.RaggedTensor) -> tf.Tensor:
        """Turn ids, int32 ragged `[B, tokens]`, into strings `[B]`."""
        ids, splits = token_ids.flat_values, token_ids.row_splits
        pieces = tf.gather(self._rest, ids)
        if self._rest is not self._first:
            count = tf.concat([[0], tf.cumsum(tf.cast(tf.gather(self._is_text, ids), tf.int32))], axis=0)
            before = count[:-1] - tf.gather(count, tf.gather(splits, token_ids.value_rowids()))
            pieces = tf.where(before == 0, tf.gather(self._first, ids), pieces)
        texts = tf.strings.reduce_join(tf.RaggedTensor.from_row_splits(pieces, splits, validate=False), axis=-1)
        return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")  # other bytes become U+FFFD, as in the engine

    def _check(self, tokenizer: Any, texts: Sequence[str]) -> None:
        chance = random.Random(0)
        size = tokenizer.target_vocabulary_size
        rows = [[chance.randrange(size) for _ in range(chance.randrange(_RANDOM_LENGTH))] for _ in range(_RANDOM_TEXTS)]
        rows += (tokenizer.target or tokenizer).encode(list(texts))
        expected = tokenizer.decode(rows)
        got = [text.decode() for text in self(tf.ragged.constant(rows, tf.int32, ragged_rank=1)).numpy()]
        different = [each for each in zip(rows, expected, got, strict=True) if each[1] != each[2]]
        if different:
            lines = [f"\n  {ids}: expected {text!r}, got {other!r}" for ids, text, other in different[:_SHOWN]]
            raise ValueError(
                f"Expected the graph to decode ids as the tokenizer does, got other texts for {len(different)} of "
                f"{len(rows)}. Decode outside of the graph. The first of them:{''.join(lines)}"
            )


def _after_another(tokenizer: Any, first: list[str], size: int) -> list[str]:
    """The text that each id adds after another one."""
    anchor = next((i for i, text in enumerate(first) if text.isalpha() and text.isascii()), None)
    if anchor is None:
        raise ValueError(
            "Expected a vocabulary with some piece of ASCII letters to decode with, got none. Decode outside of the "
            "graph."
        )
    begins = len(first[anchor])
    return [text[begins:] for text in tokenizer.decode([[anchor, i] for i in range(size)])]
