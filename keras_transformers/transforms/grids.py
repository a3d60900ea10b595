"""The numbers that a weight of eight bits can have."""

import typing

from keras import ops

from keras_transformers.backends.types import Tensor


class Grid(typing.NamedTuple):
    """The numbers of a quantized weight: multiples of a scale, from -127 to 127 times it.

    Attributes:
        axis: the axis along which the largest number makes a scale; None for one scale of the whole weight.
        epsilon: a number added to the largest one.
    """

    axis: int | None
    epsilon: float = 0.0

    def round(self, weight: Tensor) -> Tensor:
        """The nearest numbers of the grid, float32."""
        largest = ops.max(ops.abs(weight), axis=self.axis, keepdims=True) + self.epsilon
        scale = ops.where(ops.equal(largest, 0.0), 1.0, 127.0 / largest)
        return ops.round(weight * scale) / scale
