"""Blocks in a row. Positions and masks are computed here, once for all of them.

Legend: `B` batch, `R` rows (`B` times beams), `T` length, `S` key length, `D` model width, `N` heads.
"""

import dataclasses

import keras
from keras import ops

from keras_transformers.layers import cache as caches
from keras_transformers.layers import masks
from keras_transformers.layers.attention import cross_scope, positions_of, self_scope
from keras_transformers.layers.blocks import BlockConfig, DecoderBlock, EncoderBlock, fields
from keras_transformers.layers.layer import ShapePreserving
from keras_transformers.layers.norms import make_norm
from keras_transformers.layers.positions import RelativePosition
from keras_transformers.records import record


@record
class StackConfig:
    """What a stack is: so many equal blocks, and perhaps a norm after the last."""

    num_layers: int
    block: BlockConfig
    final_norm: bool = False

    def __post_init__(self):
        if self.num_layers < 1:
            raise ValueError(f"Expected num_layers to be at least 1, got {self.num_layers}.")


class _Stack(ShapePreserving):
    _causal: bool

    def __init__(self, num_layers, block, *, final_norm=False, cross_attention=False, **kwargs):
        super().__init__(**kwargs)
        StackConfig(num_layers, block)  # for its checks
        self.num_layers = num_layers
        self.block = block
        self.attends_across = cross_attention
        # the stack computes positions and windows for its blocks: theirs are left out
        plain = dataclasses.replace(block, attention=dataclasses.replace(block.attention, positions=None, window=None))
        options = {**fields(plain), "dtype": self.dtype_policy}
        if self._causal:
            options["cross_attention"] = cross_attention
        block_class = DecoderBlock if self._causal else EncoderBlock
        self.blocks = [block_class(name=f"block_{n}", **options) for n in range(num_layers)]
        self.norm = make_norm(block.norm, dtype=self.dtype_policy, name="norm") if final_norm else None
        self.relative = None

    def build(self, inputs_shape, source_shape=None):
        attention = self.block.attention
        for block in self.blocks:
            block.build(inputs_shape, source_shape) if self._causal else block.build(inputs_shape)
        if self.norm is not None:
            self.norm.build(inputs_shape)
        if attention.positions is not None:
            head_dim = attention.head_dim or inputs_shape[-1] // attention.num_heads
            self.relative = RelativePosition(
                attention.positions,
                attention.num_heads,
                head_dim,
                self._causal,
                dtype=self.dtype_policy,
                name="positions",
            )
            self.relative.build()

    def _scope(self, inputs, padding_mask, attention_mask, cache=None, offset=0):
        length = ops.shape(inputs)[1]
        query_positions = key_positions = positions_of(length, offset)
        causal = self._causal
        if cache is not None:
            seen = caches.visible_length(cache[0][0], offset, length)
            key_positions = positions_of(seen)
            padding_mask = None if padding_mask is None else padding_mask[:, :seen]
            if isinstance(seen, int) and isinstance(offset, int) and seen == offset + 1:
                causal = False  # one new token sees all that is written
        elif padding_mask is None:
            padding_mask = masks.attached(inputs)
        return self_scope(
            self.relative,
            query_positions,
            key_positions,
            rows=inputs.shape[0],
            num_heads=self.block.attention.num_heads,
            causal=causal,
            window=self.block.attention.window,
            padding_mask=padding_mask,
            attention_mask=attention_mask,
        )

    def _finish(self, x, **extras):
        """The output alone, or a dictionary of it and those extras that are not None."""
        x = x if self.norm is None else self.norm(x)
        if extras.get("hidden_states") is not None:
            extras["hidden_states"] += (x,)
        asked = {name: value for name, value in extras.items() if value is not None}
        return {"output": x, **asked} if asked else x


