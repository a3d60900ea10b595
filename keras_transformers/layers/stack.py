"""Blocks in a row. Positions and masks are computed here, once for all of them.

Legend: `B` batch, `R` rows (`B` times beams), `T` length, `S` key length, `D` model width, `N` heads.
"""

import dataclasses

import keras
from keras import ops

from keras_transformers.layers import masks
from keras_transformers.layers.attention import AttentionConfig, cross_scope, key_positions_of, positions_of, self_scope
from keras_transformers.layers.blocks import BlockConfig, DecoderBlock, EncoderBlock, fields
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.layer import Layer, like
from keras_transformers.layers.norms import make_norm
from keras_transformers.layers.positions import RelativePosition
from keras_transformers.layers.rematerialization import rematerialized
from keras_transformers.layers.state import State, visible_length
from keras_transformers.records import Rate, Size, record


@record
class StackConfig:
    """What a stack is: so many blocks, equal but for what `pattern` says, and perhaps a norm after the last.

    Attributes:
        num_layers: how many.
        block: what each is.
        final_norm: whether a norm follows the last.
        pattern: the attention of one layer after the other, begun anew at its end, where layers differ in positions,
            window or scale; `block.attention` is the first.
        num_distinct: how many blocks have weights of their own, each serving as many layers in a row; None for all.
        first_norm: False leaves out the norm before the first block's attention, where embeddings end in one.
        layer_dropout: how likely a whole layer is left out in a step of training (Fan et al. 2020).
        final_dropout: share of the stack's output dropped in training (T5).
        output_dim: width that a projection without a bias gives the output, after the last norm; None for none.
        feed_forward_pattern: as `pattern`, the feed-forward layer of one layer after the other, where they differ.
    """

    num_layers: Size
    block: BlockConfig
    final_norm: bool = False
    pattern: tuple[AttentionConfig, ...] = ()
    num_distinct: Size | None = None
    first_norm: bool = True
    layer_dropout: Rate = 0.0
    final_dropout: Rate = 0.0
    output_dim: Size | None = None
    feed_forward_pattern: tuple[FeedForwardConfig, ...] = ()

    def __post_init__(self):
        problems = []
        if self.num_distinct is not None and self.num_layers % self.num_distinct:
            problems.append(f"num_distinct to divide num_layers={self.num_layers}, got {self.num_distinct}")
        if self.pattern and self.pattern[0] != self.block.attention:
            problems.append("the pattern to begin with block.attention")
        if len({dataclasses.replace(_plain(attention), scale=None) for attention in self.pattern}) > 1:
            problems.append("the attentions of the pattern to differ in positions, window and scale alone")
        if len({attention.scale for attention in self.pattern}) > 1 and self.num_distinct is not None:
            problems.append("one scale of attention where a block serves several layers, as num_distinct says")
        if self.feed_forward_pattern and self.feed_forward_pattern[0] != self.block.feed_forward:
            problems.append("the feed_forward_pattern to begin with block.feed_forward")
        if self.feed_forward_pattern and self.num_distinct is not None:
            problems.append("no feed_forward_pattern where a block serves several layers, as num_distinct says")
        if not self.first_norm and (self.block.norm_placement in ("post", "branch") or self.num_distinct is not None):
            problems.append("first_norm=False with norms before attention, and blocks of their own weights")
        if problems:
            raise ValueError(f"Expected {'; '.join(problems)}.")

    @property
    def attentions(self):
        """The attention of each layer."""
        return self._in_turn(self.pattern or (self.block.attention,))

    @property
    def feed_forwards(self):
        """The feed-forward layer of each layer."""
        return self._in_turn(self.feed_forward_pattern or (self.block.feed_forward,))

    def _in_turn(self, pattern):
        return tuple(pattern[n % len(pattern)] for n in range(self.num_layers))


def _plain(attention):
    """An attention as its block computes it: positions and window come from the stack."""
    return dataclasses.replace(attention, positions=None, window=None)


