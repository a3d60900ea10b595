"""Dense layers in groups: each group of channels has a matrix of its own (Iandola et al. 2020, SqueezeBERT).

    one group   y = x W,  W [in, out]        G groups   y = (x₁ W₁, …, x_G W_G),  W [G, in/G, out/G]

A convolution of size 1 with groups computes the same.

Legend: `B` batch, `T` length, `G` groups.
"""

import typing

import keras
from keras import ops

from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.layer import Layer, like
from keras_transformers.records import Size, record


@record
class AttentionGroups:
    """The number of groups in each projection of an attention; 1 for a plain dense layer."""

    query: Size = 4
    key: Size = 4
    value: Size = 4
    output: Size = 1


@record
class FeedForwardGroups:
    """The number of groups in the two projections of a feed-forward layer; 1 for a plain dense layer."""

    up: Size = 4
    down: Size = 4


def make_dense(units: int, groups: int = 1, **options: typing.Any) -> typing.Any:
    """A dense layer, or a `GroupedDense` if there are several groups; `options` go to the layer."""
    return keras.layers.Dense(units, **options) if groups == 1 else GroupedDense(units, groups, **options)


@keras.saving.register_keras_serializable("keras_transformers")
class GroupedDense(Layer):
    """A dense layer whose groups of channels do not mix.

    Args:
        units: width of the output.
        groups: `G`, a divisor of both widths.
        use_bias: whether the layer has a bias.
        kernel_initializer: a Keras initializer; by default that of a dense layer between the widths of one group.

    Shape: `[B, T, in]` to `[B, T, units]`.

    Raises:
        ValueError: if a width is no multiple of the number of groups.

    Example:
        >>> GroupedDense(12, groups=4)(np.ones((2, 5, 8), "float32")).shape
        (2, 5, 12)
    """

    _transient = ("kernel_initializer",)

    def __init__(
        self,
        units: int,
        groups: int,
        use_bias: bool = True,
        kernel_initializer: typing.Any = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.groups = groups
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer

    def build(self, inputs_shape: Shape) -> None:
        width = inputs_shape[-1]
        if width % self.groups or self.units % self.groups:
            raise ValueError(
                f"Expected both widths to be multiples of groups={self.groups}, got {width} → {self.units}."
            )
        # As in a dense layer: the fans do not count the axis of groups.
        initializer = self.kernel_initializer or keras.initializers.VarianceScaling(
            float(self.groups), "fan_avg", "uniform"
        )
        shape = (self.groups, width // self.groups, self.units // self.groups)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=initializer)
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros") if self.use_bias else None

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        return like(inputs, dtype=self.compute_dtype, width=self.units)

    def call(self, inputs: Tensor) -> Tensor:
        batch, length, width = ops.shape(inputs)
        kernel = ops.cast(ops.convert_to_tensor(self.kernel), self.compute_dtype)
        x = ops.reshape(inputs, (batch, length, self.groups, width // self.groups))
        x = ops.reshape(ops.einsum("btgi,gio->btgo", x, kernel), (batch, length, self.units))
        return x if self.bias is None else x + ops.cast(ops.convert_to_tensor(self.bias), self.compute_dtype)
