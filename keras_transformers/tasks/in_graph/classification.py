"""A classifier of texts as a graph.

Legend: `N` texts, `C` classes.
"""

import typing
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_transformers.tasks.in_graph.reading import TEXTS, Outputs, Reading, traced

_SECONDS = tf.TensorSpec([None], tf.string, name="seconds")


class Classification(Outputs):
    """Texts, or pairs of texts, to labels and probabilities, as `TextClassifier.classify`."""

    def __init__(self, task: typing.Any, reading: Reading) -> None:
        super().__init__(task, reading)
        self.pairs = traced(self._pairs, TEXTS, _SECONDS)

    def functions(self) -> dict[str, Callable[..., typing.Any]]:
        return {**super().functions(), "pairs": self.pairs}

    def _serve(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._answered(self.task(self.reading.inputs(texts), training=False))

    def _pairs(self, texts: tf.Tensor, seconds: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = self.task(self.reading.inputs(texts, seconds), training=False)
        return {**self._answered(logits), "relevance": self._relevance(tf.cast(logits, tf.float64))}

    def _answered(self, logits: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.cast(logits, tf.float32)
        answers = {"outputs": logits}
        if self.task.problem == "regression":
            return answers
        scores = self._probabilities(tf.cast(logits, tf.float64))  # as the task computes them
        order = tf.argsort(scores, direction="DESCENDING", stable=True)
        labels = tf.gather(tf.constant(self.task.labels), order)
        scores = tf.cast(tf.gather(scores, order, batch_dims=1), tf.float32)
        return {"label": labels[:, 0], "score": scores[:, 0], "labels": labels, "scores": scores, **answers}

    def _probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        return tf.nn.sigmoid(logits) if self.task.problem == "multi_label" else tf.nn.softmax(logits)

    def _relevance(self, logits: tf.Tensor) -> tf.Tensor:
        """The scores of `rank`."""
        task = self.task
        if len(task.labels) > 1:
            scores = logits if task.problem == "regression" else self._probabilities(logits)
            return tf.cast(scores[:, -1], tf.float32)
        activation = task.activation or task._folder_activation
        scores = logits[:, 0] if activation == "identity" else tf.nn.sigmoid(logits[:, 0])
        return tf.cast(scores, tf.float32)

    # A text of a check is read alone, and as a pair with the text before it.

    def expected(self, texts: list[str]) -> list[typing.Any]:
        alone, pairs = (
            self.outputs(self.task.encode_texts(texts, seconds, max_length=self.reading.length)[0])
            for seconds in (None, _before(texts))
        )
        answers = [self.task._answer(np.array(row), None) for row in alone]
        if self.task.problem == "regression":
            answers = [[] for _ in answers]
        return [list(each) for each in zip(answers, alone, pairs, strict=True)]

    def got(self, texts: list[str]) -> list[typing.Any]:
        found, pairs = self.serve(tf.constant(texts)), self.pairs(tf.constant(texts), tf.constant(_before(texts)))
        answers: list[typing.Any] = [[] for _ in texts]
        if "labels" in found:
            rows = zip(found["labels"].numpy(), found["scores"].numpy().tolist(), strict=True)
            answers = [
                [{"label": label.decode(), "score": score} for label, score in zip(*row, strict=True)] for row in rows
            ]
        outputs = (each["outputs"].numpy().tolist() for each in (found, pairs))
        return [list(each) for each in zip(answers, *outputs, strict=True)]


def _before(texts: list[str]) -> list[str]:
    return texts[-1:] + texts[:-1]
