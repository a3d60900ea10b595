"""Words to token ids in a TensorFlow graph: one class for each model of an engine.

    engine's model     a text is parted                ids by
    WordPiece          by the engine, compiled         tensorflow-text's greedy longest match (here)
    BPE, bytes         as GPT-2 does, by classes       merges, all words at once (`byte_level.py`; TensorFlow alone)
    Unigram, bytes     as GPT-2 does, by classes       the likeliest pieces, all words at once (the same)
    Unigram, "▁"       by SentencePiece                tensorflow-text's SentencePiece (`sentencepiece.py`)

Each takes an engine and its `tokenizer.json` as a dictionary, raises `ValueError` for settings that it does not know,
and turns texts, string `[B]`, into ids, int32 ragged `[B, tokens]`.

Legend: `B` texts.
"""

import json
from typing import Any

import tensorflow as tf
import tokenizers

from keras_transformers.tokenizers.in_graph.byte_level import BytePairs, ByteUnigram
from keras_transformers.tokenizers.in_graph.characters import decoded, edges, moved, spaced, tensorflow_text
from keras_transformers.tokenizers.in_graph.sentencepiece import SentencePiece, of_type


def model_of(engine: tokenizers.Tokenizer) -> tf.Module:
    """The model of an engine, built.

    Raises:
        ValueError: for an engine of another kind, and for one with added tokens that are not special.
    """
    description = json.loads(engine.to_str())
    model, pre_tokenizer = description["model"]["type"], description["pre_tokenizer"] or {}
    if added := [token["content"] for token in description["added_tokens"] if not token["special"]]:
        raise ValueError(
            f"Expected no added tokens but special ones, got {added}. Tokenize with encode, outside of the graph."
        )
    if model == "WordPiece":
        return WordPiece(engine, description)
    if pre_tokenizer.get("type") == "ByteLevel" and model in ("BPE", "Unigram"):
        return (BytePairs if model == "BPE" else ByteUnigram)(engine, description)
    if model == "Unigram" and of_type(pre_tokenizer, "Metaspace"):
        return SentencePiece(engine, description)
    raise ValueError(
        "Expected WordPiece, byte-level BPE or Unigram with GPT-2's words, or a Unigram model with '▁' for a space, "
        f"got {model} with the pre-tokenizer {pre_tokenizer.get('type')}. Tokenize with encode, outside of the graph."
    )


class WordPiece(tf.Module):
    """WordPiece, as in BERT: the longest pieces of each word, from its start.

    Source: Devlin et al. 2019, https://arxiv.org/abs/1810.04805; the match: Song et al. 2021,
    https://arxiv.org/abs/2012.15524.
    """

    def __init__(self, engine: tokenizers.Tokenizer, description: dict[str, Any]):
        super().__init__()
        model = description["model"]
        self._spaced = spaced(engine)
        self._longest = model["max_input_chars_per_word"]
        bytes_of_longest = 4 * self._longest
        # Longer words are unknown. The match counts bytes, the engine characters: one word stands for all of those.
        self._too_long = tf.constant("a" * (bytes_of_longest + 1))
        pieces = _by_id(model["vocab"])
        prefix = model["continuing_subword_prefix"]
        self._sizes = tf.constant(
            [0 if piece == model["unk_token"] else len(piece.removeprefix(prefix)) for piece in pieces], tf.int64
        )
        self._match = tensorflow_text().FastWordpieceTokenizer(
            pieces,
            suffix_indicator=model["continuing_subword_prefix"],
            max_bytes_per_word=bytes_of_longest,
            unknown_token=model["unk_token"],
            no_pretokenization=True,
            token_out_type=tf.int32,
        )

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        spaced = tf.strings.unicode_encode(self._spaced(decoded(texts)), "UTF-8")
        words = tf.strings.split(spaced)
        too_long = tf.strings.length(words.flat_values, unit="UTF8_CHAR") > self._longest
        words = words.with_flat_values(tf.where(too_long, self._too_long, words.flat_values))
        return self._match.tokenize(words).merge_dims(1, 2)

    def with_last_characters(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """See `InGraphTokenizer.with_last_characters`."""
        characters = decoded(texts)
        spaced, origins = self._spaced.with_origins(characters)
        code_points = spaced.flat_values
        spaces = code_points == ord(" ")
        for space in "\t\n\v\f\r":
            spaces |= code_points == ord(space)
        starts = ~spaces & (edges(spaced)[0] | moved(spaces, 1))
        word = tf.boolean_mask(tf.cumsum(tf.cast(starts, tf.int64)) - 1, ~spaces)
        count = tf.reduce_sum(tf.cast(starts, tf.int64))
        letters = tf.RaggedTensor.from_value_rowids(tf.boolean_mask(code_points, ~spaces), word, count, validate=False)
        lengths = letters.row_lengths()
        words = tf.where(lengths > self._longest, self._too_long, tf.strings.unicode_encode(letters, "UTF-8"))
        pieces = self._match.tokenize(words)
        sizes = tf.gather(self._sizes, pieces.flat_values)
        sizes = tf.where(sizes == 0, tf.gather(lengths, pieces.value_rowids()), sizes)  # an unknown word is one piece
        ends = tf.cumsum(sizes) - 1  # among the letters of all words, which the pieces cover
        origin = tf.gather(tf.boolean_mask(origins, ~spaces), ends)
        rows = tf.gather(tf.boolean_mask(spaced.value_rowids(), starts), pieces.value_rowids())
        nrows = tf.size(texts, tf.int64)
        ids = tf.RaggedTensor.from_value_rowids(pieces.flat_values, rows, nrows, validate=False)
        return ids, ids.with_flat_values(origin - tf.gather(characters.row_starts(), rows))


def _by_id(vocabulary: dict[str, int]) -> list[str]:
    """The pieces in the order of their ids, with spellings that no word has where ids are left out."""
    pieces = [f" unused {i}" for i in range(max(vocabulary.values()) + 1)]
    for piece, i in vocabulary.items():
        pieces[i] = piece
    return pieces
