"""SentencePiece's Unigram in a TensorFlow graph, by tensorflow-text.

Legend: `B` texts.
"""

import base64
import struct
from typing import Any

import tensorflow as tf
import tokenizers

from keras_transformers.tokenizers.in_graph.characters import tensorflow_text


class SentencePiece(tf.Module):
    """A Unigram model that writes a space as "▁", as those of T5 and XLM-RoBERTa, with SentencePiece's normalizer.

    Source: Kudo and Richardson 2018, https://arxiv.org/abs/1808.06226.
    """

    def __init__(self, engine: tokenizers.Tokenizer, description: dict[str, Any]):
        super().__init__()
        (space,) = of_type(description["pre_tokenizer"], "Metaspace")
        ids = [engine.encode(text, add_special_tokens=False).ids for text in (" a  b ", "a b")]
        file = _sentencepiece_file(
            engine, description, prefix=space["prepend_scheme"] != "never", one_space=ids[0] == ids[1]
        )
        self._match = tensorflow_text().SentencepieceTokenizer(file, out_type=tf.int32)

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return self._match.tokenize(texts)

    def with_last_characters(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """See `InGraphTokenizer.with_last_characters`."""
        ids, _, ends = self._match.tokenize_with_offsets(texts)
        characters, begins = tf.strings.unicode_decode_with_offsets(texts, "UTF-8")
        # Bytes of all texts in a row: those of a text come after those before it.
        sizes = tf.cast(tf.strings.length(texts), tf.int64)
        before = tf.cumsum(sizes, exclusive=True)
        places = begins.flat_values + tf.gather(before, begins.value_rowids())
        last = tf.cast(ends.flat_values, tf.int64) - 1 + tf.gather(before, ends.value_rowids())
        found = tf.searchsorted(places, last, side="right", out_type=tf.int64) - 1
        return ids, ids.with_flat_values(found - tf.gather(characters.row_starts(), ids.value_rowids()))


def _sentencepiece_file(
    engine: tokenizers.Tokenizer, description: dict[str, Any], *, prefix: bool, one_space: bool
) -> bytes:
    """The engine's Unigram model as SentencePiece's own file.

    It is a protocol buffer; the numbers are those of its fields, in
    https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto.
    """
    model = description["model"]
    pieces, unknown = list(model["vocab"]), model["unk_id"]
    if unknown is None:  # SentencePiece wants one
        unknown = len(pieces)
        pieces.append((" unknown", 0.0))
    special = {i for i, token in engine.get_added_tokens_decoder().items() if token.special}
    normal, is_unknown, control = 1, 2, 3
    file = b""
    for i, (piece, score) in enumerate(pieces):
        kind = is_unknown if i == unknown else control if i in special else normal
        file += _field(1, _field(1, piece.encode()) + _field(2, score) + _field(3, kind))
    unigram = 1
    file += _field(2, _field(3, unigram) + _field(40, unknown) + _field(45, pieces[unknown][0].encode()))
    maps = [
        base64.b64decode(each["precompiled_charsmap"]) for each in of_type(description["normalizer"], "Precompiled")
    ]
    spaces = _field(3, int(prefix)) + _field(4, int(one_space)) + _field(5, 1)
    return file + _field(3, b"".join(_field(2, charsmap) for charsmap in maps) + spaces)


def _field(number: int, value: "bytes | int | float") -> bytes:
    """One field of a protocol buffer: bytes with their length, an integer, or a 32-bit float."""
    if isinstance(value, bytes):
        return _variable(number << 3 | 2) + _variable(len(value)) + value
    if isinstance(value, int):
        return _variable(number << 3) + _variable(value)
    return _variable(number << 3 | 5) + struct.pack("<f", value)


def _variable(value: int) -> bytes:
    """An integer in groups of 7 bits, the lowest first, each but the last with its high bit set."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def of_type(part: dict[str, Any] | None, name: str) -> list[dict[str, Any]]:
    """The parts of that type in a normalizer or pre-tokenizer, which may be a sequence of parts."""
    if part is None:
        return []
    if part["type"] == "Sequence":
        parts = part["normalizers"] if "normalizers" in part else part["pretokenizers"]
        return [found for each in parts for found in of_type(each, name)]
    return [part] if part["type"] == name else []
