"""Normalisation layers, described by records.

Legend: `D` model width.
"""

import typing

import keras
from keras import ops

from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.layer import Layer, like
from keras_transformers.records import Range, record

Epsilon = typing.Annotated[float, Range(0, 1)]


@record
class LayerNorm:
    """Layer normalisation (Ba et al. 2016): subtract the mean, divide by the standard deviation, scale and shift."""

    epsilon: Epsilon = 1e-5
    use_bias: bool = True


@record
class RMSNorm:
    """Root-mean-square normalisation (Zhang and Sennrich 2019): divide by the root of the mean square, scale."""

    epsilon: Epsilon = 1e-6
    unit_offset: bool = False  # Gemma stores the scale minus one


@record
class Affine:
    """A scale and a shift of each channel, in the place of a norm (Sun et al. 2020, MobileBERT)."""


Norm = LayerNorm | RMSNorm | Affine


def make_norm(norm: Norm, **kwargs: typing.Any) -> keras.layers.Layer:
    """The layer that computes `norm` over the last axis; `kwargs` (`name`, `dtype`) go to the layer."""
    if isinstance(norm, LayerNorm):
        return keras.layers.LayerNormalization(epsilon=norm.epsilon, center=norm.use_bias, **kwargs)
    if isinstance(norm, RMSNorm):
        return RMSNormalization(epsilon=norm.epsilon, unit_offset=norm.unit_offset, **kwargs)
    if isinstance(norm, Affine):
        return AffineTransform(**kwargs)
    raise ValueError(f"Expected `norm` to be a LayerNorm, RMSNorm or Affine record, got {norm!r}.")


@keras.saving.register_keras_serializable("keras_transformers")
class RMSNormalization(Layer):
    """`x / sqrt(mean(x²) + epsilon) * scale` over the last axis, computed in float32.

    The layer of Keras drops the Keras mask, and cannot store the scale as an offset from one.

    Args:
        epsilon: added to the mean square.
        unit_offset: whether to multiply by `1 + scale` (Gemma) instead of `scale`.

    Shape: `[..., D]` to `[..., D]`, in the compute dtype.

    Example:
        >>> RMSNormalization()(np.ones((2, 3, 4), "float32")).shape
        (2, 3, 4)
    """

    def __init__(self, epsilon: float = 1e-6, unit_offset: bool = False, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = epsilon
        self.unit_offset = unit_offset

    def build(self, inputs_shape: Shape) -> None:
        self.scale = self.add_weight(
            name="scale", shape=(inputs_shape[-1],), initializer="zeros" if self.unit_offset else "ones"
        )

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        return like(inputs)

    def call(self, inputs: Tensor) -> Tensor:
        scale = ops.cast(self.scale, "float32") + 1.0 if self.unit_offset else self.scale
        return ops.cast(ops.rms_normalization(ops.cast(inputs, "float32"), scale, epsilon=self.epsilon), inputs.dtype)


@keras.saving.register_keras_serializable("keras_transformers")
class AffineTransform(Layer):
    """`x * gamma + beta`, with a number for each channel.

    Shape: `[..., D]` to `[..., D]`.

    Example:
        >>> AffineTransform()(np.ones((2, 3, 4), "float32")).shape
        (2, 3, 4)
    """

    def build(self, inputs_shape: Shape) -> None:
        self.gamma = self.add_weight(name="gamma", shape=(inputs_shape[-1],), initializer="ones")
        self.beta = self.add_weight(name="beta", shape=(inputs_shape[-1],), initializer="zeros")

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        return like(inputs)

    def call(self, inputs: Tensor) -> Tensor:
        gamma, beta = (ops.cast(ops.convert_to_tensor(each), inputs.dtype) for each in (self.gamma, self.beta))
        return inputs * gamma + beta
