"""Array operations on TensorFlow: those of `keras.ops`, and the values of arrays outside of a graph."""

import typing

import numpy as np
import tensorflow as tf

from keras_transformers.backends.default import arrays as default
from keras_transformers.backends.default.arrays import *  # noqa: F403
from keras_transformers.backends.types import Tensor


def known_values(x: typing.Any) -> np.ndarray | None:
    """The values of a tensor; None if they are not computed yet, or are on another device."""
    if isinstance(x, np.ndarray):
        return x
    return x.numpy() if hasattr(x, "numpy") and type(x).__name__ == "EagerTensor" else None


def linear_recurrence(kept: Tensor, added: Tensor) -> Tensor:
    """The states `h[t] = kept[t] * h[t - 1] + added[t]` from `h[-1] = 0`, for `[B, T, D]`, also if T is unknown."""
    if kept.shape[1] is not None:
        return default.linear_recurrence(kept, added)
    positions = tf.range(tf.shape(kept)[1])

    def step(distance: Tensor, kept: Tensor, added: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        there = (positions >= distance)[:, None]
        kept_before, added_before = (
            tf.where(there, tf.gather(x, tf.maximum(positions - distance, 0), axis=1), 0.0) for x in (kept, added)
        )
        return 2 * distance, kept * kept_before, added + kept * added_before

    _, _, states = tf.while_loop(lambda distance, *_: distance < tf.size(positions), step, (1, kept, added))
    return states
