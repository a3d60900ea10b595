"""A classifier of tokens as a graph: words and entities, with offsets, labels and scores.

    text ─► pieces ─► windows ─► labels of pieces ─► labels of words (of their first pieces) ─► entities
      └─ words: runs of letters and digits, and each other character that is no space

All words of all texts stand in a row: a `row` tells the text.

Legend: `N` texts, `P` pieces of all texts, `W` words of all texts, `C` classes.
"""

import typing
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_transformers.tasks.entity_labels import parts_of_label
from keras_transformers.tasks.in_graph.reading import TEXTS, Outputs, Reading, clean, traced
from keras_transformers.tokenizers.in_graph.characters import CharacterTable, code_points, decoded, edges, moved

_SPACE, _MARK, _WORD = 0, 1, 2


class _Words(typing.NamedTuple):
    """Words of all texts in a row.

    row: int64 `[W]`, the text of each.
    start, end: int64 `[W]`, in characters.
    label: int64 `[W]`, the number of the label.
    score: float64 `[W]`, 0 for a word without a piece.
    """

    row: tf.Tensor
    start: tf.Tensor
    end: tf.Tensor
    label: tf.Tensor
    score: tf.Tensor

    def chosen(self, which: tf.Tensor) -> "_Words":
        return _Words(*(tf.boolean_mask(each, which) for each in self))