class _Stack(Layer):
    _causal: bool
    rematerialize = False  # whether blocks are computed anew in the backward pass, see `Task.compile`

    def __init__(
        self,
        num_layers,
        block,
        *,
        final_norm=False,
        pattern=(),
        num_distinct=None,
        first_norm=True,
        layer_dropout=0.0,
        final_dropout=0.0,
        output_dim=None,
        feed_forward_pattern=(),
        cross_attention=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        config = StackConfig(
            num_layers,
            block,
            final_norm,
            pattern,
            num_distinct,
            first_norm,
            feed_forward_pattern=feed_forward_pattern,
        )
        self.attentions = config.attentions
        self.num_layers = num_layers
        self.block = block
        self.attends_across = cross_attention
        # the stack computes positions and windows for its blocks: theirs are left out
        options = {**fields(block), "dtype": self.dtype_policy}
        if self._causal:
            options["cross_attention"] = cross_attention
        block_class = DecoderBlock if self._causal else EncoderBlock
        self.blocks = [
            block_class(
                name=f"block_{n}",
                attention_norm=first_norm or n > 0,
                **{**options, "attention": _plain(self.attentions[n]), "feed_forward": config.feed_forwards[n]},
            )
            for n in range(num_distinct or num_layers)
        ]
        self.norm = make_norm(block.norm, dtype=self.dtype_policy, name="norm") if final_norm else None
        self.projection = None
        if output_dim is not None:
            options = {"use_bias": False, "dtype": self.dtype_policy, "name": "projection"}
            self.projection = keras.layers.Dense(output_dim, **options)
        self.layer_dropout = None
        if layer_dropout:
            self.layer_dropout = Dropout(layer_dropout, name="layer_dropout", dtype=self.dtype_policy)
        self.final_dropout = None
        if final_dropout:
            self.final_dropout = Dropout(final_dropout, name="final_dropout", dtype=self.dtype_policy)

    def build(self, inputs_shape, source_shape=None):
        for block in self.blocks:
            block.build(inputs_shape, source_shape) if self._causal else block.build(inputs_shape)
        for layer in (self.norm, self.projection):
            if layer is not None:
                layer.build(inputs_shape)
        # Layers of one kind have the same positions: of one attention, and of one layer where each has its own.
        kinds = [
            (dataclasses.replace(attention, scale=None), n if getattr(attention.positions, "by_layer", False) else None)
            for n, attention in enumerate(self.attentions)
        ]
        self.kinds = tuple(dict.fromkeys(kinds))
        self.kind_of_layer = tuple(map(self.kinds.index, kinds))
        self.relatives = []  # one of each kind
        for n, (attention, layer) in enumerate(self.kinds):
            head_dim = attention.head_dim or inputs_shape[-1] // attention.num_heads
            relative = RelativePosition(
                attention.positions,
                attention.num_heads,
                head_dim,
                self._causal,
                dtype=self.dtype_policy,
                name=f"positions_{n}" if n or layer is not None else "positions",
            )
            relative.build()
            self.relatives.append(relative)

    def _spec(self, inputs, source=None, *, cache=None, offset=0, **returns):
        """The output of a call, symbolic: the tensor, or the dictionary if the call asks for more."""
        x, scores, cross_scores = like(inputs, dtype=self.compute_dtype), (), ()
        for n, block in enumerate(self._blocks_in_turn() if returns["return_attention_scores"] else ()):
            attended, written = block.self_attention, None if cache is None else cache[n]
            scores += (attended.compute_output_spec(x, cache=written, offset=offset, return_attention_scores=True)[-1],)
            if source is not None:
                read = source[n] if isinstance(source, (tuple, list)) else source
                attended = block.cross_attention
                cross_scores += (attended.compute_output_spec(x, read, return_attention_scores=True)[-1],)
        output = x if self.projection is None else like(x, width=self.projection.units)
        extras = {
            "cache": None if cache is None else tuple(keras.tree.map_structure(like, state) for state in cache),
            "hidden_states": (*[x] * self.num_layers, output) if returns["return_hidden_states"] else None,
            "attention_scores": scores or None,
            "cross_attention_scores": cross_scores or None,
        }
        asked = {name: value for name, value in extras.items() if value is not None}
        return {"output": output, **asked} if asked else output

    def _blocks_in_turn(self):
        """The block of each layer; some may serve several."""
        return [self.blocks[n * len(self.blocks) // self.num_layers] for n in range(self.num_layers)]

    def _scopes(self, inputs, padding_mask, attention_mask, cache=None, offset=0, starts=None):
        """The scope of each layer's self-attention; layers of one kind share it."""
        length = ops.shape(inputs)[1]
        query_positions = key_positions = positions_of(length, offset)
        causal = self._causal
        if cache is not None:
            seen = visible_length(max(state.room or 0 for state in cache), offset, length)
            key_positions = key_positions_of(query_positions, seen, length, offset)
            padding_mask = None if padding_mask is None else padding_mask[:, :seen]
            if isinstance(seen, int) and isinstance(offset, int) and seen == offset + 1:
                causal = False  # one new token sees all that is written
        elif padding_mask is None:
            padding_mask = masks.attached(inputs)
        scopes = [
            self_scope(
                relative,
                query_positions,
                key_positions,
                rows=inputs.shape[0],
                num_heads=attention.num_heads,
                causal=causal,
                window=attention.window,
                padding_mask=padding_mask,
                attention_mask=attention_mask,
                starts=starts,
            )
            for (attention, _), relative in zip(self.kinds, self.relatives, strict=True)
        ]
        return [scopes[kind] for kind in self.kind_of_layer]

    def _layer(self, block, *inputs, scope, training, **options):
        """What a block makes of its inputs."""
        if not (training and self.rematerialize):
            return block(*inputs, scope=scope, training=training, **options)

        def call(bias, *inputs):  # a bias may be learned too
            return block(*inputs, scope=dataclasses.replace(scope, bias=bias), training=True, **options)

        return rematerialized(call, block.variables, scope.bias, *inputs, add_loss=self.add_loss)

    def _perhaps(self, y, x, training):
        """A layer's output `y`; in training perhaps what it was given, `x`, as if the layer were not there."""
        if self.layer_dropout is None or not training:
            return y
        kept = self.layer_dropout(ops.ones((1, 1, 1), y.dtype), training=True)
        return ops.where(kept > 0, y, x)

    def _finish(self, x, training, **extras):
        """The output alone, or a dictionary of it and those extras that are not None."""
        x = x if self.norm is None else self.norm(x)
        x = x if self.projection is None else self.projection(x)
        x = x if self.final_dropout is None else self.final_dropout(x, training=training)
        if extras.get("hidden_states") is not None:
            extras["hidden_states"] += (x,)
        asked = {name: value for name, value in extras.items() if value is not None}
        return {"output": x, **asked} if asked else x


@keras.saving.register_keras_serializable("keras_transformers")
class Encoder(_Stack):
    """A stack of `EncoderBlock`s.

    Args:
        num_layers, block, final_norm, pattern, num_distinct, first_norm, layer_dropout, final_dropout, output_dim,
        feed_forward_pattern: see `StackConfig`.

    Call arguments: `inputs [B, T, D]`; `padding_mask`, bool `[B, T]`, True where a token is real (by default the
    attached Keras mask); `attention_mask`, bool `[T, T]`, `[B, T, T]` or `[B, N, T, T]`; `return_hidden_states`,
    `return_attention_scores`.

    Returns: `[B, T, D]`, or `[B, T, output_dim]`; a dictionary when more was asked for, of `output`, `hidden_states`
    (the input of each block and the output, `num_layers + 1` tensors `[B, T, D]`) and `attention_scores` (one
    `[B, N, T, T]` a layer).

    Example:
        >>> block = BlockConfig(AttentionConfig(num_heads=4), FeedForwardConfig(64))
        >>> Encoder(num_layers=2, block=block)(np.ones((2, 5, 32), "float32")).shape
        (2, 5, 32)
    """

    _causal = False

    def __init__(
        self,
        num_layers,
        block,
        *,
        final_norm=False,
        pattern=(),
        num_distinct=None,
        first_norm=True,
        layer_dropout=0.0,
        final_dropout=0.0,
        output_dim=None,
        feed_forward_pattern=(),
        **kwargs,
    ):
        options = {"pattern": pattern, "num_distinct": num_distinct, "first_norm": first_norm}
        options |= {"layer_dropout": layer_dropout, "final_dropout": final_dropout, "output_dim": output_dim}
        options |= {"feed_forward_pattern": feed_forward_pattern}
        super().__init__(num_layers, block, final_norm=final_norm, **options, **kwargs)

    def build(self, inputs_shape):
        super().build(inputs_shape)

    def compute_output_spec(
        self,
        inputs,
        padding_mask=None,
        attention_mask=None,
        return_hidden_states=False,
        return_attention_scores=False,
        training=None,
    ):
        returns = {"return_hidden_states": return_hidden_states, "return_attention_scores": return_attention_scores}
        return self._spec(inputs, **returns)

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
        scopes = self._scopes(x, padding_mask, attention_mask)
        hidden_states, scores = [], []
        for block, scope in zip(self._blocks_in_turn(), scopes, strict=True):
            hidden_states.append(x)
            y = self._layer(block, x, scope=scope, return_attention_scores=return_attention_scores, training=training)
            if return_attention_scores:
                y, layer_scores = y
                scores.append(layer_scores)
            x = self._perhaps(y, x, training)
        return self._finish(
            x,
            training,
            hidden_states=tuple(hidden_states) if return_hidden_states else None,
            attention_scores=tuple(scores) if return_attention_scores else None,
        )


@keras.saving.register_keras_serializable("keras_transformers")
class Decoder(_Stack):
    """A stack of `DecoderBlock`s.

    Args:
        num_layers, block, final_norm, pattern, num_distinct, first_norm, layer_dropout, final_dropout, output_dim,
        feed_forward_pattern: see `StackConfig`.
        cross_attention: whether the blocks attend to a source.

    Call arguments: `inputs [B, T, D]`; with cross-attention `source [B, S, D]`, or what `project_source` made of it;
    `padding_mask`, `source_padding_mask`, bool, True where a token is real (by default the attached Keras masks);
    `attention_mask`; `cache` (the state of each layer, as `start_states` makes them) and `offset`, how many positions
    the states hold; `starts`, int32 `[B, 1]` or `[B, T]`, the position in the row at which the text of each token
    begins, if it is not the first; `return_hidden_states`, `return_attention_scores`.

    Returns: `[B, T, D]`, or `[B, T, output_dim]`; when a cache was given or more was asked for, a dictionary of
    `output`, `cache` (the updated state of each layer), and `hidden_states`, `attention_scores` as of `Encoder`,
    `cross_attention_scores`.

    Example:
        >>> block = BlockConfig(AttentionConfig(num_heads=4), FeedForwardConfig(64))
        >>> decoder = Decoder(num_layers=2, block=block, cross_attention=False)
        >>> decoder(np.ones((2, 5, 32), "float32")).shape
        (2, 5, 32)
    """

    _causal = True

    def __init__(
        self,
        num_layers,
        block,
        *,
        final_norm=False,
        pattern=(),
        num_distinct=None,
        first_norm=True,
        layer_dropout=0.0,
        final_dropout=0.0,
        output_dim=None,
        feed_forward_pattern=(),
        cross_attention=True,
        **kwargs,
    ):
        options = {"pattern": pattern, "num_distinct": num_distinct, "first_norm": first_norm}
        options |= {"layer_dropout": layer_dropout, "final_dropout": final_dropout, "output_dim": output_dim}
        options |= {"feed_forward_pattern": feed_forward_pattern, "cross_attention": cross_attention}
        super().__init__(num_layers, block, final_norm=final_norm, **options, **kwargs)

    def project_source(self, source):
        """Each layer's keys and values of `source [B, S, D]`: computed once, they serve any number of queries."""
        return tuple(block.cross_attention.project_source(source) for block in self._blocks_in_turn())

    def start_states(self, rows: int, length: int) -> tuple[State, ...]:
        """The state of each layer before the first token, for `rows` sequences of up to `length` tokens."""
        return tuple(block.self_attention.start_state(rows, length) for block in self._blocks_in_turn())

    def compute_output_spec(
        self,
        inputs,
        source=None,
        padding_mask=None,
        source_padding_mask=None,
        attention_mask=None,
        cache=None,
        offset=0,
        starts=None,
        return_hidden_states=False,
        return_attention_scores=False,
        training=None,
    ):
        self.blocks[0]._check_source(source)
        returns = {"return_hidden_states": return_hidden_states, "return_attention_scores": return_attention_scores}
        return self._spec(inputs, source, cache=cache, offset=offset, **returns)

    def call(
        self,
        inputs,
        source=None,
        padding_mask=None,
        source_padding_mask=None,
        attention_mask=None,
        cache=None,
        offset=0,
        starts=None,
        return_hidden_states=False,
        return_attention_scores=False,
        training=None,
    ):
        x = inputs
        scopes = self._scopes(x, padding_mask, attention_mask, cache, offset, starts)
        if source_padding_mask is None:
            source_padding_mask = masks.attached(source)
        source_scope = None
        if source is not None:
            projected = source[0] if isinstance(source, (tuple, list)) else source
            source_scope = cross_scope(x, projected, self.block.attention.num_heads, source_padding_mask)
        hidden_states, written, scores, cross_scores = [], [], [], []
        for n, block in enumerate(self._blocks_in_turn()):
            hidden_states.append(x)
            y = self._layer(
                block,
                x,
                source[n] if isinstance(source, (tuple, list)) else source,
                cache=None if cache is None else cache[n],
                offset=offset,
                scope=scopes[n],
                source_scope=source_scope,
                return_attention_scores=return_attention_scores,
                training=training,
            )
            y, *extras = y if isinstance(y, tuple) else (y,)
            x = self._perhaps(y, x, training)
            if cache is not None:
                written.append(extras.pop(0))
            if return_attention_scores:
                scores.append(extras.pop(0))
                cross_scores += extras
        return self._finish(
            x,
            training,
            cache=tuple(written) if cache is not None else None,
            hidden_states=tuple(hidden_states) if return_hidden_states else None,
            attention_scores=tuple(scores) if return_attention_scores else None,
            cross_attention_scores=tuple(cross_scores) or None,
        )
