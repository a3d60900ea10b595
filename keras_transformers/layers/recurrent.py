"""A bidirectional LSTM, on texts of unequal length.

    forward    h₁ → h₂ → h₃   ·          · is padding: it changes no state, so that the backward direction
    backward   h₁ ← h₂ ← h₃   ·            begins at the last real position

Legend: `B` batch, `T` length, `D` width of the input, `U` units of each direction.
"""

import typing

import keras
from keras import ops

from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.layer import Layer, like


class LSTM(Layer):
    """One direction of an LSTM.

    The gates are in the order of PyTorch: input, forget, candidate, output. As there, the projection of the input and
    that of the state have a bias each.

    Args:
        units: `U`.
        backward: whether it reads from the last position to the first.

    Call arguments: `inputs [B, T, D]`; `mask`, bool `[B, T]`, True for real positions. Padding is at the end.

    Returns: `[B, T, U]`. Outputs at padding have no meaning.

    Example:
        >>> LSTM(3)(np.ones((2, 4, 8), "float32"), np.ones((2, 4), bool)).shape
        (2, 4, 3)

    Source: Hochreiter and Schmidhuber 1997; Gers et al. 2000 (the forget gate).
    """

    def __init__(self, units: int, backward: bool = False, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.backward = backward
        self.of_input, self.of_state = (
            keras.layers.Dense(4 * units, dtype=self.dtype_policy, name=name) for name in ("input", "state")
        )

    def build(self, inputs_shape: Shape) -> None:
        self.of_input.build(inputs_shape)
        self.of_state.build((inputs_shape[0], self.units))

    def compute_output_spec(self, inputs: Tensor, mask: Tensor) -> keras.KerasTensor:
        return like(inputs, dtype=self.compute_dtype, width=self.units)

    def call(self, inputs: Tensor, mask: Tensor) -> Tensor:
        gates_TBG = ops.transpose(self.of_input(inputs), (1, 0, 2))
        mask_TB1 = ops.transpose(ops.cast(mask, "bool"))[:, :, None]
        zeros_BU = ops.zeros((ops.shape(inputs)[0], self.units), dtype=gates_TBG.dtype)

        def step(state: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor]) -> tuple[typing.Any, typing.Any]:
            hidden_BU, cell_BU = state
            gates_BG, is_real_B1 = now
            reads, keeps, candidate, writes = ops.split(gates_BG + self.of_state(hidden_BU), 4, axis=-1)
            cell = ops.sigmoid(keeps) * cell_BU + ops.sigmoid(reads) * ops.tanh(candidate)
            hidden = ops.sigmoid(writes) * ops.tanh(cell)
            state = ops.where(is_real_B1, hidden, hidden_BU), ops.where(is_real_B1, cell, cell_BU)
            return state, state

        _, (hidden_TBU, _) = ops.scan(step, (zeros_BU, zeros_BU), (gates_TBG, mask_TB1), reverse=self.backward)
        return ops.transpose(hidden_TBU, (1, 0, 2))


class BidirectionalLSTM(Layer):
    """An LSTM in each direction, side by side.

    Args:
        units: `U`, of each direction.

    Call arguments: as for `LSTM`.

    Returns: `[B, T, 2 U]`. Outputs at padding have no meaning.

    Example:
        >>> BidirectionalLSTM(3)(np.ones((2, 4, 8), "float32"), np.ones((2, 4), bool)).shape
        (2, 4, 6)

    Source: Schuster and Paliwal 1997.
    """

    def __init__(self, units: int, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.to_end = LSTM(units, dtype=self.dtype_policy, name="forward")
        self.to_start = LSTM(units, backward=True, dtype=self.dtype_policy, name="backward")

    def build(self, inputs_shape: Shape) -> None:
        self.to_end.build(inputs_shape)
        self.to_start.build(inputs_shape)

    def compute_output_spec(self, inputs: Tensor, mask: Tensor) -> keras.KerasTensor:
        return like(inputs, dtype=self.compute_dtype, width=2 * self.units)

    def call(self, inputs: Tensor, mask: Tensor) -> Tensor:
        return ops.concatenate([self.to_end(inputs, mask), self.to_start(inputs, mask)], axis=-1)
