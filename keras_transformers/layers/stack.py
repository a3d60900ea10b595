"""Stacks of blocks. A stack computes positions and masks once for all of its blocks.

Legend: `B` batch, `R` rows (`B` times beams), `T` length, `S` key length, `D` model width, `N` heads.
"""

import dataclasses
import types
import typing

import keras
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.blocks import BlockConfig, DecoderBlock, EncoderBlock
from keras_transformers.layers.bottleneck import Bottleneck, BottleneckBlock
from keras_transformers.layers.convolution import Convolution, ConvolutionConfig
from keras_transformers.layers.disentangled import Disentangled
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.fourier import Fourier
from keras_transformers.layers.layer import Layer, given_as_call, like
from keras_transformers.layers.norms import make_norm
from keras_transformers.layers.positions import relative_layer
from keras_transformers.layers.relative_sinusoids import RelativeSinusoids
from keras_transformers.layers.rematerialization import rematerialized
from keras_transformers.layers.scope import Places, Scope, cross_scope, recurrent_scope, self_scope
from keras_transformers.layers.state import State
from keras_transformers.records import Count, Rate, Size, arguments_of, record

Shape: typing.TypeAlias = typing.Any
Mixer: typing.TypeAlias = AttentionConfig | Fourier


@record
class StackConfig:
    """Configuration of a stack: equal blocks, except where a pattern says otherwise, and an optional final norm.

    Attributes:
        num_layers: the number of layers. An encoder may have 0, in a model of embeddings alone.
        block: the configuration of each block.
        final_norm: whether a norm follows the last block.
        pattern: the attentions of consecutive layers, repeated, if layers differ in positions, window or scale;
            `block.attention` is the first.
        num_distinct: the number of blocks with weights of their own; each serves equally many layers in a row. None for
            all.
        first_norm: False omits the norm before the attention of the first block, if the embeddings end in a norm.
        layer_dropout: the probability that a whole layer is skipped in a training step (Fan et al. 2020).
        final_dropout: share of the output of the stack dropped in training (T5).
        output_dim: width of an output projection without bias after the last norm; None for no projection.
        feed_forward_pattern: the feed-forward layers of consecutive layers, repeated, if they differ.
        bidirectional: whether the tokens of a decoder alone see later tokens too, as in embedders that were made of
            language models (EmbeddingGemma). An encoder's always do.
        convolution: a convolution of the inputs, added to the output of the first layer; None for none (encoders only).
        bottleneck: the width inside of each block, if that is not the model width; None for the model width (encoders
            only).
    """

    num_layers: Count
    block: BlockConfig
    final_norm: bool = False
    pattern: tuple[AttentionConfig, ...] = ()
    num_distinct: Size | None = None
    first_norm: bool = True
    layer_dropout: Rate = 0.0
    final_dropout: Rate = 0.0
    output_dim: Size | None = None
    feed_forward_pattern: tuple[FeedForwardConfig, ...] = ()
    bidirectional: bool = False
    convolution: ConvolutionConfig | None = None
    bottleneck: Bottleneck | None = None

    def __post_init__(self) -> None:
        shared = self.num_distinct is not None
        plain = {_plain(attention) for attention in self.pattern}
        scales = {attention.scale for attention in self.pattern}
        expected = {
            f"num_distinct to divide num_layers={self.num_layers}, got {self.num_distinct}": (
                self.num_distinct is None or self.num_layers % self.num_distinct == 0 < self.num_layers
            ),
            "a first layer, to whose output a convolution is added": self.num_layers > 0 or self.convolution is None,
            "the pattern to begin with block.attention": self.pattern[:1] in ((), (self.block.attention,)),
            "the attentions of the pattern to differ in positions, window and scale alone": len(plain) <= 1,
            "one scale of attention where a block serves several layers, as num_distinct says": (
                not shared or len(scales) <= 1
            ),
            "the feed_forward_pattern to begin with block.feed_forward": (
                self.feed_forward_pattern[:1] in ((), (self.block.feed_forward,))
            ),
            "no feed_forward_pattern where a block serves several layers, as num_distinct says": (
                not shared or not self.feed_forward_pattern
            ),
            "neither a pattern nor bidirectional=True in a stack with a recurrence": self.block.recurrence is None
            or not (self.pattern or self.bidirectional),
            "no positions with global tokens, whose queries know none": not any(
                attention.global_tokens and attention.positions is not None for attention in self.attentions
            ),
            "a table with Disentangled positions": all(
                getattr(each.positions, "table", ...) is not None for each in self.attentions
            ),
            "norms after each branch, one after the other, and an attention with a head_dim and without global tokens, "
            "in blocks with a bottleneck": self.bottleneck is None or self._may_be_narrow(),
            "first_norm=False with norms before attention, and blocks of their own weights": (
                self.first_norm or (not shared and self.block.norm_placement in ("pre", "around"))
            ),
        }
        problems = [what for what, holds in expected.items() if not holds]
        if problems:
            raise ValueError(f"Expected {'; '.join(problems)}.")

    def _may_be_narrow(self) -> bool:
        attention = self.block.attention
        after = (self.block.norm_placement, self.block.residual) == ("post", "sequential")
        return after and attention.head_dim is not None and not attention.global_tokens

    @property
    def attentions(self) -> tuple[Mixer, ...]:
        """The attention of each layer."""
        return self._in_turn(self.pattern or (self.block.attention,))

    @property
    def feed_forwards(self) -> tuple[FeedForwardConfig, ...]:
        """The feed-forward layer of each layer."""
        return self._in_turn(self.feed_forward_pattern or (self.block.feed_forward,))

    def _in_turn(self, pattern: tuple) -> tuple:
        return tuple(pattern[n % len(pattern)] for n in range(self.num_layers))


