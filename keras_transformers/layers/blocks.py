"""Encoder and decoder blocks: attention and feed-forward layers, each on a residual branch.

    norm_placement   "post"    Vaswani et al. 2017; BERT, BART, Marian
                     "pre"     GPT-2, Llama, mBART
                     "around"  Gemma 2
                     "branch"  OLMo 2                                     (`NORM_PLACEMENTS` has the formulas)

    residual   "sequential"        x ─┬─ norm ─ attention ─ + ─┬─ norm ─ feed-forward ─ + ─►      GPT-2, Llama
                                      └────────────────────┘   └───────────────────────┘

               "parallel"          x ─┬─ norm ─ attention ───── + ─►                              GPT-NeoX
                                      ├─ norm ─ feed-forward ───┤
                                      └─────────────────────────┘

               "parallel_shared"   x ─┬─ norm ─┬─ attention ─── + ─►                              GPT-J, Phi, Falcon
                                      │        └─ feed-forward ─┤
                                      └─────────────────────────┘

    encoder block    x ─► self-attention ─────────────────────► feed-forward ─►
    decoder block    x ─► causal self-attention ─► cross-attention ─► feed-forward ─►
                          (or an SSRU)

Legend: `B` batch, `T` length, `S` source length, `D` model width, `N` heads.
"""

import dataclasses
import typing

import keras

from keras_transformers.backends.types import Tensor
from keras_transformers.layers.attention import AttentionConfig, MultiHeadAttention
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.feed_forward import FeedForward, FeedForwardConfig
from keras_transformers.layers.fourier import Fourier, FourierMixing
from keras_transformers.layers.layer import Layer, given_as_call, outputs
from keras_transformers.layers.norms import LayerNorm, Norm, make_norm
from keras_transformers.layers.scope import Scope
from keras_transformers.layers.simple_recurrence import SimpleRecurrence, SimpleRecurrentUnit
from keras_transformers.layers.state import State
from keras_transformers.records import Rate, arguments_of, record
from keras_transformers.spelling import did_you_mean

Shape: typing.TypeAlias = typing.Any

NORM_PLACEMENTS = {
    "post": "x = norm(x + f(x))",
    "pre": "x = x + f(norm(x))",
    "around": "x = x + norm(f(norm(x)))",
    "branch": "x = x + norm(f(x))",
}
RESIDUALS = ("sequential", "parallel", "parallel_shared")


@record
class BlockConfig:
    """Configuration of a block; the fields are keyword arguments of `EncoderBlock` and `DecoderBlock`."""

    attention: AttentionConfig | Fourier
    feed_forward: FeedForwardConfig
    norm: Norm = LayerNorm()
    norm_placement: str = "post"
    dropout: Rate = 0.0
    residual: str = "sequential"
    recurrence: SimpleRecurrence | None = None

    def __post_init__(self) -> None:
        if self.recurrence is not None and _is_positioned(self.attention):
            raise ValueError(
                "Expected an AttentionConfig without positions, window, global tokens, blocks and convolution with "
                f"{self.recurrence}, which takes the place of self-attention: it describes the cross-attention alone, "
                f"got {self.attention}."
            )
        if self.norm_placement not in NORM_PLACEMENTS:
            raise ValueError(
                f"Expected norm_placement to be one of {', '.join(NORM_PLACEMENTS)}, got {self.norm_placement!r}"
                f"{did_you_mean(self.norm_placement, NORM_PLACEMENTS)}."
            )
        if self.residual not in RESIDUALS:
            hint = did_you_mean(self.residual, RESIDUALS)
            raise ValueError(f"Expected residual to be one of {', '.join(RESIDUALS)}, got {self.residual!r}{hint}.")
        if self.residual != "sequential" and self.norm_placement != "pre":
            raise ValueError(
                f'Expected norm_placement="pre" with residual={self.residual!r}, got {self.norm_placement!r}: branches '
                "that read the same input have no norm after them."
            )