@keras.saving.register_keras_serializable("keras_transformers")
class Encoder(_Stack):
    """A stack of `EncoderBlock`s.

    Args:
        num_layers: how many.
        block: a `BlockConfig`.
        final_norm: whether a norm follows the last block.

    Call arguments: `inputs [B, T, D]`; `padding_mask`, bool `[B, T]`, True where a token is real (by default the
    attached Keras mask); `attention_mask`, bool `[T, T]`, `[B, T, T]` or `[B, N, T, T]`; `return_hidden_states`,
    `return_attention_scores`.

    Returns: `[B, T, D]`; a dictionary when more was asked for, of `output`, `hidden_states` (the input of each block
    and the output, `num_layers + 1` tensors `[B, T, D]`) and `attention_scores` (one `[B, N, T, T]` a layer).

    Example:
        >>> block = BlockConfig(AttentionConfig(num_heads=4), FeedForwardConfig(64))
        >>> Encoder(num_layers=2, block=block)(np.ones((2, 5, 32), "float32")).shape
        (2, 5, 32)
    """

    _causal = False

    def __init__(self, num_layers, block, *, final_norm=False, **kwargs):
        super().__init__(num_layers, block, final_norm=final_norm, **kwargs)

    def build(self, inputs_shape):
        super().build(inputs_shape)

    def call(
        self,
        inputs,
        padding_mask=None,
        attention_mask=None,
        return_hidden_states=False,
        return_attention_scores=False,
        training=None,
    ):
        x = inputs
        scope = self._scope(x, padding_mask, attention_mask)
        hidden_states, scores = [], []
        for block in self.blocks:
            hidden_states.append(x)
            x = block(x, scope=scope, return_attention_scores=return_attention_scores, training=training)
            if return_attention_scores:
                x, layer_scores = x
                scores.append(layer_scores)
        return self._finish(
            x,
            hidden_states=tuple(hidden_states) if return_hidden_states else None,
            attention_scores=tuple(scores) if return_attention_scores else None,
        )


@keras.saving.register_keras_serializable("keras_transformers")
class Decoder(_Stack):
    """A stack of `DecoderBlock`s.

    Args:
        num_layers, block, final_norm: as for `Encoder`.
        cross_attention: whether the blocks attend to a source.

    Call arguments: `inputs [B, T, D]`; with cross-attention `source [B, S, D]`, or what `project_source` made of it;
    `padding_mask`, `source_padding_mask`, bool, True where a token is real (by default the attached Keras masks);
    `attention_mask`; `cache` (one pair of buffers a layer) and `offset` as for `MultiHeadAttention`;
    `return_hidden_states`, `return_attention_scores`.

    Returns: `[B, T, D]`; when a cache was given or more was asked for, a dictionary of `output`, `cache` (the updated
    buffers of each layer), and `hidden_states`, `attention_scores` as of `Encoder`, `cross_attention_scores`.

    Example:
        >>> block = BlockConfig(AttentionConfig(num_heads=4), FeedForwardConfig(64))
        >>> decoder = Decoder(num_layers=2, block=block, cross_attention=False)
        >>> decoder(np.ones((2, 5, 32), "float32")).shape
        (2, 5, 32)
    """

    _causal = True

    def __init__(self, num_layers, block, *, final_norm=False, cross_attention=True, **kwargs):
        super().__init__(num_layers, block, final_norm=final_norm, cross_attention=cross_attention, **kwargs)

    def project_source(self, source):
        """Each layer's keys and values of `source [B, S, D]`: computed once, they serve any number of queries."""
        return tuple(block.cross_attention.project_source(source) for block in self.blocks)

    def make_cache(self, rows, length):
        """Empty key/value buffers for `rows` sequences of up to `length` tokens, one pair a layer."""
        attention = self.blocks[0].self_attention
        return caches.empty(
            self.num_layers, rows, attention.num_key_value_heads, length, attention.head_dim, self.compute_dtype
        )

    def call(
        self,
        inputs,
        source=None,
        padding_mask=None,
        source_padding_mask=None,
        attention_mask=None,
        cache=None,
        offset=0,
        return_hidden_states=False,
        return_attention_scores=False,
        training=None,
    ):
        x = inputs
        scope = self._scope(x, padding_mask, attention_mask, cache, offset)
        if source_padding_mask is None:
            source_padding_mask = masks.attached(source)
        source_scope = None
        if source is not None:
            projected = source[0] if isinstance(source, (tuple, list)) else source
            source_scope = cross_scope(x, projected, self.block.attention.num_heads, source_padding_mask)
        hidden_states, written, scores, cross_scores = [], [], [], []
        for n, block in enumerate(self.blocks):
            hidden_states.append(x)
            x = block(
                x,
                source[n] if isinstance(source, (tuple, list)) else source,
                cache=None if cache is None else cache[n],
                offset=offset,
                scope=scope,
                source_scope=source_scope,
                return_attention_scores=return_attention_scores,
                training=training,
            )
            x, *extras = x if isinstance(x, tuple) else (x,)
            if cache is not None:
                written.append(extras.pop(0))
            if return_attention_scores:
                scores.append(extras.pop(0))
                cross_scores += extras
        return self._finish(
            x,
            cache=tuple(written) if cache is not None else None,
            hidden_states=tuple(hidden_states) if return_hidden_states else None,
            attention_scores=tuple(scores) if return_attention_scores else None,
            cross_attention_scores=tuple(cross_scores) or None,
        )
