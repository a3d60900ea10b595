"""Strings to the inputs of a model, and the graph of a task that only has outputs.

Legend: `N` texts, `T` length.
"""

import typing
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from keras_transformers.data.ragged import Ragged
from keras_transformers.tokenizers.in_graph.characters import CharacterTable, code_points

_AT_ONCE = 32  # texts of a check
TEXTS = tf.TensorSpec([None], tf.string, name="texts")


class Reading:
    """The tokenizer of a task in a graph, with the limits of the task.

    Args:
        task: a task with a tokenizer.
        length: the most tokens of a text, or None for the limit of the model.
        check, difficult_texts: as for `export_with_text`.

    Attributes:
        tokens: the `InGraphTokenizer`.
        length: the most tokens of a row, or None.
    """

    def __init__(self, task: typing.Any, length: int | None, check: Sequence[str], difficult_texts: bool) -> None:
        self.task = task
        self.tokens = task._tokenizer().in_graph(texts=check, difficult_texts=difficult_texts)
        self.given_length = length
        longest = task.max_length if hasattr(task, "max_length") else task._longest("embeddings")
        self.length = min((limit for limit in (length, longest) if limit), default=None)

    def whole(self, text: str) -> bool:
        """Whether a text fits in the given length, or none was given."""
        if self.given_length is None:
            return True
        (ids,) = self.task._tokenizer().encode([text])
        return len(ids) + self.task._template().num_special() <= self.given_length

    def inputs(self, texts: tf.Tensor, seconds: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """The inputs of an `EncoderTask`, padded, for texts or pairs of texts, strings `[N]`."""
        task = self.task
        packed = self.tokens.pack(
            clean(texts),
            None if seconds is None else clean(seconds),
            max_length=self.length,
            template=task._template(),
            padding_id=task.config.filler,
        )
        return self.chosen(packed)

    def chosen(self, packed: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The inputs that the model takes."""
        left_out = set() if self.task.config.num_segments > 1 else {"segment_ids"}
        left_out |= set() if self.task._needs_mask() else {"padding_mask"}
        return {name: each for name, each in packed.items() if name not in left_out}


def traced(function: Callable[..., typing.Any], *inputs: tf.TensorSpec) -> Callable[..., typing.Any]:
    """A function as a graph."""
    return tf.function(function, input_signature=inputs, autograph=False).get_concrete_function()


def clean(texts: tf.Tensor) -> tf.Tensor:
    """Texts in UTF-8, with U+FFFD for other bytes."""
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")


class CharacterClasses(tf.Module):
    """Which texts have a character of a class of Python's: a letter, or anything but white space."""

    def __init__(self) -> None:
        super().__init__()
        characters = list(map(chr, code_points()))
        values = np.zeros(0x110000, np.int32)
        values[code_points()] = [2 if c.isalpha() else 1 - c.isspace() for c in characters]
        self._class = CharacterTable(values)

    def __call__(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Which of the texts, strings `[N]`, have a letter, and which are not blank: bool `[N]` each."""
        characters = tf.strings.unicode_decode(texts, "UTF-8")
        classes = characters.with_flat_values(self._class(characters.flat_values))
        highest = tf.reduce_max(tf.concat([classes, tf.zeros_like(texts, tf.int32)[:, None]], axis=1), axis=1)
        return highest == 2, highest > 0


class Outputs:
    """A task that reads texts, and whose answers are the outputs of its model."""

    def __init__(self, task: typing.Any, reading: Reading) -> None:
        self.task, self.reading = task, reading
        self.parts: list[tf.Module] = []
        self.serve = traced(self._serve, TEXTS)

    def _serve(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"outputs": tf.cast(self.task(self.reading.inputs(texts), training=False), tf.float32)}

    def functions(self) -> dict[str, Callable[..., typing.Any]]:
        """The functions of strings, by the names of their signatures."""
        return {"serving_default": self.serve}

    def answers(self, text: str) -> bool:
        """Whether the task has an answer for a text, rather than an error."""
        return True

    def expected(self, texts: list[str]) -> list[typing.Any]:
        """The answers of the task."""
        return self.outputs(self.task.encode_texts(texts, max_length=self.reading.length)[0])

    def outputs(self, columns: dict[str, Ragged]) -> list[typing.Any]:
        """The outputs of the model for rows of ids. Nothing is compiled: `run` would compile for each length."""
        outputs, lengths = [], columns["token_ids"].lengths
        for begin in range(0, len(lengths), _AT_ONCE):
            rows = np.arange(begin, min(begin + _AT_ONCE, len(lengths)))
            values = tf.cast(self.task(self.task._padded(columns, rows), training=False), tf.float32).numpy()
            outputs += [
                (value[: lengths[row]] if value.ndim > 1 else value).tolist()
                for row, value in zip(rows, values, strict=False)
            ]
        return outputs

    def got(self, texts: list[str]) -> list[typing.Any]:
        """The answers of the graph, in the form of `expected`."""
        outputs = self.serve(tf.constant(texts))["outputs"].numpy()
        return [each[: len(one)].tolist() for each, one in zip(outputs, self._lengths(texts, outputs), strict=True)]

    def _lengths(self, texts: list[str], outputs: np.ndarray) -> typing.Any:
        if outputs.ndim < 3:
            return outputs
        mask = self.reading.tokens.pack(tf.constant(texts), max_length=self.reading.length)["padding_mask"].numpy()
        return [row[row] for row in mask]
