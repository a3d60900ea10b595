"""Span-based dynamic convolution (Jiang et al. 2020, ConvBERT): heads that convolve a text, beside heads of attention.

    x ─┬─ convolution over neighbours ─ key ─ · ─ dense ─ softmax ─► a kernel of K numbers for each token and head
       │                                      │                       │
       ├─ (the attention's) query ────────────┘                       │
       └─ value ─────────────────────────────────────────────── weighted sum of the values of K neighbours ─►

Beyond the ends of a row are zeros. Padding in the row is read like any token, as in the original.

Legend: `B` batch, `T` length, `D` model width, `N` heads, `H` head width, `K` kernel size.
"""

import typing

import keras
from keras import ops

from keras_transformers.backends import attention
from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.layer import Layer
from keras_transformers.records import Size, record


@record
class DynamicConvolution:
    """Convolution heads beside the attention heads; `kernel_size` is the number of tokens that they read, odd."""

    kernel_size: Size = 9

    def __post_init__(self) -> None:
        if not self.kernel_size % 2:
            raise ValueError(f"Expected an odd kernel_size, got {self.kernel_size}.")


@keras.saving.register_keras_serializable("keras_transformers")
class ConvolutionHeads(Layer):
    """The heads of a `DynamicConvolution` record.

    Args:
        num_heads: `N`.
        head_dim: `H`.
        kernel_size: `K`, odd.

    Call arguments: `inputs [B, T, D]`; `query [B, N, T, H]`, the projected queries of the attention.

    Returns: `[B, N, T, H]`.

    Example:
        >>> x, query = np.ones((2, 5, 32), "float32"), np.ones((2, 4, 5, 8), "float32")
        >>> ConvolutionHeads(num_heads=4, head_dim=8, kernel_size=3)(x, query).shape
        (2, 4, 5, 8)

    Source: Jiang et al. 2020, section 3.2; `ConvBertSelfAttention` of transformers 5.
    """

    def __init__(self, num_heads: int, head_dim: int, kernel_size: int, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        DynamicConvolution(kernel_size)  # checks the argument
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.kernel_size = kernel_size

    def build(self, inputs_shape: Shape, query_shape: Shape | None = None) -> None:
        width, inner = inputs_shape[-1], self.num_heads * self.head_dim

        def dense(name: str, in_width: int, units: int) -> keras.layers.Dense:
            layer = keras.layers.Dense(units, dtype=self.dtype_policy, name=name)
            layer.build((None, None, in_width))
            return layer

        self.kernel = self.add_weight(name="kernel", shape=(self.kernel_size, width), initializer="glorot_uniform")
        self.key = dense("key", width, inner)
        self.kernels = dense("kernels", inner, self.num_heads * self.kernel_size)
        self.value = dense("value", width, inner)

    def compute_output_spec(self, inputs: Tensor, query: Tensor) -> keras.KerasTensor:
        batch, length, _ = inputs.shape
        return keras.KerasTensor((batch, self.num_heads, length, self.head_dim), dtype=self.compute_dtype)

    def call(self, inputs: Tensor, query: Tensor) -> Tensor:
        weight_KD = ops.cast(ops.convert_to_tensor(self.kernel), inputs.dtype)
        mixed_BTD = sum(x * weight_KD[k] for k, x in enumerate(self._neighbours(inputs)))
        key_BTD = self.key(mixed_BTD)
        kernel_BTX = self.kernels(key_BTD * attention.merge_heads(query))
        kernel_BNTK = ops.softmax(attention.split_heads(kernel_BTX, self.num_heads), axis=-1)
        neighbours = self._neighbours(self.value(inputs))
        return sum(
            attention.split_heads(value, self.num_heads) * kernel_BNTK[..., k : k + 1]
            for k, value in enumerate(neighbours)
        )

    def _neighbours(self, x: Tensor) -> list[Tensor]:
        """`x [B, T, …]` moved by each place of the kernel: `K` tensors of its shape."""
        length, reach = ops.shape(x)[1], self.kernel_size // 2
        padded = ops.pad(x, ((0, 0), (reach, reach), (0, 0)))
        return [padded[:, k : k + length] for k in range(self.kernel_size)]
