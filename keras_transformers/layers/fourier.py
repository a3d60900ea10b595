"""A Fourier transform in the place of self-attention (Lee-Thorp et al. 2022, FNet).

    y = real part of FFT over the tokens of FFT over the channels of x

It has no weights and no mask: padding is mixed with the text, so that texts of one row length are comparable.

Legend: `B` batch, `T` length, `D` model width.
"""

import typing

import keras
from keras import ops

from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.layer import Layer, like
from keras_transformers.layers.scope import Scope
from keras_transformers.records import record


@record
class Fourier:
    """Mixing of tokens by a Fourier transform, for `BlockConfig.attention` of encoders.

    It has the fields of an `AttentionConfig` that a stack asks for, as constants.
    """

    num_heads: typing.ClassVar[int] = 1
    head_dim: typing.ClassVar[None] = None
    positions: typing.ClassVar[None] = None
    window: typing.ClassVar[None] = None
    scale: typing.ClassVar[None] = None
    global_tokens: typing.ClassVar[int] = 0
    blocks: typing.ClassVar[None] = None


@keras.saving.register_keras_serializable("keras_transformers")
class FourierMixing(Layer):
    """The layer of a `Fourier` record.

    Call arguments: `inputs [B, T, D]`. The masks and the scope of an attention are taken and not used.

    Returns: `[B, T, D]`.

    Raises:
        ValueError: for a causal layer, whose tokens would be mixed with later ones, and if attention scores are asked
            for.

    Example:
        >>> FourierMixing()(np.ones((2, 5, 32), "float32")).shape
        (2, 5, 32)

    Source: Lee-Thorp et al. 2022, section 3.
    """

    def __init__(self, *, causal: bool = False, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        if causal:
            raise ValueError(
                "Expected an attention in a decoder, got a Fourier transform, which mixes in later tokens."
            )

    def build(self, inputs_shape: Shape) -> None:
        pass

    def compute_output_spec(
        self, inputs: Tensor, return_attention_scores: bool = False, **of_attention: typing.Any
    ) -> keras.KerasTensor:
        self._check(return_attention_scores)
        return like(inputs, dtype=self.compute_dtype)

    @staticmethod
    def _check(return_attention_scores: bool) -> None:
        if return_attention_scores:
            raise ValueError(
                "Expected return_attention_scores=False, since a Fourier transform has no scores, got True."
            )

    def call(
        self,
        inputs: Tensor,
        padding_mask: Tensor = None,
        attention_mask: Tensor = None,
        scope: Scope | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Tensor:
        self._check(return_attention_scores)
        x = ops.cast(inputs, "float32")
        real, _ = ops.fft2((x, ops.zeros_like(x)))
        return ops.cast(real, inputs.dtype)
