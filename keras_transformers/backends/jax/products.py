"""Products on JAX, with transposed kernels for few rows on a CPU."""

import math
import typing

import keras
from keras import ops

from keras_transformers.backends.default import products as default
from keras_transformers.backends.default.products import *  # noqa: F403
from keras_transformers.backends.default.products import is_plain
from keras_transformers.backends.jax.transposed import FEW, FEW_OF_KERNELS, are_few, find, from_the_left
from keras_transformers.backends.types import Tensor


def dense(layer: typing.Any, inputs: Tensor, **options: typing.Any) -> Tensor:
    """`layer(inputs, **options)` for a `keras.layers.Dense` or its replacement."""
    transposed, kernel = find.get(), None
    if transposed is not None and is_plain(layer, keras.layers.Dense):
        plain = inputs.dtype == layer.kernel.dtype == layer.compute_dtype == "float32"
        few = are_few(math.prod(inputs.shape[:-1]), FEW_OF_KERNELS)
        kernel = transposed(layer.kernel) if plain and few else None
    if kernel is None:
        return layer(inputs, **options)
    outputs = from_the_left(kernel, inputs)
    return layer.activation(outputs if layer.bias is None else outputs + layer.bias)


def scores(token: typing.Any, inputs: Tensor) -> Tensor:
    """`inputs [..., D]` times the matrix of a `ReversibleEmbedding`: `[..., V]`."""
    rows = math.prod(inputs.shape[:-1]) if None not in inputs.shape else None
    if not (are_few(rows, FEW) and is_plain(token, keras.layers.ReversibleEmbedding)):
        return default.scores(token, inputs)
    return from_the_left(ops.cast(token.embeddings, inputs.dtype), inputs)
