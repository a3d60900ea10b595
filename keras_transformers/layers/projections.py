"""Layers on the vectors of texts or tokens, after the last hidden states: projection, norm, length.

Legend: `D` width of the vectors, `P` width after a projection.
"""

import typing
from collections.abc import Iterable

import keras
from keras import ops

from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.feed_forward import ACTIVATIONS
from keras_transformers.layers.layer import Layer, ShapePreserving, like
from keras_transformers.layers.norms import LayerNorm, make_norm
from keras_transformers.records import Size, record
from keras_transformers.spelling import did_you_mean


@record
class Projection:
    """A dense layer on vectors, with an optional activation.

    `residual`: whether the vectors are added to the result, through a second matrix if the width changes.
    """

    output_dim: Size
    activation: str | None = None
    use_bias: bool = True
    residual: bool = False

    def __post_init__(self) -> None:
        if self.activation is not None and self.activation not in ACTIVATIONS:
            raise ValueError(
                f"Expected activation to be None or one of {', '.join(ACTIVATIONS)}, got {self.activation!r}"
                f"{did_you_mean(self.activation, ACTIVATIONS)}."
            )


@record
class Normalize:
    """Scale vectors to length 1."""


Step = Projection | LayerNorm | Normalize


def make_step(step: Step, **kwargs: typing.Any) -> keras.layers.Layer:
    """The layer that computes `step` on vectors; `kwargs` (`name`, `dtype`) go to the layer."""
    if isinstance(step, Projection):
        return VectorProjection(step.output_dim, step.activation, step.use_bias, step.residual, **kwargs)
    if isinstance(step, Normalize):
        return UnitLength(**kwargs)
    if isinstance(step, LayerNorm):
        return make_norm(step, **kwargs)
    raise ValueError(f"Expected a Projection, LayerNorm or Normalize record, got {step!r:.80}.")


def make_steps(steps: Iterable[Step], width: int, **kwargs: typing.Any) -> list[keras.layers.Layer]:
    """The built layers of `steps` for vectors of a `width`, named `projection_0` and so on."""
    layers = []
    for n, step in enumerate(steps):
        layers.append(make_step(step, name=f"projection_{n}", **kwargs))
        layers[-1].build((None, width))
        width = width_after([step], width)
    return layers


def width_after(steps: Iterable[Step], width: int) -> int:
    """The width of vectors of a `width` after `steps`."""
    for step in steps:
        width = step.output_dim if isinstance(step, Projection) else width
    return width


@keras.saving.register_keras_serializable("keras_transformers")
class VectorProjection(Layer):
    """`activation(x · kernel + bias)`, and with `residual` the vectors themselves added.

    Args:
        output_dim: `P`.
        activation, use_bias, residual: see `Projection`.

    Shape: `[…, D]` to `[…, P]`.

    Example:
        >>> VectorProjection(3, "tanh")(np.ones((2, 4), "float32")).shape
        (2, 3)

    Source: the module Dense of sentence-transformers, https://github.com/huggingface/sentence-transformers
    """

    def __init__(
        self,
        output_dim: int,
        activation: str | None = None,
        use_bias: bool = True,
        residual: bool = False,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(**kwargs)
        Projection(output_dim, activation, use_bias, residual)  # checks the arguments
        self.output_dim = output_dim
        self.activation = (lambda x: x) if activation is None else ACTIVATIONS[activation]
        self.with_residual = residual
        self.dense = keras.layers.Dense(output_dim, use_bias=use_bias, dtype=self.dtype_policy, name="dense")
        self.residual: keras.layers.Layer | None = None

    def build(self, inputs_shape: Shape) -> None:
        self.dense.build(inputs_shape)
        if self.with_residual and inputs_shape[-1] != self.output_dim:
            self.residual = keras.layers.Dense(
                self.output_dim, use_bias=False, dtype=self.dtype_policy, name="residual"
            )
            self.residual.build(inputs_shape)

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        return like(inputs, dtype=self.compute_dtype, width=self.output_dim)

    def call(self, inputs: Tensor) -> Tensor:
        x = self.activation(self.dense(inputs))
        if not self.with_residual:
            return x
        return x + (inputs if self.residual is None else self.residual(inputs))


@keras.saving.register_keras_serializable("keras_transformers")
class UnitLength(ShapePreserving):
    """Scales vectors to length 1, computed in float32.

    Shape: `[…, D]` to `[…, D]`.

    Example:
        >>> UnitLength()(np.array([[3.0, 4.0]], "float32"))
        array([[0.6, 0.8]], dtype=float32)
    """

    def call(self, inputs: Tensor) -> Tensor:
        return ops.cast(unit_length(inputs), inputs.dtype)


def unit_length(vectors: Tensor) -> Tensor:
    """Scale vectors to length 1, float32. Zeros stay zeros, as in `torch.nn.functional.normalize`."""
    vectors = ops.cast(vectors, "float32")
    return vectors / ops.maximum(ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True)), 1e-12)
