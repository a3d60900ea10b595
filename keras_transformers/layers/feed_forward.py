"""The position-wise feed-forward layer.

Legend: `B` batch, `T` length, `D` model width, `F` feed-forward width.
"""

import typing

import keras
from keras import ops

from keras_transformers.backends import products
from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.experts import ExpertsConfig, StackedDense, choose
from keras_transformers.layers.grouped import FeedForwardGroups, make_dense
from keras_transformers.layers.layer import ShapePreserving
from keras_transformers.records import Rate, Size, record
from keras_transformers.spelling import did_you_mean

ACTIVATIONS = {
    "relu": keras.activations.relu,
    "gelu": lambda x: keras.activations.gelu(x, approximate=False),
    "gelu_tanh": lambda x: keras.activations.gelu(x, approximate=True),
    "silu": keras.activations.silu,
    "tanh": keras.activations.tanh,
}

BIASES = (True, False, "output")


@record
class FeedForwardConfig:
    """Configuration of a feed-forward layer; the fields are arguments of `FeedForward`."""

    intermediate_dim: Size
    activation: str = "relu"
    gated: bool = False
    use_bias: bool | str = True
    dropout: Rate = 0.0
    experts: ExpertsConfig | None = None
    groups: FeedForwardGroups | None = None

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            hint = did_you_mean(self.activation, ACTIVATIONS)
            raise ValueError(
                f"Expected activation to be one of {', '.join(ACTIVATIONS)}, got {self.activation!r}{hint}."
            )
        if self.use_bias not in BIASES:
            raise ValueError(f'Expected use_bias to be True, False or "output", got {self.use_bias!r}.')
        if self.experts is not None and self.use_bias == "output":
            raise ValueError(
                'Expected use_bias to be True or False with experts, got "output". For one bias of all experts, give '
                "them output_bias=True."
            )
        if self.groups is not None and (self.gated or self.experts is not None):
            raise ValueError(f"Expected neither a gate nor experts with {self.groups}.")


@keras.saving.register_keras_serializable("keras_transformers")
class FeedForward(ShapePreserving):
    """A feed-forward layer: two projections with an activation between (Vaswani et al. 2017, section 3.3). If gated,
    the activation of one projection multiplies another (Shazeer 2020).

        dense   down(act(up(x)))             gated   down(act(gate(x)) * up(x))

    With `experts` there are several such layers, and a router chooses some for each token (see `experts.py`).

    Args:
        intermediate_dim: `F`.
        activation: "relu", "gelu" (exact), "gelu_tanh", "silu" or "tanh".
        gated: whether there is a gate.
        use_bias: whether the projections have biases; "output" for the last one alone.
        dropout: share of the intermediate activations dropped in training.
        experts: an `ExpertsConfig` record, or None for one layer for all tokens.
        groups: a `FeedForwardGroups` record if the projections have groups of channels, or None.

    Shape: `[B, T, D]` to `[B, T, D]`.

    Raises:
        ValueError: for an unknown activation, and for groups with a gate or experts.

    Example:
        >>> FeedForward(64, activation="silu", gated=True)(np.ones((2, 5, 32), "float32")).shape
        (2, 5, 32)
    """

    def __init__(
        self,
        intermediate_dim: int,
        activation: str = "relu",
        *,
        gated: bool = False,
        use_bias: bool | str = True,
        dropout: float = 0.0,
        experts: ExpertsConfig | None = None,
        groups: FeedForwardGroups | None = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(**kwargs)
        FeedForwardConfig(intermediate_dim, activation, gated, use_bias, experts=experts, groups=groups)  # checks them
        self.intermediate_dim = intermediate_dim
        self.activation = activation
        self.gated = gated
        self.use_bias = use_bias
        self.experts = experts
        self.groups = groups
        self.dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout") if dropout else None
        masking = 0.0 if experts is None else experts.output_masking
        self.output_masking = Dropout(masking, dtype=self.dtype_policy, name="output_masking") if masking else None

    def build(self, inputs_shape: Shape) -> None:
        def projection(name: str, in_width: int, out_width: int) -> keras.layers.Layer:
            use_bias = self.use_bias is True or (self.use_bias == "output" and name == "down")
            options = {"use_bias": use_bias, "dtype": self.dtype_policy, "name": name}
            if self.experts is None:
                layer = make_dense(out_width, getattr(self.groups, name, 1), **options)
            else:
                layer = StackedDense(self.experts.num_experts, out_width, **options)
            layer.build((None, None, in_width))
            return layer

        width = inputs_shape[-1]
        self.router = self.output_bias = None
        if self.experts is not None:
            options = {"use_bias": False, "dtype": self.dtype_policy, "name": "router"}
            self.router = keras.layers.Dense(self.experts.num_experts, **options)
            self.router.build(inputs_shape)
            if self.experts.output_bias:
                self.output_bias = self.add_weight(name="bias", shape=(width,), initializer="zeros")
        self.gate = projection("gate", width, self.intermediate_dim) if self.gated else None
        self.up = projection("up", width, self.intermediate_dim)
        self.down = projection("down", self.intermediate_dim, width)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if self.router is None or self.experts is None:
            return self._compute(inputs, training)
        x_XD = ops.reshape(inputs, (-1, inputs.shape[-1]))
        weights_Xk, chosen_Xk = choose(self.router(x_XD), self.experts)
        if self.output_masking is not None:  # which scales the weights that stay, so that the mean is the same
            weights_Xk = self.output_masking(weights_Xk, training=training) * (1 - self.experts.output_masking)
        mixed_XD = products.mix(
            x_XD,
            weights_Xk,
            chosen_Xk,
            self.experts.num_experts,
            lambda x, experts: self._compute(x, training, experts=experts),
        )
        if self.output_bias is not None:
            mixed_XD = mixed_XD + ops.cast(self.output_bias, mixed_XD.dtype)
        return ops.reshape(mixed_XD, ops.shape(inputs))

    def _compute(self, x: Tensor, training: bool | None, **of_experts: typing.Any) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        if self.gated:
            hidden = activation(products.dense(self.gate, x, **of_experts)) * products.dense(self.up, x, **of_experts)
        else:
            hidden = activation(products.dense(self.up, x, **of_experts))
        if self.dropout is not None:
            hidden = self.dropout(hidden, training=training)
        return products.dense(self.down, hidden, **of_experts)
