"""A narrow encoder block between two projections (Sun et al. 2020, MobileBERT).

    h ─┬─ norm(dense) ─► x ───────────────────┐
       ├─ norm(dense) ─► queries and keys ─┐  │
       ├─ values ──────────────────────────┴─ attention ─► norm(x + f) ─► norm(x + feed-forward) ─► … ─► dense ─┐
       └───────────────────────────────────────────────────────────────────────────────── norm(h + …) ◄────────┘

Legend: `B` batch, `T` length, `D` model width, `N` heads.
"""

import typing

import keras

from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.attention import MultiHeadAttention
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.feed_forward import FeedForward
from keras_transformers.layers.heads import Transform
from keras_transformers.layers.layer import Layer, given_as_call, outputs
from keras_transformers.layers.norms import make_norm
from keras_transformers.layers.scope import Scope
from keras_transformers.records import Size, arguments_of, record


@record
class Bottleneck:
    """The width inside of a `BottleneckBlock`, and the number of its feed-forward layers in a row."""

    dim: Size
    num_feed_forwards: Size = 4


@keras.saving.register_keras_serializable("keras_transformers")
class BottleneckBlock(Layer):
    """One layer of an encoder that is narrower inside; see the picture at the top of this file.

    Args:
        block: a `BlockConfig` whose attention has a `head_dim`; its norm placement is "post", its residual
            "sequential". `dropout` is that of the output.
        bottleneck: a `Bottleneck` record.

    Call arguments, and what it returns: as for `EncoderBlock`.

    Example:
        >>> block = BlockConfig(AttentionConfig(4, head_dim=4), FeedForwardConfig(32))
        >>> BottleneckBlock(block, Bottleneck(16))(np.ones((2, 5, 32), "float32")).shape
        (2, 5, 32)

    Source: Sun et al. 2020, section 3.1; `MobileBertLayer` of transformers 5.
    """

    cross_attention = None

    def __init__(self, block: BlockConfig, bottleneck: Bottleneck, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        attention: typing.Any = block.attention
        options = {"dtype": self.dtype_policy}
        self.bottleneck = bottleneck
        self.narrow, self.narrow_attention = (
            Transform(None, block.norm, output_dim=bottleneck.dim, name=name, **options)
            for name in ("narrow", "narrow_attention")
        )
        self.self_attention = MultiHeadAttention(**arguments_of(attention), name="self_attention", **options)
        self.self_attention_norm_after = make_norm(block.norm, name="self_attention_norm_after", **options)
        numbers = range(bottleneck.num_feed_forwards)
        feed_forward = arguments_of(block.feed_forward)
        self.feed_forwards = [FeedForward(**feed_forward, name=f"feed_forward_{n}", **options) for n in numbers]
        self.feed_forward_norms = [
            make_norm(block.norm, name=f"feed_forward_{n}_norm_after", **options) for n in numbers
        ]
        self.dropout = Dropout(block.dropout, name="dropout", **options) if block.dropout else None
        self.widen_norm = make_norm(block.norm, name="widen_norm", **options)

    def build(self, inputs_shape: Shape) -> None:
        narrow_shape = (*inputs_shape[:-1], self.bottleneck.dim)
        self.narrow.build(inputs_shape)
        self.narrow_attention.build(inputs_shape)
        self.self_attention.value_width = inputs_shape[-1]
        self.self_attention.build(narrow_shape)
        for layer in (self.self_attention_norm_after, *self.feed_forwards, *self.feed_forward_norms):
            layer.build(narrow_shape)
        self.widen = keras.layers.Dense(inputs_shape[-1], dtype=self.dtype_policy, name="widen")
        self.widen.build(narrow_shape)
        self.widen_norm.build(inputs_shape)

    @given_as_call
    def compute_output_spec(self, inputs: Tensor, return_attention_scores: bool = False) -> typing.Any:
        return self.self_attention.compute_output_spec(inputs, return_attention_scores=return_attention_scores)

    @staticmethod
    def check_source(source: Tensor) -> None:
        """Refuse a source: the block has no cross-attention."""
        if source is not None:
            raise ValueError("Expected no source: a block with a bottleneck has no cross-attention.")

    def call(
        self,
        inputs: Tensor,
        padding_mask: Tensor = None,
        attention_mask: Tensor = None,
        scope: Scope | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> typing.Any:
        if scope is None:
            scope = self.self_attention.own_scope(inputs, padding_mask, attention_mask)
        x, queries = self.narrow(inputs), self.narrow_attention(inputs)
        y, *extras = self._several(
            self.self_attention(
                queries,
                self.self_attention.project_source(queries, inputs),
                scope=scope,
                return_attention_scores=return_attention_scores,
                training=training,
            )
        )
        x = self.self_attention_norm_after(x + y)
        for feed_forward, norm in zip(self.feed_forwards, self.feed_forward_norms, strict=True):
            x = norm(x + feed_forward(x, training=training))
        x = self.widen(x)
        x = x if self.dropout is None else self.dropout(x, training=training)
        return outputs(self.widen_norm(inputs + x), *extras)

    @staticmethod
    def _several(result: typing.Any) -> tuple[Tensor, ...]:
        return result if isinstance(result, tuple) else (result,)
