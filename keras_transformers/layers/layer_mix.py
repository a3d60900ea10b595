"""A weighted mean of the hidden states of all layers, with weights that are learnt (Peters et al. 2018, ELMo).

    hidden states   h₀  h₁  …  h_L                  of the embeddings and of each block
    weights         softmax or sparsemax of L + 1 numbers; sparsemax gives some layers exactly 0
    y = γ · Σ weight_n · h_n

Legend: `B` batch, `T` length, `D` model width, `L` hidden states that are mixed.
"""

import typing
from collections.abc import Sequence

import keras
from keras import ops

from keras_transformers.backends import arrays
from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.layer import Layer, like

_EPSILON = 1e-12
TRANSFORMATIONS = ("softmax", "sparsemax")


@keras.saving.register_keras_serializable("keras_transformers")
class LayerMix(Layer):
    """The weighted mean of hidden states.

    Args:
        transformation: how numbers become weights: "softmax" or "sparsemax".
        layer_norm: whether each hidden state is normalised first, over all real positions of a text at once.

    Call arguments: a list of `L` hidden states `[B, T, D]`; `padding_mask`, bool `[B, T]`, True for real tokens (None:
    all are).

    Returns: `[B, T, D]`.

    Raises:
        ValueError: for another transformation.

    Example:
        >>> states = [np.ones((2, 3, 8), "float32")] * 4
        >>> LayerMix("sparsemax")(states, np.ones((2, 3), bool)).shape
        (2, 3, 8)

    Source: Peters et al. 2018, equation 1; Martins and Astudillo 2016, algorithm 1 (sparsemax);
    comet/modules/layerwise_attention.py, https://github.com/Unbabel/COMET
    """

    def __init__(self, transformation: str = "softmax", layer_norm: bool = False, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        if transformation not in TRANSFORMATIONS:
            raise ValueError(
                f"Expected transformation to be one of {', '.join(TRANSFORMATIONS)}, got {transformation!r}."
            )
        self.transformation = transformation
        self.layer_norm = layer_norm

    def build(self, inputs_shape: Sequence[Shape]) -> None:
        self.scale = self.add_weight(name="scale", shape=(len(inputs_shape), 1), initializer="zeros")
        self.gamma = self.add_weight(name="gamma", shape=(1,), initializer="ones")

    def compute_output_spec(self, inputs: Sequence[Tensor], padding_mask: Tensor = None) -> keras.KerasTensor:
        return like(inputs[0], dtype=self.compute_dtype)

    def call(self, inputs: Sequence[Tensor], padding_mask: Tensor = None) -> Tensor:
        numbers_L = ops.cast(self.scale, "float32")[:, 0]  # float16 cannot hold the sum of a whole text's squares
        weights_L = ops.softmax(numbers_L) if self.transformation == "softmax" else sparsemax(numbers_L)
        if padding_mask is None:
            padding_mask = ops.ones(ops.shape(inputs[0])[:2], "bool")
        mask_BT1 = ops.cast(padding_mask, "float32")[:, :, None]
        mixed = 0.0
        for n, each in enumerate(map(arrays.float32, inputs)):
            mixed = mixed + weights_L[n] * (_normalized(each, mask_BT1) if self.layer_norm else each)
        return ops.cast(ops.cast(self.gamma, "float32") * mixed, self.compute_dtype)


def sparsemax(numbers: Tensor) -> Tensor:
    """The point of the simplex that is nearest to `numbers [L]`: weights that sum to 1, of which some may be 0."""
    descending = ops.flip(ops.sort(numbers))
    counts = ops.cast(ops.arange(1, numbers.shape[0] + 1), numbers.dtype)
    sums = ops.cumsum(descending)
    size = ops.sum(ops.cast(descending * counts > sums - 1.0, numbers.dtype))
    inside = ops.cast(counts <= size, numbers.dtype)
    threshold = (ops.sum(descending * inside) - 1.0) / size
    return ops.maximum(numbers - threshold, 0.0)


def _normalized(x: Tensor, mask_BT1: Tensor) -> Tensor:
    """`x [B, T, D]` with mean 0 and variance 1 over all real positions of each text."""
    count = ops.sum(mask_BT1, axis=(1, 2), keepdims=True) * x.shape[-1]
    mean = ops.sum(x * mask_BT1, axis=(1, 2), keepdims=True) / count
    variance = ops.sum(ops.square((x - mean) * mask_BT1), axis=(1, 2), keepdims=True) / count
    return (x - mean) / ops.sqrt(variance + _EPSILON)
