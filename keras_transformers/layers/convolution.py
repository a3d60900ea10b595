"""A convolution over neighbouring tokens (He et al. 2021, DeBERTa v2).

    x = norm(x + activation(convolution(inputs)))

Legend: `B` batch, `T` length, `D` model width.
"""

import typing

import keras
from keras import ops

from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.feed_forward import ACTIVATIONS
from keras_transformers.layers.layer import Layer, like
from keras_transformers.layers.norms import LayerNorm, Norm, make_norm
from keras_transformers.records import Rate, Size, record
from keras_transformers.spelling import did_you_mean


@record
class ConvolutionConfig:
    """Configuration of a `Convolution`.

    `kernel_size`: the number of neighbouring tokens that it reads, an odd number.
    `activation`: a name as for `FeedForward`.
    `dropout`: share of its output dropped in training, before the activation.
    """

    kernel_size: Size = 3
    activation: str = "tanh"
    dropout: Rate = 0.0

    def __post_init__(self) -> None:
        if not self.kernel_size % 2:
            raise ValueError(f"Expected an odd kernel_size, got {self.kernel_size}.")
        if self.activation not in ACTIVATIONS:
            hint = did_you_mean(self.activation, ACTIVATIONS)
            raise ValueError(
                f"Expected activation to be one of {', '.join(ACTIVATIONS)}, got {self.activation!r}{hint}."
            )


@keras.saving.register_keras_serializable("keras_transformers")
class Convolution(Layer):
    """Adds a convolution over the tokens of a text to hidden states, and normalises the sum.

    Args:
        config: a `ConvolutionConfig`.
        norm: a norm record.

    Call arguments: `inputs [B, T, D]`, which the convolution reads; `x [B, T, D]`, to which it is added;
    `padding_mask`, bool `[B, T]`, True where a token is real. Padding counts as zeros, like the tokens beyond a text.

    Returns: `[B, T, D]`.

    Example:
        >>> x = np.ones((2, 5, 32), "float32")
        >>> Convolution(ConvolutionConfig(kernel_size=3))(x, x).shape
        (2, 5, 32)

    Source: `ConvLayer` of the authors' code, https://github.com/microsoft/DeBERTa
    """

    def __init__(self, config: ConvolutionConfig, norm: Norm = LayerNorm(), **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        options = {"dtype": self.dtype_policy}
        self.config = config
        self.activation = ACTIVATIONS[config.activation]
        self.norm = make_norm(norm, name="norm", **options)
        self.dropout = Dropout(config.dropout, name="dropout", **options) if config.dropout else None

    def build(self, inputs_shape: Shape, x_shape: Shape | None = None) -> None:
        width = inputs_shape[-1]
        self.convolution = keras.layers.Conv1D(
            width, self.config.kernel_size, padding="same", dtype=self.dtype_policy, name="convolution"
        )
        self.convolution.build((None, None, width))
        self.norm.build((None, None, width))

    def compute_output_spec(
        self, inputs: Tensor, x: Tensor, padding_mask: Tensor = None, training: bool | None = None
    ) -> keras.KerasTensor:
        return like(x, dtype=self.compute_dtype)

    def call(self, inputs: Tensor, x: Tensor, padding_mask: Tensor = None, training: bool | None = None) -> Tensor:
        if padding_mask is not None:
            inputs = ops.where(ops.cast(padding_mask, "bool")[:, :, None], inputs, ops.zeros_like(inputs))
        y = self.convolution(inputs)
        if self.dropout is not None:
            y = self.dropout(y, training=training)
        return self.norm(x + self.activation(y))