def _without_positions(attention: Mixer) -> Mixer:
    """An attention without positions and window, for a block: the stack computes these. The projections of
    `Disentangled` positions stay, for the vectors that the stack computes, and so do `RelativeSinusoids`."""
    if isinstance(attention, Fourier):
        return attention
    positions = attention.positions
    if isinstance(positions, Disentangled):
        return dataclasses.replace(attention, positions=dataclasses.replace(positions, table=None), window=None)
    kept = positions if isinstance(positions, RelativeSinusoids) else None
    return dataclasses.replace(attention, positions=kept, window=None)


def _without_scale(attention: Mixer) -> Mixer:
    return attention if isinstance(attention, Fourier) else dataclasses.replace(attention, scale=None)


def _plain(attention: Mixer) -> Mixer:
    """The part of an attention that all layers of a stack share."""
    return _without_scale(_without_positions(attention))


class _Stack(Layer):
    """The base of both stacks: blocks in a row, their shared scope, and the layers after the last block."""

    _causal: bool
    _block_class: type
    _block_options: typing.Any = types.MappingProxyType({})
    rematerialize = False  # gradient checkpointing of blocks, see `Task.compile`

    def __init__(
        self,
        num_layers: int,
        block: BlockConfig,
        *,
        final_norm: bool = False,
        pattern: tuple[AttentionConfig, ...] = (),
        num_distinct: int | None = None,
        first_norm: bool = True,
        layer_dropout: float = 0.0,
        final_dropout: float = 0.0,
        output_dim: int | None = None,
        feed_forward_pattern: tuple[FeedForwardConfig, ...] = (),
        bidirectional: bool = False,
        convolution: ConvolutionConfig | None = None,
        bottleneck: Bottleneck | None = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bidirectional = bidirectional
        self._causal = self._causal and not bidirectional
        config = StackConfig(
            num_layers,
            block,
            final_norm,
            pattern,
            num_distinct,
            first_norm,
            feed_forward_pattern=feed_forward_pattern,
            bidirectional=bidirectional,
            convolution=convolution,
            bottleneck=bottleneck,
        )
        if convolution is not None and type(self)._causal:
            raise ValueError(f"Expected no convolution in a decoder, which would read later tokens, got {convolution}.")
        if bottleneck is not None and type(self)._causal:
            raise ValueError(f"Expected no bottleneck in a decoder, got {bottleneck}.")
        self.attentions = config.attentions
        self._num_own_scores = 0 if block.recurrence is not None else 1  # of a block that is asked for its scores
        self.num_layers = num_layers
        self.block = block
        self.blocks = [self._make_block(n, config) for n in range(num_distinct or num_layers)]

        def dropout(rate: float, name: str) -> keras.layers.Layer | None:
            return Dropout(rate, name=name, dtype=self.dtype_policy) if rate else None

        self.norm = make_norm(block.norm, dtype=self.dtype_policy, name="norm") if final_norm else None
        self.projection = None
        if output_dim is not None:
            self.projection = keras.layers.Dense(output_dim, use_bias=False, dtype=self.dtype_policy, name="projection")
        self.convolution = None
        if convolution is not None:
            self.convolution = Convolution(convolution, block.norm, dtype=self.dtype_policy, name="convolution")
        self.layer_dropout = dropout(layer_dropout, "layer_dropout")
        self.final_dropout = dropout(final_dropout, "final_dropout")

    def _make_block(self, n: int, config: StackConfig) -> Layer:
        """The block of layer `n`, without the positions that the stack computes."""
        attention, feed_forward = _without_positions(config.attentions[n]), config.feed_forwards[n]
        block = dataclasses.replace(config.block, attention=attention, feed_forward=feed_forward)
        options = {"name": f"block_{n}", "dtype": self.dtype_policy}
        if config.bottleneck is not None:
            return BottleneckBlock(block, config.bottleneck, **options)
        options |= {**self._block_options, "attention_norm": config.first_norm or n > 0}
        made: Layer = self._block_class(**arguments_of(block), **options)
        return made

    def _build_blocks(self, inputs_shape: Shape, *source_shape: Shape) -> None:
        for block in self.blocks:
            block.build(inputs_shape, *source_shape)
        for layer in (self.norm, self.projection, self.convolution):
            if layer is not None:
                layer.build(inputs_shape)
        # Layers of one kind share positions: their attentions are equal. With positions by layer, each is a kind.
        kinds = [
            (_without_scale(attention), n if getattr(attention.positions, "by_layer", False) else None)
            for n, attention in enumerate(self.attentions)
        ]
        self.kinds = tuple(dict.fromkeys(kinds))
        self.kind_of_layer = tuple(map(self.kinds.index, kinds))
        width = inputs_shape[-1]
        self.relatives = [  # one for each kind
            relative_layer(
                attention.positions,
                num_heads=attention.num_heads,
                head_dim=attention.head_dim or width // attention.num_heads,
                hidden_dim=width,
                causal=self._causal,
                dtype=self.dtype_policy,
                name=f"positions_{n}" if n or layer is not None else "positions",
            )
            for n, (attention, layer) in enumerate(self.kinds)
        ]

    @given_as_call
    def compute_output_spec(
        self,
        inputs: Tensor,
        source: Tensor = None,
        cache: tuple[State, ...] | None = None,
        offset: Tensor = 0,
        return_hidden_states: bool = False,
        return_attention_scores: bool = False,
    ) -> typing.Any:
        for block in self.blocks[:1]:
            block.check_source(source)
        x = like(inputs, dtype=self.compute_dtype)
        scores: list[keras.KerasTensor] = []
        cross_scores: list[keras.KerasTensor] = []
        for n, block in enumerate(self.blocks_in_turn() if return_attention_scores else ()):
            of_state = {} if cache is None else {"cache": cache[n], "offset": offset}
            across = () if source is None else (_of_layer(source, n),)
            _, *extras = block.compute_output_spec(x, *across, **of_state, return_attention_scores=True)
            of_layer = extras[cache is not None :]
            scores += of_layer[: self._num_own_scores]
            cross_scores += of_layer[self._num_own_scores :]
        return _results(
            x if self.projection is None else like(x, width=self.projection.units),
            cache=None if cache is None else tuple(keras.tree.map_structure(like, state) for state in cache),
            hidden_states=[x] * self.num_layers if return_hidden_states else None,
            attention_scores=scores or None,
            cross_attention_scores=cross_scores or None,
        )

    def blocks_in_turn(self) -> list[typing.Any]:
        """The block of each layer; a block may serve several layers."""
        return [self.blocks[n * len(self.blocks) // self.num_layers] for n in range(self.num_layers)]

    def _scopes(self, places: Places, attention_mask: Tensor, starts: Tensor = None) -> list[Scope]:
        """The scope of each layer's self-attention; layers of one kind share it."""
        scopes = [
            self_scope(
                relative,
                places,
                num_heads=attention.num_heads,
                causal=self._causal,
                window=attention.window,
                global_tokens=attention.global_tokens,
                blocks=attention.blocks,
                attention_mask=attention_mask,
                starts=starts,
            )
            for (attention, _), relative in zip(self.kinds, self.relatives, strict=True)
        ]
        return [scopes[kind] for kind in self.kind_of_layer]

    def _through_blocks(
        self,
        x: Tensor,
        scopes: list[Scope],
        source: Tensor = None,
        cache: tuple[State, ...] | None = None,
        *,
        return_hidden_states: bool,
        return_attention_scores: bool,
        training: bool | None,
        padding_mask: Tensor = None,
        **of_decoder: typing.Any,
    ) -> typing.Any:
        """Compute each block in turn, then the layers after the last. `padding_mask [B, T]` is for the convolution.

        Returns: `[B, T, D]`; or a dictionary with it as `output` and with the extra outputs that the call asked for.
        """
        hidden_states: list[Tensor] = []
        states: list[State] = []
        scores: list[Tensor] = []
        cross_scores: list[Tensor] = []
        for n, (block, scope) in enumerate(zip(self.blocks_in_turn(), scopes, strict=True)):
            hidden_states.append(x)
            across = () if source is None else (_of_layer(source, n),)
            options = {**of_decoder, "return_attention_scores": return_attention_scores}
            if cache is not None:
                options["cache"] = cache[n]
            y = self._layer(block, x, *across, scope=scope, training=training, **options)
            y, *extras = y if isinstance(y, tuple) else (y,)
            x = self._perhaps_left_out(y, x, training)
            if n == 0 and self.convolution is not None:
                x = self.convolution(hidden_states[0], x, padding_mask=padding_mask, training=training)
            states += extras[: cache is not None]
            scores += extras[cache is not None :][: self._num_own_scores]
            cross_scores += extras[cache is not None :][self._num_own_scores :]
        x = x if self.norm is None else self.norm(x)
        x = x if self.projection is None else self.projection(x)
        x = x if self.final_dropout is None else self.final_dropout(x, training=training)
        return _results(
            x,
            cache=None if cache is None else tuple(states),
            hidden_states=hidden_states if return_hidden_states else None,
            attention_scores=scores or None,
            cross_attention_scores=cross_scores or None,
        )

    def _layer(
        self, block: Layer, *inputs: Tensor, scope: Scope, training: bool | None, **options: typing.Any
    ) -> typing.Any:
        """The outputs of a block, computed again in the backward pass if `rematerialize` is True."""
        if not (training and self.rematerialize):
            return block(*inputs, scope=scope, training=training, **options)

        def call(
            trained: tuple[Tensor, Tensor], *inputs: Tensor
        ) -> typing.Any:  # the parts of the scope that may have gradients
            bias, distances = trained
            of_layer = dataclasses.replace(scope, bias=bias, distances=distances)
            return block(*inputs, scope=of_layer, training=True, **options)

        return rematerialized(call, block.variables, (scope.bias, scope.distances), *inputs, add_loss=self.add_loss)

    def _perhaps_left_out(self, y: Tensor, x: Tensor, training: bool | None) -> Tensor:
        """The output `y` of a layer. In training, at random its input `x`, as if the layer were skipped."""
        if self.layer_dropout is None or not training:
            return y
        kept = self.layer_dropout(ops.ones((1, 1, 1), y.dtype), training=True)
        return ops.where(kept > 0, y, x)


def _of_layer(source: Tensor, n: int) -> Tensor:
    """The source of layer `n`: the encoder's output, or its projection for that layer."""
    return source[n] if isinstance(source, (tuple, list)) else source


def _results(
    output: Tensor, *, hidden_states: list[Tensor] | None, **extras: typing.Sequence[typing.Any] | None
) -> typing.Any:
    """The output alone, or a dictionary of it and the extra outputs that are not None, as tuples."""
    extras["hidden_states"] = None if hidden_states is None else [*hidden_states, output]
    asked = {name: tuple(each) for name, each in extras.items() if each is not None}
    return {"output": output, **asked} if asked else output


@keras.saving.register_keras_serializable("keras_transformers")
class Encoder(_Stack):
    """A stack of `EncoderBlock`s.

    Args:
        num_layers, block, final_norm, pattern, num_distinct, first_norm, layer_dropout, final_dropout, output_dim,
        feed_forward_pattern, bidirectional, convolution, bottleneck: see `StackConfig`.

    Call arguments:
        inputs: `[B, T, D]`.
        padding_mask: bool `[B, T]`, True where a token is real; by default the attached Keras mask.
        attention_mask: bool `[T, T]`, `[B, T, T]` or `[B, N, T, T]`, True where a query may see a key.
        segment_ids: int32 `[B, T]`, for `RelativeSinusoids`.
        return_hidden_states, return_attention_scores: extra outputs.

    Returns: `[B, T, D]`, or `[B, T, output_dim]`. If extra outputs were asked for, a dictionary of `output`,
    `hidden_states` (the input of each block and the output, `num_layers + 1` tensors `[B, T, D]`) and
    `attention_scores` (`[B, N, T, T]` for each layer).

    Example:
        >>> block = BlockConfig(AttentionConfig(num_heads=4), FeedForwardConfig(64))
        >>> Encoder(num_layers=2, block=block)(np.ones((2, 5, 32), "float32")).shape
        (2, 5, 32)
    """

    _causal = False
    _block_class = EncoderBlock

    def build(self, inputs_shape: Shape) -> None:
        self._build_blocks(inputs_shape)

    def call(
        self,
        inputs: Tensor,
        padding_mask: Tensor = None,
        attention_mask: Tensor = None,
        segment_ids: Tensor = None,
        return_hidden_states: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> typing.Any:
        places = Places.of(inputs, padding_mask)
        scopes = self._scopes(places, attention_mask)
        if segment_ids is not None:
            same = ops.equal(segment_ids[:, :, None], segment_ids[:, None, :])
            scopes = [dataclasses.replace(scope, same_segment=same) for scope in scopes]
        return self._through_blocks(
            inputs,
            scopes,
            padding_mask=places.padding_mask,
            return_hidden_states=return_hidden_states,
            return_attention_scores=return_attention_scores,
            training=training,
        )


@keras.saving.register_keras_serializable("keras_transformers")
class Decoder(_Stack):
    """A stack of `DecoderBlock`s.

    Args:
        num_layers, block, final_norm, pattern, num_distinct, first_norm, layer_dropout, final_dropout, output_dim,
        feed_forward_pattern, bidirectional: see `StackConfig`.
        cross_attention: whether the blocks attend to a source.

    Call arguments:
        inputs: `[B, T, D]`.
        source: with cross-attention `[B, S, D]`, or its projections by `project_source`.
        padding_mask, source_padding_mask: bool, True where a token is real; by default the attached Keras masks.
        attention_mask: as for `Encoder`.
        cache, offset: the state of each layer, as from `start_states`, and the number of positions in the states.
        starts: int32 `[B, 1]` or `[B, T]`, the position in the row at which the text of each token begins; by default
            the first.
        return_hidden_states, return_attention_scores: extra outputs.

    Returns: `[B, T, D]`, or `[B, T, output_dim]`. If a cache was given or extra outputs were asked for, a dictionary of
    `output`, `cache` (the updated state of each layer), `hidden_states` and `attention_scores` as for `Encoder`, and
    `cross_attention_scores`.

    Example:
        >>> block = BlockConfig(AttentionConfig(num_heads=4), FeedForwardConfig(64))
        >>> decoder = Decoder(num_layers=2, block=block, cross_attention=False)
        >>> decoder(np.ones((2, 5, 32), "float32")).shape
        (2, 5, 32)
    """

    _causal = True
    _block_class = DecoderBlock

    def __init__(self, *args: typing.Any, cross_attention: bool = True, **kwargs: typing.Any) -> None:
        self._block_options = {"cross_attention": cross_attention}  # for making the blocks
        super().__init__(*args, **kwargs)
        if not self.num_layers:
            raise ValueError("Expected num_layers of at least 1 in a decoder, got 0.")

    def build(self, inputs_shape: Shape, source_shape: Shape = None) -> None:
        self._build_blocks(inputs_shape, source_shape)

    def project_source(self, source: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """The keys and values of `source [B, S, D]` for each layer, computed once for any number of queries."""
        return tuple(block.cross_attention.project_source(source) for block in self.blocks_in_turn())

    def start_states(self, rows: int, length: int) -> tuple[State, ...]:
        """The state of each layer before the first token, for `rows` sequences of up to `length` tokens."""
        return tuple(block.self_attention.start_state(rows, length) for block in self.blocks_in_turn())

    def call(
        self,
        inputs: Tensor,
        source: Tensor = None,
        padding_mask: Tensor = None,
        source_padding_mask: Tensor = None,
        attention_mask: Tensor = None,
        cache: tuple[State, ...] | None = None,
        offset: Tensor = 0,
        starts: Tensor = None,
        return_hidden_states: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> typing.Any:
        if not self._causal and (cache is not None or (starts is not None and starts.shape[1] != 1)):
            raise ValueError(
                "Expected one text in each row of a bidirectional decoder, and no cache, got "
                f"{'several starts in a row' if cache is None else 'a cache'}: its tokens see later ones. Give each "
                "text a row, and read it whole."
            )
        room = None if cache is None else max(state.room or 0 for state in cache)
        source_scope = None
        if source is not None:
            source_scope = cross_scope(
                inputs, _of_layer(source, 0), self.block.attention.num_heads, source_padding_mask
            )
        if self.block.recurrence is None:
            scopes = self._scopes(Places.of(inputs, padding_mask, room, offset), attention_mask, starts)
        else:
            scopes = [recurrent_scope(inputs, padding_mask, attention_mask, starts)] * self.num_layers
        return self._through_blocks(
            inputs,
            scopes,
            source,
            cache,
            offset=offset,
            source_scope=source_scope,
            return_hidden_states=return_hidden_states,
            return_attention_scores=return_attention_scores,
            training=training,
        )
