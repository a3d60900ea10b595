"""Token embeddings on TensorFlow, with a gradient that optimizers apply in one step."""

import typing

import keras
import tensorflow as tf

from keras_transformers.backends.default.products import *  # noqa: F403
from keras_transformers.backends.default.products import is_plain
from keras_transformers.backends.types import Tensor


def vectors(token: typing.Any, token_ids: Tensor) -> Tensor:
    """The rows of a `ReversibleEmbedding` for int32 `token_ids`."""
    if not is_plain(token, keras.layers.ReversibleEmbedding):
        return token(token_ids)
    return tf.cast(_rows(tf.convert_to_tensor(token.embeddings), token_ids), token.compute_dtype)


@tf.custom_gradient
def _rows(embeddings: Tensor, token_ids: Tensor) -> typing.Any:
    """Rows of `embeddings` with a gradient that is summed over repeated tokens. On TensorFlow, Adam in Keras squares
    the rows of a sparse gradient separately, so that its step for repeated tokens is too long."""

    def backward(upstream: Tensor) -> tuple[Tensor, None]:
        upstream = tf.reshape(upstream, (-1, embeddings.shape[-1]))
        return tf.math.unsorted_segment_sum(upstream, tf.reshape(token_ids, (-1,)), embeddings.shape[0]), None

    return tf.gather(embeddings, token_ids), backward
