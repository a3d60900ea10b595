"""Attention on TensorFlow: caches of fixed room in functions that XLA compiles, and growing ones in a SavedModel."""

import typing

import tensorflow as tf

from keras_transformers.backends.default import attention as default
from keras_transformers.backends.default.attention import *  # noqa: F403
from keras_transformers.backends.default.attention import Offset
from keras_transformers.backends.types import Tensor


def write(buffer: Tensor, new: Tensor, offset: Offset) -> tuple[Tensor, Tensor]:
    """Write `new [R, K, T, H]` into `buffer [R, K, S, H]` at `offset`. If S is unknown, the buffer has the written
    positions alone, and grows."""
    if buffer.shape[2] is not None:
        return default.write(buffer, new, offset)
    buffer = tf.concat([buffer, tf.cast(new, buffer.dtype)], axis=2)
    return buffer, buffer


def visible_length(room: int, offset: Offset, new: int) -> typing.Any:
    """The number of key positions that attention sees: those of the buffer. A growing one has no room ahead."""
    return room or offset + new