class Tagging(Outputs):
    """Texts to entities, as `TokenClassifier.tag`, and to words, as with `aggregate=False`."""

    def __init__(self, task: typing.Any, reading: Reading) -> None:
        values = np.zeros(0x110000, np.int32)
        characters = map(chr, code_points())
        values[code_points()] = [
            _WORD if c.isalnum() or c == "_" else _SPACE if c.isspace() else _MARK for c in characters
        ]
        self._class = CharacterTable(values)
        parts = [parts_of_label(label) for label in task.labels]
        kinds = {kind: number for number, kind in enumerate(dict.fromkeys(kind for _, kind in parts))}
        self._kind = tf.constant([kinds[kind] for _, kind in parts], tf.int64)
        self._kinds = tf.constant([*kinds])
        self._begins = tf.constant([prefix in ("B", "S", "U") for prefix, _ in parts])
        self._ends = tf.constant([prefix in ("E", "L", "S", "U") for prefix, _ in parts])
        self._is_outside = tf.constant([label == "O" for label in task.labels])
        self._joins = any(label[:2] in ("B-", "I-") for label in task.labels)
        super().__init__(task, reading)
        self.words = traced(self._words, TEXTS)

    def functions(self) -> dict[str, Callable[..., typing.Any]]:
        return {"serving_default": self.serve, "words": self.words}

    def _words(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        texts = clean(texts)
        words = self._labelled(texts)
        return self._named(texts, words, tf.gather(tf.constant(self.task.labels), words.label))

    def _serve(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        if not self._joins:
            return self._words(texts)
        texts = clean(texts)
        entities = self._entities(self._labelled(texts))
        kinds = tf.gather(self._kinds, tf.gather(self._kind, entities.label))
        return self._named(texts, entities, kinds)

    def _named(self, texts: tf.Tensor, words: _Words, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        row, start, end = (tf.cast(each, tf.int32) for each in words[:3])
        pieces = tf.strings.substr(tf.gather(texts, row), start, end - start, "UTF8_CHAR")
        score = tf.cast(words.score, tf.float32)
        return {"row": row, "label": labels, "score": score, "start": start, "end": end, "text": pieces}

    def _labelled(self, texts: tf.Tensor) -> _Words:
        """The words of texts with their labels."""
        characters = decoded(texts)
        kinds = self._class(characters.flat_values)
        first, last = edges(characters)
        is_word = kinds == _WORD
        starts = (kinds == _MARK) | (is_word & (first | (moved(kinds, 1) != _WORD)))
        ends = (kinds == _MARK) | (is_word & (last | (moved(kinds, -1) != _WORD)))
        begin, end = (tf.where(each)[:, 0] for each in (starts, ends))
        row = tf.gather(characters.value_rowids(), begin)
        before = tf.gather(characters.row_starts(), row)
        # The word of a piece is that of its last character.
        number = tf.where(kinds == _SPACE, tf.constant(-1, tf.int64), tf.cumsum(tf.cast(starts, tf.int64)) - 1)
        ids, last_characters = self.reading.tokens.with_last_characters(texts)
        places = last_characters.flat_values + tf.gather(characters.row_starts(), ids.value_rowids())
        word = tf.gather(number, places)
        scores = self._probabilities(ids)
        count = tf.size(begin, tf.int64)
        piece = tf.range(tf.size(word, tf.int64))
        inside = word >= 0
        firsts = tf.math.unsorted_segment_min(tf.boolean_mask(piece, inside), tf.boolean_mask(word, inside), count)
        there = firsts < tf.size(word, tf.int64)  # else no piece ends in the word
        found = tf.gather(scores, tf.where(there, firsts, 0)) if self.task.labels else scores
        best = tf.argmax(found, axis=1)
        none = tf.constant(self.task._numbers.get("O", 0), tf.int64)
        score = tf.where(there, tf.reduce_max(found, axis=1), 0.0)
        return _Words(row, begin - before, end + 1 - before, tf.where(there, best, none), score)

    def _probabilities(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """The probabilities of the labels of all pieces, float64 `[P, C]`, and a row of zeros if there are none. Longer
        texts are read in windows, as `TokenClassifier.tag` reads them."""
        task, limit = self.task, self.reading.length
        lengths = ids.row_lengths()
        piece, row = tf.ragged.range(lengths).flat_values, ids.value_rowids()
        if limit is None:
            windows, window, place = ids, row, piece
        else:
            room = limit - task._template().num_special()
            step, skipped = room - room // 2, (room - room // 2) // 2
            last_begin = tf.maximum(lengths - room, 0)
            counts = (last_begin + step - 1) // step + 1
            numbers = tf.ragged.range(counts)
            of_window = numbers.value_rowids()
            begins = tf.minimum(numbers.flat_values * step, tf.gather(last_begin, of_window))
            sizes = tf.minimum(tf.gather(lengths, of_window), room)
            inside = tf.ragged.range(sizes)
            flat = inside.flat_values + tf.gather(
                begins + tf.gather(ids.row_starts(), of_window), inside.value_rowids()
            )
            windows = inside.with_flat_values(tf.gather(ids.flat_values, flat))
            # The earlier window keeps the first half of the overlap.
            first, count = tf.gather(tf.cumsum(counts, exclusive=True), row), tf.gather(counts, row)
            number = tf.clip_by_value((piece - skipped) // step, 0, tf.maximum(count - 2, 0))
            is_last = (count > 1) & (piece >= tf.gather(last_begin, row) + skipped)
            window = first + tf.where(is_last, count - 1, number)
            place = piece - tf.gather(begins, window)
        template = task._template()
        inputs = self.reading.tokens.pack(windows, template=template, padding_id=task.config.filler)
        logits = task(self.reading.chosen(inputs), training=False)
        before = [part for part, _ in template.single].index("A")
        found = tf.gather_nd(logits, tf.stack([window, place + before], axis=1))
        scores = tf.nn.softmax(tf.cast(found, tf.float64))
        return tf.concat([scores, tf.zeros([1, len(task.labels)], tf.float64)], axis=0)

    def _entities(self, words: _Words) -> _Words:
        """The words of each entity joined."""
        words = words.chosen(words.score != 0.0)
        outside = tf.gather(self._is_outside, words.label)
        kind = tf.gather(self._kind, words.label)
        closed = moved(outside | tf.gather(self._ends, words.label), 1, fill=True)
        closed |= moved(words.row, 1, fill=-1) != words.row
        new = ~outside & (tf.gather(self._begins, words.label) | closed | (moved(kind, 1, fill=-1) != kind))
        number = tf.boolean_mask(tf.cumsum(tf.cast(new, tf.int64)) - 1, ~outside)
        count = tf.reduce_sum(tf.cast(new, tf.int64))
        inside, first = words.chosen(~outside), words.chosen(new)
        return first._replace(
            end=tf.math.unsorted_segment_max(inside.end, number, count),
            score=tf.math.unsorted_segment_mean(inside.score, number, count),
        )

    def expected(self, texts: list[str]) -> list[typing.Any]:
        return [list(each) for each in zip(self.task.tag(texts), self.task.tag(texts, aggregate=False), strict=True)]

    def got(self, texts: list[str]) -> list[typing.Any]:
        answers: list[typing.Any] = [[[], []] for _ in texts]
        for place, found in enumerate((self.serve(tf.constant(texts)), self.words(tf.constant(texts)))):
            columns = {name: each.numpy().tolist() for name, each in found.items()}
            for values in zip(*columns.values(), strict=True):
                one = dict(zip(columns, values, strict=True))
                one |= {name: one[name].decode() for name in ("label", "text")}
                answers[one.pop("row")][place].append(one)
        return answers

    def answers(self, text: str) -> bool:
        """Whether the text is whole: the task has windows of the limit of the model alone."""
        return self.reading.whole(text)
