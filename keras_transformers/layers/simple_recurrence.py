"""The simpler simple recurrent unit (SSRU), in the place of a decoder's self-attention.

    f = σ(x Wf + b)            the share of the state that each channel keeps
    c = f c + (1 − f) x W      the state, a running mean
    y = relu(c)

A step costs the same at every position, and the state of a text is one vector. Whole texts are computed at once by a
scan: `c` is a linear recurrence, and linear recurrences compose.

Legend: `B` batch, `R` rows (`B` times beams), `T` length, `D` model width.
"""

from __future__ import annotations

import typing

import keras
from keras import ops

from keras_transformers.backends import arrays, products
from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.layer import Layer, given_as_call, like, outputs
from keras_transformers.layers.scope import Scope, positions_of
from keras_transformers.layers.state import Rows
from keras_transformers.records import record

# By the dtype with half the digits of float32, or fewer: the factor that splits float32 there (Dekker 1971).
_FACTORS = {"bfloat16": 2.0**16 + 1.0, "float16": 2.0**13 + 1.0}
_KEPT = 8  # older states that are kept, so that as many guesses can be taken back


@record
class SimpleRecurrence:
    """An SSRU in the place of self-attention, for `BlockConfig.recurrence` of decoders."""


class RecentStates(typing.NamedTuple):
    """The state after each of the last tokens, `[R, 1 + 8, D]`, the newest last. In half precision the state is the sum
    of `vectors` and of `rests`, which hold the digits that `vectors` cannot; in float32 `rests` has no channels.

    A running mean that is rounded after each token would drift. Keras casts what a call takes to the compute dtype, so
    that a float32 state would be rounded.
    """

    vectors: typing.Any
    rests: typing.Any

    @property
    def room(self) -> None:
        return None

    @property
    def reach(self) -> int:
        return _KEPT

    def reorder(self, rows: Rows) -> RecentStates:
        return RecentStates(rows.take(self.vectors), rows.take(self.rests))

    def trim(self, written: typing.Any, length: int | typing.Any) -> RecentStates:
        places = ops.arange(1 + _KEPT, dtype="int32") - (written - length)
        moved = (ops.take(each, ops.maximum(places, 0), axis=1) for each in self)
        return RecentStates(*(ops.where((places >= 0)[:, None], each, ops.zeros_like(each)) for each in moved))

    def grow(self, length: int) -> RecentStates:
        return self


@keras.saving.register_keras_serializable("keras_transformers")
class SimpleRecurrentUnit(Layer):
    """The layer of a `SimpleRecurrence` record.

    Args:
        causal: True; the unit reads in one direction alone.

    Call arguments:
        inputs: `[B, T, D]`.
        padding_mask: bool `[B, T]`, True where a token is real. Padding changes no state.
        cache, offset: the `RecentStates` of earlier tokens (`start_state` makes those before the first), and the number
            of tokens read.
        scope: given by a stack, with the starts of texts that share a row.

    Returns: `[B, T, D]`, followed by the updated cache if one was given.

    Raises:
        ValueError: for `causal=False`, an attention mask, and if attention scores are asked for.

    Example:
        >>> SimpleRecurrentUnit()(np.ones((2, 5, 32), "float32")).shape
        (2, 5, 32)

    Source: Kim et al. 2019, From Research to Production and Back: Ludicrously Fast Neural Machine Translation, section
    3.1; `src/rnn/cells.h` of Marian.
    """

    def __init__(self, *, causal: bool = True, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        if not causal:
            raise ValueError("Expected an attention in an encoder, got an SSRU, which never sees later tokens.")

    def build(self, inputs_shape: Shape) -> None:
        self.width = inputs_shape[-1]
        options = {"dtype": self.dtype_policy}
        self.candidate = keras.layers.Dense(self.width, use_bias=False, name="candidate", **options)
        self.forget = keras.layers.Dense(self.width, name="forget", **options)
        for layer in (self.candidate, self.forget):
            layer.build((None, None, self.width))

    def start_state(self, rows: int, length: int) -> RecentStates:
        """The state before the first token of `rows` texts; `length` changes nothing."""
        return _parted(ops.zeros((rows, 1 + _KEPT, self.width), "float32"), self.compute_dtype)

    @given_as_call
    def compute_output_spec(
        self,
        inputs: Tensor,
        attention_mask: Tensor = None,
        cache: RecentStates | None = None,
        return_attention_scores: bool = False,
    ) -> typing.Any:
        _check(attention_mask, return_attention_scores)
        return outputs(
            like(inputs, dtype=self.compute_dtype), None if cache is None else RecentStates(*map(like, cache))
        )

    def call(
        self,
        inputs: Tensor,
        padding_mask: Tensor = None,
        attention_mask: Tensor = None,
        cache: RecentStates | None = None,
        offset: Tensor = 0,
        scope: Scope | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> typing.Any:
        _check(attention_mask, return_attention_scores)
        kept_BTD = ops.sigmoid(arrays.float32(products.dense(self.forget, inputs)))
        added_BTD = (1.0 - kept_BTD) * arrays.float32(products.dense(self.candidate, inputs))
        if padding_mask is None and scope is not None and scope.mask is not None:
            padding_mask = scope.mask[:, 0, 0]
        if padding_mask is not None:
            real_BT1 = ops.cast(padding_mask, "bool")[:, :, None]
            kept_BTD, added_BTD = ops.where(real_BT1, kept_BTD, 1.0), ops.where(real_BT1, added_BTD, 0.0)
        if scope is not None and scope.starts is not None:
            positions = positions_of(ops.shape(inputs)[1], offset)
            kept_BTD = ops.where((positions > scope.starts)[:, :, None], kept_BTD, 0.0)
            added_BTD = ops.where((positions >= scope.starts)[:, :, None], added_BTD, 0.0)
        if cache is None:
            states_BTD = arrays.linear_recurrence(kept_BTD, added_BTD)
            return ops.cast(ops.relu(states_BTD), self.compute_dtype)
        recent_RSD = arrays.float32(cache[0])
        if self.compute_dtype in _FACTORS:
            recent_RSD = recent_RSD + arrays.float32(cache[1])
        first_R1D = kept_BTD[:, :1] * recent_RSD[:, -1:] + added_BTD[:, :1]
        if inputs.shape[1] == 1:
            states_BTD = first_R1D
        else:
            added_BTD = ops.concatenate([first_R1D, added_BTD[:, 1:]], axis=1)
            states_BTD = arrays.linear_recurrence(kept_BTD, added_BTD)
        recent_RSD = ops.concatenate([recent_RSD, states_BTD], axis=1)[:, -1 - _KEPT :]
        return ops.cast(ops.relu(states_BTD), self.compute_dtype), _parted(recent_RSD, self.compute_dtype)


def _parted(states_RSD: Tensor, dtype: str) -> RecentStates:
    """The parts of float32 states, by Dekker's splitting: a compiler may leave out a cast there and back."""
    if dtype not in _FACTORS:
        return RecentStates(states_RSD, states_RSD[..., :0])
    scaled_RSD = _FACTORS[dtype] * states_RSD
    high_RSD = scaled_RSD - (scaled_RSD - states_RSD)
    return RecentStates(ops.cast(high_RSD, dtype), ops.cast(states_RSD - high_RSD, dtype))


def _check(attention_mask: Tensor, return_attention_scores: bool) -> None:
    if attention_mask is not None or return_attention_scores:
        raise ValueError(
            "Expected neither an attention_mask nor return_attention_scores for an SSRU, which attends to nothing, got "
            f"{'an attention_mask' if attention_mask is not None else 'return_attention_scores=True'}."
        )
