"""The same token ids inside a TensorFlow graph: for `tf.data`, and for a SavedModel that takes strings.

    tf.string [B] -> characters -> words -> ids, ragged [B, tokens] -> packed, dense [B, T]
                     as tables    as the engine's, checked             with special tokens

The engine stays the reference. Its `tokenizer.json` is compiled when an `InGraphTokenizer` is built, and then a fixed
set of difficult texts goes through both: a difference is an error there, and not in production.

Legend: `B` texts, `T` positions.
"""

import random
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from keras_transformers.tokenizers.in_graph.words import model_of
from keras_transformers.tokenizers.packing import Template

_SHOWN = 5  # differing texts in an error
# Random texts for the check are made of these, so that each meets each: letters, marks, spaces, joiners, controls.
_ALPHABET = (
    "aaabcdeefghiklmnooprstuvwyzABCDEÉÀÇİIıŒßẞſΣσς éèêçàùœäöüñåøłžšđ"
    "\u0300\u0301\u0302\u0308\u0327\u0323\u0345 \t\n\r\u00a0\u2009\u202f\u3000\u0085\u2028"
    "0123456789½²٣Ⅳ①'\"’“”«».,;:!?¡¿-–—_/\\()[]{}<>@#$%^&*+=~`|§°€£"
    "\u00ad\u200b\u200c\u200d\u2060\ufeff\0\x01\x1f\x7f\x80\ufffd\uffff"
    "中文字日本語カタカナひらがな한국어\u1112\u1161\u11ab하ﾊﾝﬁＦ１！"
    "абвЙйёэעבריתשָׁעربيةﻻहिन्दीक्षไทย가👩🚀\U0001f3fd❤\ufe0f🇫🇷😀\U00020000\U0010ffff"
)
DIFFICULT = (
    "",
    " ",
    "   ",
    "\0",
    "a\0b",
    "The boats come home before the rain does.",
    "It's what they'd've said; we'll, I'm, you're 'tis o'clock 'S 'LL don''t 's 'll'll've \n's !'s '''s",
    "Straße, STRASSE, groß, GROẞ; ½ cup, 1⁄2, 3²",
    "Où est l'été ? « Ici », dit-il à l'œil ; 1 250,50 €",
    "e\u0301te\u0301 É E\u0301 ñ n\u0303 ạ\u0302 a\u0302\u0323 ﬁ ｆ Å Å",
    "İstanbul ISTANBUL ılık I\u0307",
    "ΟΔΥΣΣΕΥΣ ὈΔΥΣΣΕΎΣ σς",
    "汉字かなカナ mixed漢字with letters 한국어 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "हिन्दी עברית العربية ไทย \u0e01\u0e33",
    "👩\u200d🚀 👍🏽 🇫🇷 ❤️ 😀😀",
    "tabs\tand\nlines\r\nends\n\n \n  indented \u00a0\u202f?\u3000x \t",
    "\ufeffmarked, \u200bunseen\u00ad \x01\x1f\x7f\x85 \ufffd \uffff \U0010ffff",
    "▁Ġ## ##ing [CLS] [SEP] [UNK] <s> </s> <pad> <mask> <|endoftext|>",
    "x" * 99 + " " + "x" * 100 + " " + "x" * 101 + " " + "é" * 100 + " " + "é" * 101 + " " + "\U00020000" * 3,
    "aaaaaaaaa bbbbbbbb      ccccccc  1111111111 ........... ----- !?!?!?" + " " * 30,
    "https://example.org/a_b-c?d=e&f=%20#g user@example.org C++ C# 3.14159 1,000,000",
)


