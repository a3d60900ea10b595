"""Mixture of experts: a router chooses a few of several feed-forward layers for each token.

    x ─┬─ router ── softmax ── the k highest ─────────┐
       │                        │ which               │ how much
       └────────────────── experts ── outputs ── weighted sum ─►

The cost for `X` tokens (`backends.products.mix`):

    PyTorch, not compiled    each expert computes only the tokens that chose it
    compiled, X·k < E        the weights of the chosen experts are gathered, as for one new token
    compiled, else           every expert computes every token: E/k times the multiplications, but shapes are fixed

Legend: `X` tokens, `D` model width, `F` feed-forward width, `E` experts, `k` chosen by each token.
"""

import typing

import keras
from keras import ops

from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.layer import Layer
from keras_transformers.records import Rate, Size, record


@record
class ExpertsConfig:
    """The number of experts, and how many each token chooses (Shazeer et al. 2017; Mixtral). With `normalize`, the
    weights of the chosen experts add up to 1; otherwise they are those of the softmax over all experts. With
    `output_bias`, one bias is added to the weighted sum (megablocks). `output_masking` is the share of the chosen
    experts' outputs that training leaves out, token by token; without training all weights are smaller by this share
    (expert output masking: NLLB Team 2022, section 6.2)."""

    num_experts: Size
    num_chosen: Size = 2
    normalize: bool = True
    output_bias: bool = False
    output_masking: Rate = 0.0

    def __post_init__(self) -> None:
        if self.num_chosen > self.num_experts:
            raise ValueError(f"Expected num_chosen of at most num_experts={self.num_experts}, got {self.num_chosen}.")


def choose(scores_XE: Tensor, experts: ExpertsConfig) -> tuple[Tensor, Tensor]:
    """Choose experts for each token by the scores of a router. Returns their weights and numbers, `[X, k]` each."""
    shares_XE = ops.softmax(ops.cast(scores_XE, "float32"), axis=-1)
    weights_Xk, chosen_Xk = ops.top_k(shares_XE, experts.num_chosen)
    if experts.normalize:
        weights_Xk = weights_Xk / ops.sum(weights_Xk, axis=-1, keepdims=True)
    return ops.cast(weights_Xk, scores_XE.dtype), chosen_Xk


@keras.saving.register_keras_serializable("keras_transformers")
class StackedDense(Layer):
    """A dense layer for each expert, with all kernels in one weight `[E, in, out]`.

    Args:
        num_experts: `E`.
        units: width of the output.
        use_bias: whether each expert has a bias.

    Call arguments: `inputs [X, in]`, or `[E, X, in]` for all experts, or `[X, k, in]` for the chosen ones; `experts`,
    the number of one expert, None for all, or the numbers `[X, k]` of the chosen ones.

    Returns: `[X, units]` for one expert, `[E, X, units]` for all, `[X, k, units]` for the chosen ones.
    """

    def __init__(self, num_experts: int, units: int, use_bias: bool = False, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.num_experts = num_experts
        self.units = units
        self.use_bias = use_bias

    def build(self, inputs_shape: Shape) -> None:
        # As in a dense layer: the fans do not count the axis of experts.
        initializer = keras.initializers.VarianceScaling(float(self.num_experts), "fan_avg", "uniform")
        shape = (self.num_experts, inputs_shape[-1], self.units)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=initializer)
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.num_experts, self.units), initializer="zeros")

    def compute_output_spec(self, inputs: Tensor, experts: int | Tensor = None) -> keras.KerasTensor:
        shape = tuple(inputs.shape[:-1])
        if experts is None and len(shape) == 1:
            shape = (self.num_experts, *shape)
        elif experts is not None and not isinstance(experts, int):
            shape = tuple(experts.shape)
        return keras.KerasTensor((*shape, self.units), dtype=self.compute_dtype)

    def _cast(self, weight: keras.Variable) -> Tensor:
        return ops.cast(ops.convert_to_tensor(weight), self.compute_dtype)

    def call(self, inputs: Tensor, experts: int | Tensor = None) -> Tensor:
        kernel = self._cast(self.kernel)
        bias = None if self.bias is None else self._cast(self.bias)
        if isinstance(experts, int):
            x = ops.matmul(inputs, kernel[experts])
            return x if bias is None else x + bias[experts]
        if experts is None:
            x = ops.matmul(inputs, kernel)
            return x if bias is None else x + bias[:, None]
        inputs = inputs[:, None] if len(inputs.shape) == 2 else inputs
        x = ops.matmul(inputs[:, :, None], ops.take(kernel, experts, axis=0))[:, :, 0]
        return x if bias is None else x + ops.take(bias, experts, axis=0)