def _is_positioned(attention: AttentionConfig | Fourier) -> bool:
    """Whether an attention has options that only self-attention can have."""
    if isinstance(attention, Fourier):
        return True
    own = (attention.positions, attention.window, attention.blocks, attention.convolution, attention.global_tokens)
    return any(own)


class _Block(Layer):
    """The base of both blocks: branches in order, each added to the residual that it reads.

    A branch has three attributes: the layer, such as `feed_forward`, and the norms `feed_forward_norm_before` and
    `feed_forward_norm_after`, each None if the norm placement has no norm there.
    """

    _causal: bool

    def __init__(
        self,
        num_heads: int | None = None,
        intermediate_dim: int | None = None,
        *,
        attention: AttentionConfig | Fourier | None = None,
        feed_forward: FeedForwardConfig | None = None,
        norm: Norm = LayerNorm(),
        norm_placement: str = "post",
        dropout: float = 0.0,
        residual: str = "sequential",
        recurrence: SimpleRecurrence | None = None,
        attention_norm: bool = True,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(**kwargs)
        if (num_heads is None) == (attention is None) or (intermediate_dim is None) == (feed_forward is None):
            raise ValueError(
                "Expected num_heads or attention, and intermediate_dim or feed_forward, one of each, got "
                f"{num_heads=}, {attention=}, {intermediate_dim=}, {feed_forward=}."
            )
        branches: dict[str, typing.Any] = {"attention": attention, "feed_forward": feed_forward}
        if num_heads is not None:
            branches["attention"] = AttentionConfig(num_heads)
        if intermediate_dim is not None:
            branches["feed_forward"] = FeedForwardConfig(intermediate_dim)
        config = BlockConfig(
            **branches,
            norm=norm,
            norm_placement=norm_placement,
            dropout=dropout,
            residual=residual,
            recurrence=recurrence,
        )
        self.attention = config.attention
        self.norm = norm
        self.norm_placement = norm_placement
        self.residual = residual
        self.dropout = Dropout(dropout, name="dropout", dtype=self.dtype_policy) if dropout else None
        self.cross_attention: typing.Any = None
        self.recurrence = recurrence
        mixer: type = FourierMixing if isinstance(self.attention, Fourier) else MultiHeadAttention
        mixer, of_mixer = (mixer, self.attention) if recurrence is None else (SimpleRecurrentUnit, recurrence)
        self._add("self_attention", mixer, of_mixer, norm_before=attention_norm, causal=self._causal)
        self._add("feed_forward", FeedForward, config.feed_forward, norm_before=residual != "parallel_shared")

    def _add(
        self, branch: str, layer_class: type, config: typing.Any, norm_before: bool = True, **options: typing.Any
    ) -> None:
        """Make the layer of a branch, and its norms before and after if this block has them."""
        setattr(self, branch, layer_class(**arguments_of(config), **options, name=branch, dtype=self.dtype_policy))
        for place, placements in (("before", ("pre", "around")), ("after", ("post", "around", "branch"))):
            norm = f"{branch}_norm_{place}"
            here = self.norm_placement in placements and (norm_before or place == "after")
            setattr(self, norm, make_norm(self.norm, name=norm, dtype=self.dtype_policy) if here else None)

    def _transform(
        self,
        inputs: Tensor,
        source: Tensor = None,
        *,
        to_itself: dict[str, typing.Any],
        to_source: dict[str, typing.Any] | None = None,
        training: bool | None = None,
    ) -> typing.Any:
        """Compute the block: self-attention, cross-attention if there is a source, feed-forward.

        `to_itself` and `to_source` are call options of the two attentions. Returns `[B, T, D]`, then the extra outputs
        that the attentions were asked for.
        """
        self.check_source(source)
        attention_input = self._normalized("self_attention_norm_before", inputs)
        x, *extras = self._joined(inputs, "self_attention", attention_input, training=training, **to_itself)

        if source is not None:
            query = self._normalized("cross_attention_norm_before", x)
            x, *scores = self._joined(x, "cross_attention", query, source, training=training, **(to_source or {}))
            extras += scores

        if self.residual == "sequential":
            feed_forward_input = self._normalized("feed_forward_norm_before", x)
        elif self.residual == "parallel":
            feed_forward_input = self._normalized("feed_forward_norm_before", inputs)
        else:
            feed_forward_input = attention_input
        x, *_ = self._joined(x, "feed_forward", feed_forward_input, training=training)
        return outputs(x, *extras)

    def _normalized(self, norm: str, x: Tensor) -> Tensor:
        """Apply the norm in the attribute named `norm` to `x`; return `x` itself if the block has no norm there."""
        layer = getattr(self, norm)
        return x if layer is None else layer(x)

    def _joined(
        self, x: Tensor, branch: str, *inputs: Tensor, training: bool | None, **options: typing.Any
    ) -> tuple[Tensor, ...]:
        """Add the output of a branch to the residual `x`, normalised by the norm placement. Returns the sum, then the
        extra outputs of the branch."""
        y = getattr(self, branch)(*inputs, training=training, **options)
        y, *extras = y if isinstance(y, tuple) else (y,)
        if self.dropout is not None:
            y = self.dropout(y, training=training)
        norm_after = f"{branch}_norm_after"
        if self.norm_placement == "post":
            return self._normalized(norm_after, x + y), *extras
        return x + self._normalized(norm_after, y), *extras

    def _build_branch(self, branch: str, inputs_shape: Shape, *source_shape: Shape) -> None:
        for norm in (getattr(self, f"{branch}_norm_before"), getattr(self, f"{branch}_norm_after")):
            if norm is not None:
                norm.build(inputs_shape)
        getattr(self, branch).build(inputs_shape, *source_shape)

    def build(self, inputs_shape: Shape) -> None:
        self._build_branch("self_attention", inputs_shape)
        self._build_branch("feed_forward", inputs_shape)

    @given_as_call
    def compute_output_spec(
        self,
        inputs: Tensor,
        source: Tensor = None,
        cache: State | None = None,
        offset: Tensor = 0,
        return_attention_scores: bool = False,
    ) -> typing.Any:
        self.check_source(source)
        options = {"return_attention_scores": return_attention_scores}
        own = options if self.recurrence is None else {}
        spec = self.self_attention.compute_output_spec(inputs, cache=cache, offset=offset, **own)
        if source is None or not return_attention_scores:
            return spec
        across = self.cross_attention.compute_output_spec(inputs, source, **options)[1]
        return outputs(*(spec if isinstance(spec, tuple) else (spec,)), across)

    def check_source(self, source: Tensor) -> None:
        """Refuse a source if the block has no cross-attention, and a missing source if it has one."""
        if (source is None) != (self.cross_attention is None):
            raise ValueError(
                "A decoder block attends to a source if it was made with cross_attention=True, and only then: got "
                f"cross_attention={self.cross_attention is not None} and "
                f"{'no source' if source is None else 'a source'}."
            )


@keras.saving.register_keras_serializable("keras_transformers")
class EncoderBlock(_Block):
    """One layer of an encoder: self-attention over the whole input, then a feed-forward layer.

    Args:
        num_heads, intermediate_dim: number of heads and feed-forward width, with defaults for everything else; or
        attention, feed_forward: an `AttentionConfig` (or `Fourier`) and a `FeedForwardConfig`, to set all options.
        norm: a `LayerNorm`, `RMSNorm` or `Affine` record.
        norm_placement: "post", "pre", "around" or "branch"; see the picture at the top of this file.
        dropout: share of the output of each branch dropped in training.
        residual: "sequential", "parallel" or "parallel_shared"; see the second picture there.
        recurrence: for decoders, a `SimpleRecurrence` record in the place of self-attention, or None.
        attention_norm: False omits the norm before the attention, for inputs that are normalised already.

    Call arguments:
        inputs: `[B, T, D]`.
        padding_mask: bool `[B, T]`, True where a token is real; by default the attached Keras mask.
        attention_mask: bool `[T, T]`, `[B, T, T]` or `[B, N, T, T]`, True where a query may see a key.
        scope: given by a stack.
        return_attention_scores: whether to return the attention weights too.

    Returns: `[B, T, D]`, and the attention weights `[B, N, T, T]` if asked for.

    Example:
        >>> EncoderBlock(num_heads=4, intermediate_dim=64)(np.ones((2, 5, 32), "float32")).shape
        (2, 5, 32)

    Source: Vaswani et al. 2017, section 3.1.
    """

    _causal = False

    def call(
        self,
        inputs: Tensor,
        padding_mask: Tensor = None,
        attention_mask: Tensor = None,
        scope: Scope | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> typing.Any:
        to_itself = {"padding_mask": padding_mask, "attention_mask": attention_mask, "scope": scope}
        to_itself["return_attention_scores"] = return_attention_scores
        return self._transform(inputs, to_itself=to_itself, training=training)


@keras.saving.register_keras_serializable("keras_transformers")
class DecoderBlock(_Block):
    """One layer of a decoder: causal self-attention, cross-attention to a source, then a feed-forward layer.

    Args:
        num_heads, intermediate_dim, attention, feed_forward, norm, norm_placement, dropout, residual, recurrence,
        attention_norm: as for `EncoderBlock`.
        cross_attention: whether the block attends to a source; False for a decoder-only (GPT-style) model.

    Call arguments:
        inputs: `[B, T, D]`.
        source: `[B, S, D']`, or the pair from `cross_attention.project_source`.
        padding_mask, source_padding_mask: bool, True where a token is real; by default the attached Keras masks.
        attention_mask: for the self-attention, as for `EncoderBlock`.
        cache, offset: as for `MultiHeadAttention`.
        scope, source_scope: given by a stack.
        return_attention_scores: whether to return the attention weights too.

    Returns: `[B, T, D]`, then the extra outputs that the call asked for: the updated cache, the self-attention weights
    `[B, N, T, S]` (none with a recurrence), the cross-attention weights.

    Example:
        >>> target, source = np.ones((2, 5, 32), "float32"), np.ones((2, 7, 32), "float32")
        >>> DecoderBlock(num_heads=4, intermediate_dim=64)(target, source).shape
        (2, 5, 32)

    Source: Vaswani et al. 2017, section 3.1.
    """

    _causal = True

    def __init__(self, *args: typing.Any, cross_attention: bool = True, **kwargs: typing.Any) -> None:
        super().__init__(*args, **kwargs)
        if cross_attention and self.residual != "sequential":
            raise ValueError(
                f'Expected residual="sequential" with cross-attention, got {self.residual!r}. '
                "Pass cross_attention=False."
            )
        if cross_attention:
            own: typing.Any = self.attention
            across = dataclasses.replace(own, positions=None, window=None, convolution=None)
            self._add("cross_attention", MultiHeadAttention, across)

    def build(self, inputs_shape: Shape, source_shape: Shape = None) -> None:
        super().build(inputs_shape)
        if self.cross_attention is not None:
            self._build_branch("cross_attention", inputs_shape, source_shape or inputs_shape)

    def call(
        self,
        inputs: Tensor,
        source: Tensor = None,
        padding_mask: Tensor = None,
        source_padding_mask: Tensor = None,
        attention_mask: Tensor = None,
        cache: State | None = None,
        offset: Tensor = 0,
        scope: Scope | None = None,
        source_scope: Scope | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> typing.Any:
        to_itself = {"padding_mask": padding_mask, "attention_mask": attention_mask, "scope": scope}
        to_itself |= {"cache": cache, "offset": offset}
        to_itself["return_attention_scores"] = return_attention_scores and self.recurrence is None
        to_source = {"padding_mask": source_padding_mask, "scope": source_scope}
        to_source["return_attention_scores"] = return_attention_scores
        return self._transform(inputs, source, to_itself=to_itself, to_source=to_source, training=training)
