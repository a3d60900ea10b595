"""Byte-level BPE and Unigram in a TensorFlow graph.

Legend: `B` texts, `C` characters of all of them in a row, `W` words, `P` pieces of all words in a row.
"""

from collections.abc import Container
from typing import Any

import numpy as np
import tensorflow as tf
import tokenizers
from tokenizers import pre_tokenizers

from keras_transformers.tokenizers.in_graph.characters import decoded, edges, matching, moved, normalized

_NONE = np.iinfo(np.int64).max  # the rank of a pair that is never merged
# The classes of characters in GPT-2's pattern.
_PATTERNS = (r"\p{L}", r"\p{N}", r"\s")
_WHITE = 3
# Letters that stay with an apostrophe in front of them.
_CONTRACTIONS = ("s", "t", "m", "d", "re", "ve", "ll")


class _ByteLevel(tf.Module):
    """Byte-level words, as in GPT-2: the ids of a text are those of its words, and a word is bytes. A subclass gives
    the ids of words.

    GPT-2 parts a text by the pattern

        's|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+

    The characters beside a place show if a word starts there, so all places are computed at once. Only an apostrophe
    with its letters comes first.

    Source: Radford et al. 2019, section 2.2; https://github.com/openai/gpt-2/blob/master/src/encoder.py.
    """

    def __init__(self, engine: tokenizers.Tokenizer, description: dict[str, Any]):
        super().__init__()
        settings = description["pre_tokenizer"]
        if not settings["use_regex"]:
            raise ValueError(
                "Expected a byte-level pre-tokenizer that parts words as GPT-2 does, got use_regex=False. Tokenize "
                "with encode, outside of the graph."
            )
        self._normalized = normalized(engine)
        self._class = matching(*_PATTERNS)
        self._prefix_space = settings["add_prefix_space"]
        self._sizes = tf.constant(list(map(len, bytes_of(engine))), tf.int64)

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        characters = decoded(texts)
        if self._normalized is not None:
            characters = self._normalized(characters)
        return self._ids_of(characters)

    def with_last_characters(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """See `InGraphTokenizer.with_last_characters`."""
        if self._prefix_space:
            raise ValueError(
                "Expected a byte-level tokenizer without add_prefix_space, to know the characters of each piece. Tag "
                "outside of the graph."
            )
        given = characters = decoded(texts)
        origins = tf.range(tf.size(given.flat_values, tf.int64))
        if self._normalized is not None:
            characters, origins = self._normalized.with_origins(given)
        ids = self._ids_of(characters)
        # The pieces of all texts cover the bytes of all characters.
        code_points = characters.flat_values
        sizes = 1 + sum(tf.cast(code_points >= first, tf.int64) for first in (0x80, 0x800, 0x10000))
        last_byte = tf.cumsum(tf.gather(self._sizes, ids.flat_values)) - 1
        character = tf.searchsorted(tf.cumsum(sizes, exclusive=True), last_byte, side="right", out_type=tf.int64) - 1
        starts = tf.gather(given.row_starts(), ids.value_rowids())
        return ids, ids.with_flat_values(tf.gather(origins, character) - starts)

    def _ids_of(self, characters: tf.RaggedTensor) -> tf.RaggedTensor:
        if self._prefix_space:
            missing = tf.cast(tf.reduce_any(characters[:, :1] != ord(" "), axis=1), tf.int64)  # not in front of nothing
            spaces = tf.fill([tf.reduce_sum(missing)], ord(" "))
            characters = tf.concat([tf.RaggedTensor.from_row_lengths(spaces, missing), characters], axis=1)
        starts = self._word_starts(characters)
        words = tf.RaggedTensor.from_row_starts(characters.flat_values, tf.where(starts)[:, 0], validate=False)
        words = tf.strings.unicode_encode(words, "UTF-8")
        # Words repeat: each is looked at once.
        unique, number = tf.unique(words, out_idx=tf.int64)
        ids = tf.gather(self._word_ids(unique), number)
        counts = tf.concat([[0], tf.cumsum(tf.cast(starts, tf.int64))], axis=0)
        per_text = tf.RaggedTensor.from_row_splits(ids, tf.gather(counts, characters.row_splits), validate=False)
        return per_text.merge_dims(1, 2)

    def _word_starts(self, characters: tf.RaggedTensor) -> tf.Tensor:
        """Where words start, bool `[C]`."""
        code_points = characters.flat_values
        kind = self._class(code_points)
        before, kind_before = moved(code_points, 1), moved(kind, 1)
        white, white_before = kind == _WHITE, kind_before == _WHITE
        first, last = edges(characters)
        # The last white space in front of a word stands apart; if it is a plain space, it goes with the word.
        last_white = ~last & (moved(kind, -1) != _WHITE)
        starts = first | tf.where(
            white, ~white_before | last_white, tf.where(white_before, before != ord(" "), kind != kind_before)
        )
        # A contraction begins at an apostrophe that begins a word, and another word begins behind its letters.
        for letters in _CONTRACTIONS:
            found = starts & (code_points == ord("'"))
            for distance, letter in enumerate(letters, start=1):
                found &= ~moved(first, -distance) & (moved(code_points, -distance) == ord(letter))
            starts |= moved(found, len(letters) + 1)
            for distance in range(1, len(letters) + 1):
                starts &= ~moved(found, distance)
        return starts


class BytePairs(_ByteLevel):
    """GPT-2's merges of neighbouring pieces, the earliest learnt first, in all words at once.

    Source: Sennrich et al. 2016, https://arxiv.org/abs/1508.07909.
    """

    def __init__(self, engine: tokenizers.Tokenizer, description: dict[str, Any]):
        super().__init__(engine, description)
        model = description["model"]
        settings = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")
        if unknown := {name: model[name] for name in settings if model.get(name)}:
            raise ValueError(
                f"Expected a byte-level BPE with none of {', '.join(settings)}, got {unknown}. Tokenize with encode, "
                "outside of the graph."
            )
        ids = model["vocab"]
        _check_bytes(ids)
        self._byte_ids = tf.constant([ids[letter] for letter in byte_letters()], tf.int64)
        self._base = max(ids.values()) + 1
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        rank_of = {ids[left] * self._base + ids[right]: rank for rank, (left, right) in enumerate(merges)}
        pairs, ranks = zip(*sorted({**rank_of, _NONE: _NONE}.items()), strict=True)
        self._pairs, self._ranks = tf.constant(pairs, tf.int64), tf.constant(ranks, tf.int64)
        self._merged = tf.constant([ids[left + right] for left, right in merges], tf.int64)
        # If each merge joins pieces that earlier merges made, as after training, all places of the best merge of a
        # word are joined at once. Otherwise only the first place is: the new piece may belong to a better merge.
        made_at = {left + right: rank for rank, (left, right) in enumerate(merges)}
        self._in_order = all(
            max(made_at.get(left, -1), made_at.get(right, -1)) < rank for rank, (left, right) in enumerate(merges)
        )

    def _word_ids(self, words: tf.Tensor) -> tf.RaggedTensor:
        letters = _bytes(words)
        num_words = tf.size(words, tf.int64)

        def ranks_of(pieces: tf.Tensor, word: tf.Tensor) -> tf.Tensor:
            pairs = moved(pieces, 1) * self._base + pieces
            found = tf.searchsorted(self._pairs, pairs, out_type=tf.int64)
            fits = (tf.gather(self._pairs, found) == pairs) & (moved(word, 1, fill=-1) == word)
            return tf.where(fits, tf.gather(self._ranks, found), _NONE)

        def merge(pieces: tf.Tensor, word: tf.Tensor, ranks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            """Do the best merge of each word."""
            best = tf.gather(tf.math.unsorted_segment_min(ranks, word, num_words), word)
            joins = (ranks == best) & (ranks < _NONE)  # a piece with the one before it
            if self._in_order:
                # In "aaa" two joins share a piece: of joins in a row the first, third, ... are made.
                count = tf.cumsum(tf.cast(joins, tf.int64))
                run = tf.cumsum(tf.cast(~joins, tf.int64)) - 1
                joins &= (count - tf.gather(tf.boolean_mask(count, ~joins), run)) % 2 == 1
            else:
                place = tf.range(tf.size(word, tf.int64))
                first = tf.math.unsorted_segment_min(tf.where(joins, place, _NONE), word, num_words)
                joins &= place == tf.gather(first, word)
            merged = tf.gather(self._merged, tf.where(joins, ranks, 0))
            pieces = tf.where(moved(joins, -1), moved(merged, -1), pieces)
            pieces, word = tf.boolean_mask(pieces, ~joins), tf.boolean_mask(word, ~joins)
            return pieces, word, ranks_of(pieces, word)

        pieces, word = tf.gather(self._byte_ids, letters.flat_values), letters.value_rowids()
        several = tf.TensorShape([None])
        pieces, word, _ = tf.while_loop(
            lambda pieces, word, ranks: tf.reduce_any(ranks < _NONE),
            merge,
            (pieces, word, ranks_of(pieces, word)),
            shape_invariants=(several, several, several),
        )
        return tf.RaggedTensor.from_value_rowids(tf.cast(pieces, tf.int32), word, num_words, validate=False)


class ByteUnigram(_ByteLevel):
    """The most likely pieces of each word, added in 64 bits and compared in the order in which the engine does.

    tensorflow-text's SentencePiece adds in 32 bits: if "lll" is as likely as "l", "ll" and as "ll", "l", it takes
    another split than the engine.

    Source: Kudo 2018, https://arxiv.org/abs/1804.10959.
    """

    def __init__(self, engine: tokenizers.Tokenizer, description: dict[str, Any]):
        super().__init__(engine, description)
        byte_of = {letter: byte for byte, letter in enumerate(byte_letters())}
        pieces = {
            piece: (score, i)
            for i, (piece, score) in enumerate(description["model"]["vocab"])
            if set(piece) <= {*byte_of}
        }
        _check_bytes(pieces)
        # A tree of the beginnings of pieces; its last node means that no piece goes on.
        nodes = {"": 0}
        edges = {_NONE: 0}
        for piece in pieces:
            for end in range(1, len(piece) + 1):
                node = nodes.setdefault(piece[:end], len(nodes))
                edges[nodes[piece[: end - 1]] * 256 + byte_of[piece[end - 1]]] = node
        keys, children = zip(*sorted(edges.items()), strict=True)
        self._keys, self._children = tf.constant(keys, tf.int64), tf.constant(children, tf.int64)
        found = [pieces.get(beginning, (-np.inf, -1)) for beginning in nodes] + [(-np.inf, -1)]
        self._scores = tf.constant([score for score, _ in found], tf.float64)
        self._ids = tf.constant([i for _, i in found], tf.int32)
        self._longest = max(map(len, pieces))

    def _word_ids(self, words: tf.Tensor) -> tf.RaggedTensor:
        letters = _bytes(words)
        starts, lengths = letters.row_starts(), letters.row_lengths()
        scores, ids = (tf.reshape(each, [-1]) for each in self._matches(letters))
        longest = self._longest
        steps = tf.reduce_max(tf.concat([lengths, [0]], 0))
        num_words = tf.size(words)

        def place_of(step: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
            """The index in `scores` and `ids` of the piece of that length that ends after `step` letters."""
            place = (starts[:, None] + step - length) * longest + length - 1
            return tf.clip_by_value(place, 0, tf.size(scores, tf.int64) - 1)

        # Longest first: of equals the engine keeps the one that starts earliest, and so does argmax.
        descending = tf.range(longest, 0, -1, dtype=tf.int64)[None, :]

        def forward(
            step: tf.Tensor, recent: tf.Tensor, chosen: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
            """`recent [W, longest]`: the best scores up to each of the last places before this step."""
            candidates = recent + tf.gather(scores, place_of(step, descending))
            best = tf.reduce_max(candidates, axis=1, keepdims=True)
            chosen = chosen.write(tf.cast(step, tf.int32), longest - tf.argmax(candidates, axis=1))
            return step + 1, tf.concat([recent[:, 1:], best], axis=1), chosen

        def backward(
            step: tf.Tensor, end: tf.Tensor, found: tf.TensorArray
        ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
            """`end [W]`: how many letters still need pieces."""
            length = chosen.read(tf.cast(step, tf.int32))
            ends = end == step
            piece = tf.gather(ids, place_of(step, length[:, None])[:, 0])
            found = found.write(tf.cast(step, tf.int32), tf.where(ends, piece, -1))
            return step - 1, tf.where(ends, end - length, end), found

        nothing = tf.fill([num_words, longest - 1], tf.constant(-np.inf, tf.float64))
        recent = tf.concat([nothing, tf.zeros([num_words, 1], tf.float64)], axis=1)
        size = tf.cast(steps, tf.int32) + 1
        chosen = tf.TensorArray(tf.int64, size, clear_after_read=False).write(0, tf.zeros_like(lengths))
        one = tf.constant(1, tf.int64)
        _, _, chosen = tf.while_loop(lambda step, *_: step <= steps, forward, (one, recent, chosen))
        found = tf.TensorArray(tf.int32, size).write(0, tf.fill([num_words], -1))
        _, _, found = tf.while_loop(lambda step, *_: step > 0, backward, (steps, lengths, found))
        found = tf.transpose(found.stack())
        return tf.ragged.boolean_mask(found, found >= 0)

    def _matches(self, letters: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and ids `[C, longest]` of the pieces that start at each letter, by length; minus infinity for none."""
        place = tf.range(tf.size(letters.flat_values, tf.int64))
        left = tf.gather(letters.row_limits(), letters.value_rowids()) - place
        node = tf.zeros_like(place)
        scores, ids = [], []
        for distance in range(self._longest):
            letter = letters.flat_values if distance == 0 else moved(letters.flat_values, -distance)
            key = node * 256 + tf.cast(letter, tf.int64)
            found = tf.searchsorted(self._keys, key, out_type=tf.int64)
            fits = (tf.gather(self._keys, found) == key) & (distance < left)
            node = tf.where(fits, tf.gather(self._children, found), tf.size(self._ids, tf.int64) - 1)
            scores.append(tf.gather(self._scores, node))
            ids.append(tf.gather(self._ids, node))
        return tf.stack(scores, axis=1), tf.stack(ids, axis=1)


def _check_bytes(pieces: Container[str]) -> None:
    if lacking := [byte for byte, letter in enumerate(byte_letters()) if letter not in pieces]:
        raise ValueError(
            f"Expected a piece for each of the 256 bytes, got a vocabulary without {lacking}. Tokenize with encode, "
            "outside of the graph."
        )


def byte_letters() -> list[str]:
    """The letters by which byte-level vocabularies write the bytes 0 to 255: themselves, or others in order."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    others = iter(letter for letter in alphabet if ord(letter) > 255)
    return [chr(byte) if chr(byte) in alphabet else next(others) for byte in range(256)]


def bytes_of(engine: tokenizers.Tokenizer) -> list[bytes]:
    """The bytes of each id of a byte-level vocabulary; none for special tokens, and for ids that it skips."""
    byte_of = {letter: byte for byte, letter in enumerate(byte_letters())}
    special = {token.content for token in engine.get_added_tokens_decoder().values() if token.special}
    pieces: list[bytes] = []
    for i in range(max(engine.get_vocab(with_added_tokens=True).values()) + 1):
        piece = engine.id_to_token(i) or ""
        known = all(letter in byte_of for letter in piece)
        pieces.append(
            b"" if piece in special else bytes(byte_of[letter] for letter in piece) if known else piece.encode()
        )
    return pieces


def _bytes(words: tf.Tensor) -> tf.RaggedTensor:
    return tf.strings.unicode_decode(words, "LATIN1")