class InGraphTokenizer(tf.Module):
    """A tokenizer's ids in a TensorFlow graph; `Tokenizer.in_graph` makes it.

    It can be called in eager code, in `tf.data.Dataset.map` and in a `tf.function`, and is saved with the `tf.Module`
    that holds it. Bytes that are no UTF-8 are read as U+FFFD.

    One difference is known, and too rare to be refused. A normalizer that takes accents off (BERT's, lower case) also
    puts the marks that stay, a few dozen of scripts such as Balinese, into Unicode's canonical order. If a text holds
    two of them in the other order, they stay in that order here.

    Args:
        tokenizer: a `Tokenizer`.
        texts: further texts for the check.
        difficult_texts: whether the check takes its own texts.

    Raises:
        ImportError: if tensorflow-text is needed and missing.
        ValueError: for an engine of a kind that cannot be compiled, and if a text of the check gets other ids.

    Example:
    ```python
    in_graph = tokenizer.in_graph()
    in_graph(tf.constant(["A man.", "Un vélo."]))  # <tf.RaggedTensor [[35, 261, 16], ...]>
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(32).map(lambda texts: in_graph.pack(texts, length=64))
    ```
    A classifier as one SavedModel that takes strings. A program that loads it imports `tensorflow_text` first (not for
    a byte-level tokenizer without `normalization`):
    ```python
    class Served(tf.Module):
        def __init__(self, in_graph, classifier):
            super().__init__()
            self.in_graph, self.classifier = in_graph, classifier

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            return self.classifier(self.in_graph.pack(texts, length=64))

    tf.saved_model.save(Served(tokenizer.in_graph(), classifier), "classifier")
    ```
    """

    def __init__(self, tokenizer: Any, *, texts: Iterable[str] = (), difficult_texts: bool = True):
        super().__init__()
        texts = [*(_check_texts(tokenizer) if difficult_texts else ()), *texts]
        if not texts:
            raise ValueError(
                "Expected texts of yours to check on with difficult_texts=False, got none. Give some hundreds, like "
                "those that the graph will see."
            )
        self._padding_id = tokenizer.padding_id
        self._template = tokenizer.template
        self._model = model_of(tokenizer.engine)
        self._check(tokenizer, texts)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Turn texts into the ids of `Tokenizer.encode`, without special tokens.

        Args:
            texts: strings `[B]`.

        Returns:
            int32 ragged `[B, tokens]`.
        """
        return self._model(texts)

    def with_last_characters(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """Turn texts, strings `[B]`, into ids, and tell the last character of the text that each stands for.

        Returns:
            int32 ragged `[B, tokens]`, and int64 of the same shape: the index of a character (code point).

        Raises:
            ValueError: for a normalizer that composes characters, and a pre-tokenizer that adds a space.
        """
        return self._model.with_last_characters(texts)

    def pack(
        self,
        texts: tf.Tensor | tf.RaggedTensor,
        pairs: tf.Tensor | tf.RaggedTensor | None = None,
        *,
        length: int | None = None,
        max_length: int | None = None,
        template: Template | None = None,
        padding_id: int | None = None,
    ) -> dict[str, tf.Tensor]:
        """Turn texts, or pairs of texts, into arrays, with the special tokens that the post-processor puts around.

        A text that is too long loses its last tokens. Of a pair, the longer text does, until both are as long.

        Args:
            texts: strings `[B]`, or ids, int32 ragged `[B, tokens]`.
            pairs: the same for the second text of each pair, or None.
            length: `T`, how wide the arrays are; by default as wide as the longest row, and at least 1.
            max_length: the most tokens of a row without a `length`; None for any number.
            template: the special tokens around a text; by default those of the tokenizer.
            padding_id: the id that fills rows; by default that of the tokenizer.

        Returns:
            A dictionary of `token_ids` int32 `[B, T]`, `segment_ids` int32 `[B, T]` and `padding_mask` bool `[B, T]`,
            True where a token is real.

        Raises:
            ValueError: for a tokenizer without a padding token, and a `length` without room for the special tokens.
        """
        padding_id = self._padding_id if padding_id is None else padding_id
        if padding_id is None:
            raise ValueError(
                "Expected a tokenizer with a padding token to pack with, got padding_token=None. Name one in "
                "Tokenizer, or take the ragged ids of the call."
            )
        template = template or self._template
        given = [each for each in (texts, pairs) if each is not None]
        sequences = [each if isinstance(each, tf.RaggedTensor) else self(each) for each in given]
        rows, segments = wrapped(sequences, template, max_length if length is None else length)
        width = tf.maximum(tf.cast(rows.bounding_shape()[1], tf.int32), 1) if length is None else length
        return {
            "token_ids": _dense(rows, padding_id, width),
            "segment_ids": _dense(segments, 0, width),
            "padding_mask": tf.sequence_mask(rows.row_lengths(), width),
        }

    def _check(self, tokenizer: Any, texts: list[str]) -> None:
        expected, got = tokenizer.encode(texts), self(tf.constant(texts, tf.string)).to_list()
        different = [row for row in zip(texts, expected, got, strict=True) if row[1] != row[2]]
        if different:
            lines = [f"\n  {text!r}: expected {ids}, got {graph_ids}" for text, ids, graph_ids in different[:_SHOWN]]
            raise ValueError(
                f"Expected the graph to give the ids that the engine gives, got others for {len(different)} of "
                f"{len(texts)} texts. Tokenize with encode, outside of the graph; or, if no text of yours is like "
                "these, check on yours alone with texts=... and difficult_texts=False. The first of them:"
                f"{''.join(lines)}"
            )


def _check_texts(tokenizer: Any) -> list[str]:
    """The difficult texts, the special tokens in a text, and random strings, the same each time."""
    special = [token.content for token in tokenizer.engine.get_added_tokens_decoder().values() if token.special]
    chance = random.Random(0)
    strings = ["".join(chance.choices(_ALPHABET, k=chance.randrange(1, 40))) for _ in range(1000)]
    return [*DIFFICULT, *(f"{token} a{token}b {token}" for token in special), *strings]


def wrapped(
    sequences: list[tf.RaggedTensor], template: Template, max_length: int | None
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """The rows of texts, or of pairs, with their special tokens: token ids and segment ids, ragged `[B, T]` each.

    Args:
        sequences: the ids of the texts, and perhaps of the second texts.
        template: the special tokens around them.
        max_length: the most tokens of a row, or None.
    """
    parts = template.single if len(sequences) == 1 else template.pair
    kept = dict(zip("AB", sequences, strict=False))
    if max_length is not None:
        special = template.num_special(len(sequences) > 1)
        if max_length < special:
            raise ValueError(
                f"Expected length of at least {special}, for the special tokens, got {max_length}. Give a larger one."
            )
        sizes = _sizes([each.row_lengths() for each in sequences], max_length - special)
        kept = dict(zip("AB", map(first_of, sequences, sizes), strict=False))
    ones = tf.ones_like(sequences[0].row_lengths())
    ids, segments = [], []
    for part, segment_id in parts:
        if isinstance(part, str):
            ids.append(kept[part])
        else:
            special_ids = tf.zeros_like(ones, tf.int32) + part  # one id, or one for each row
            ids.append(tf.RaggedTensor.from_row_lengths(special_ids, ones, validate=False))
        values = ids[-1].flat_values
        segments.append(ids[-1].with_flat_values(tf.fill(tf.shape(values), segment_id)))
    return tf.concat(ids, axis=1), tf.concat(segments, axis=1)


def _dense(rows: tf.RaggedTensor, fill: int, width: Any) -> tf.Tensor:
    if isinstance(width, int):
        return rows.to_tensor(fill, shape=[None, width])
    dense = rows.to_tensor(fill)
    return tf.pad(dense, [[0, 0], [0, width - tf.shape(dense)[1]]], constant_values=fill)


def _sizes(lengths: list[tf.Tensor], room: int) -> list[tf.Tensor]:
    """How many tokens stay of one sequence, or of each of two.

    Each of two has half of the room, and the longer one also gets the rest of the shorter one's half. Of an odd room
    the second gets the larger half, unless the first is longer.
    """
    if len(lengths) == 1:
        return [tf.minimum(lengths[0], room)]
    first, second = lengths
    shorter = tf.minimum(tf.minimum(first, second), room // 2)
    return [
        tf.minimum(first, tf.where(first > second, room - shorter, shorter)),
        tf.minimum(second, tf.where(first > second, shorter, room - shorter)),
    ]


def first_of(sequence: tf.RaggedTensor, sizes: tf.Tensor) -> tf.RaggedTensor:
    """The first tokens of each row, as many as `sizes [B]` says."""
    lengths = sequence.row_lengths()
    kept = tf.ragged.range(lengths).flat_values < tf.repeat(sizes, lengths)
    return tf.RaggedTensor.from_row_lengths(tf.boolean_mask(sequence.flat_values, kept), sizes, validate=False)
