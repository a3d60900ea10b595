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

Legend: `B` batch, `T` length, `S` source length, `D` model width, `N` heads.
"""

import dataclasses

import keras

from keras_transformers.layers.attention import AttentionConfig, MultiHeadAttention
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.feed_forward import FeedForward, FeedForwardConfig
from keras_transformers.layers.layer import Layer, outputs
from keras_transformers.layers.norms import LayerNorm, Norm, make_norm
from keras_transformers.records import Rate, record
from keras_transformers.spelling import did_you_mean

NORM_PLACEMENTS = {
    "post": "x = norm(x + f(x))",
    "pre": "x = x + f(norm(x))",
    "around": "x = x + norm(f(norm(x)))",
    "branch": "x = x + norm(f(x))",
}
RESIDUALS = ("sequential", "parallel", "parallel_shared")


@record
class BlockConfig:
    """What one block is; the fields are keyword arguments of `EncoderBlock` and `DecoderBlock`."""

    attention: AttentionConfig
    feed_forward: FeedForwardConfig
    norm: Norm = LayerNorm()
    norm_placement: str = "post"
    dropout: Rate = 0.0
    residual: str = "sequential"

    def __post_init__(self):
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


def fields(config):
    """A record's fields as keyword arguments, its nested records whole."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}


class _Block(Layer):
    """What both kinds of block share: the branches, their norms, and how a branch joins its residual."""

    _causal: bool

    def __init__(
        self,
        num_heads=None,
        intermediate_dim=None,
        *,
        attention=None,
        feed_forward=None,
        norm=LayerNorm(),
        norm_placement="post",
        dropout=0.0,
        residual="sequential",
        attention_norm=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if (num_heads is None) == (attention is None) or (intermediate_dim is None) == (feed_forward is None):
            raise ValueError(
                "Expected num_heads or attention, and intermediate_dim or feed_forward, one of each, got "
                f"{num_heads=}, {attention=}, {intermediate_dim=}, {feed_forward=}."
            )
        feed_forward = feed_forward or FeedForwardConfig(intermediate_dim)
        self.attention = attention or AttentionConfig(num_heads)
        BlockConfig(self.attention, feed_forward, norm, norm_placement, dropout, residual)  # for its checks
        self.norm = norm
        self.norm_placement = norm_placement
        self.residual = residual
        self.dropout = Dropout(dropout, name="dropout", dtype=self.dtype_policy) if dropout else None
        self._add("self_attention", MultiHeadAttention, self.attention, norm_before=attention_norm, causal=self._causal)
        self._add("feed_forward", FeedForward, feed_forward, norm_before=residual != "parallel_shared")

    def _add(self, name, branch_class, config, norm_before=True, **options):
        """A branch, and the norms before and after it that this block has."""
        setattr(self, name, branch_class(**fields(config), **options, name=name, dtype=self.dtype_policy))
        for place, placements in (("before", ("pre", "around")), ("after", ("post", "around", "branch"))):
            norm = f"{name}_norm_{place}"
            here = self.norm_placement in placements and (norm_before or place == "after")
            setattr(self, norm, make_norm(self.norm, name=norm, dtype=self.dtype_policy) if here else None)

    def _build_branch(self, name, inputs_shape, *shapes):
        for norm in (getattr(self, f"{name}_norm_before"), getattr(self, f"{name}_norm_after")):
            if norm is not None:
                norm.build(inputs_shape)
        getattr(self, name).build(inputs_shape, *shapes)

    def build(self, inputs_shape):
        self._build_branch("self_attention", inputs_shape)
        self._build_branch("feed_forward", inputs_shape)

    def _read(self, branch, x):
        """What `branch` reads of `x`: it normalised, where this block normalises before."""
        before = getattr(self, f"{branch}_norm_before")
        return x if before is None else before(x)

    def _feed_forward_reads(self, x, inputs, attention_read):
        """What the feed-forward branch reads: `x`, to which other branches were added, or what the block was given."""
        if self.residual == "parallel_shared":
            return attention_read
        return self._read("feed_forward", x if self.residual == "sequential" else inputs)

    def _join(self, branch, x, read, training, *args, **kwargs):
        """`x` plus what `branch` makes of what it `read`, normalised where this block normalises after; and the
        branch's extra outputs."""
        after = getattr(self, f"{branch}_norm_after")
        y = getattr(self, branch)(read, *args, training=training, **kwargs)
        y, *extras = y if isinstance(y, tuple) else (y,)
        if self.dropout is not None:
            y = self.dropout(y, training=training)
        if after is None:
            return x + y, *extras
        if self.norm_placement == "post":
            return after(x + y), *extras
        return x + after(y), *extras


@keras.saving.register_keras_serializable("keras_transformers")
class EncoderBlock(_Block):
    """One layer of an encoder: self-attention over the whole input, then a feed-forward layer.

    Args:
        num_heads, intermediate_dim: heads and feed-forward width, all else at its default; or
        attention, feed_forward: an `AttentionConfig` and a `FeedForwardConfig`, to say more.
        norm: a `LayerNorm` or `RMSNorm` record.
        norm_placement: "post", "pre", "around" or "branch"; see the picture at the head of this file.
        dropout: share of each branch's output dropped in training.
        residual: "sequential", "parallel" or "parallel_shared"; see the second picture there.
        attention_norm: False leaves out the norm before the attention, for inputs that come from one.

    Call arguments: `inputs [B, T, D]`; `padding_mask`, bool `[B, T]`, True where a token is real (by default the
    attached Keras mask); `attention_mask`, bool `[T, T]`, `[B, T, T]` or `[B, N, T, T]`; `scope`, given by a stack;
    `return_attention_scores`.

    Returns: `[B, T, D]`, and the attention weights `[B, N, T, T]` if asked for.

    Example:
        >>> EncoderBlock(num_heads=4, intermediate_dim=64)(np.ones((2, 5, 32), "float32")).shape
        (2, 5, 32)

    Source: Vaswani et al. 2017, section 3.1.
    """

    _causal = False

    def compute_output_spec(
        self,
        inputs,
        padding_mask=None,
        attention_mask=None,
        scope=None,
        return_attention_scores=False,
        training=None,
    ):
        return self.self_attention.compute_output_spec(inputs, return_attention_scores=return_attention_scores)

    def call(
        self,
        inputs,
        padding_mask=None,
        attention_mask=None,
        scope=None,
        return_attention_scores=False,
        training=None,
    ):
        read = self._read("self_attention", inputs)
        x, *scores = self._join(
            "self_attention",
            inputs,
            read,
            training,
            padding_mask=padding_mask,
            attention_mask=attention_mask,
            scope=scope,
            return_attention_scores=return_attention_scores,
        )
        (x,) = self._join("feed_forward", x, self._feed_forward_reads(x, inputs, read), training)
        return outputs(x, *scores)


@keras.saving.register_keras_serializable("keras_transformers")
class DecoderBlock(_Block):
    """One layer of a decoder: causal self-attention, attention to a source, a feed-forward layer.

    Args:
        num_heads, intermediate_dim, attention, feed_forward, norm, norm_placement, dropout, residual,
        attention_norm: as for `EncoderBlock`.
        cross_attention: whether the block attends to a source; without, it is a layer of a GPT-style model.

    Call arguments: `inputs [B, T, D]`; `source [B, S, D']`, or the projected pair of `cross_attention.project_source`;
    `padding_mask` and `source_padding_mask`, bool, True where a token is real (by default the attached Keras masks);
    `attention_mask` for the self-attention; `cache` and `offset` as for `MultiHeadAttention`; `scope` and
    `source_scope`, given by a stack; `return_attention_scores`.

    Returns: `[B, T, D]`, then the updated cache, the self-attention weights `[B, N, T, S]` and the cross-attention
    weights where asked for.

    Example:
        >>> target, source = np.ones((2, 5, 32), "float32"), np.ones((2, 7, 32), "float32")
        >>> DecoderBlock(num_heads=4, intermediate_dim=64)(target, source).shape
        (2, 5, 32)

    Source: Vaswani et al. 2017, section 3.1.
    """

    _causal = True

    def __init__(
        self,
        num_heads=None,
        intermediate_dim=None,
        *,
        attention=None,
        feed_forward=None,
        norm=LayerNorm(),
        norm_placement="post",
        dropout=0.0,
        residual="sequential",
        attention_norm=True,
        cross_attention=True,
        **kwargs,
    ):
        super().__init__(
            num_heads,
            intermediate_dim,
            attention=attention,
            feed_forward=feed_forward,
            norm=norm,
            norm_placement=norm_placement,
            dropout=dropout,
            residual=residual,
            attention_norm=attention_norm,
            **kwargs,
        )
        if cross_attention and residual != "sequential":
            raise ValueError(
                f'Expected residual="sequential" with cross-attention, got {residual!r}. Pass cross_attention=False.'
            )
        self.cross_attention = None
        if cross_attention:
            across = dataclasses.replace(self.attention, positions=None, window=None)
            self._add("cross_attention", MultiHeadAttention, across)

    def build(self, inputs_shape, source_shape=None):
        super().build(inputs_shape)
        if self.cross_attention is not None:
            self._build_branch("cross_attention", inputs_shape, source_shape or inputs_shape)

    def compute_output_spec(
        self,
        inputs,
        source=None,
        padding_mask=None,
        source_padding_mask=None,
        attention_mask=None,
        cache=None,
        offset=0,
        scope=None,
        source_scope=None,
        return_attention_scores=False,
        training=None,
    ):
        self._check_source(source)
        options = {"return_attention_scores": return_attention_scores}
        spec = self.self_attention.compute_output_spec(inputs, cache=cache, offset=offset, **options)
        if source is None or not return_attention_scores:
            return spec
        return *spec, self.cross_attention.compute_output_spec(inputs, source, **options)[1]

    def _check_source(self, source):
        if (source is None) != (self.cross_attention is None):
            raise ValueError(
                "A decoder block attends to a source if it was made with cross_attention=True, and only then: got "
                f"cross_attention={self.cross_attention is not None} and "
                f"{'no source' if source is None else 'a source'}."
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
        scope=None,
        source_scope=None,
        return_attention_scores=False,
        training=None,
    ):
        self._check_source(source)
        read = self._read("self_attention", inputs)
        x, *extras = self._join(
            "self_attention",
            inputs,
            read,
            training,
            padding_mask=padding_mask,
            attention_mask=attention_mask,
            cache=cache,
            offset=offset,
            scope=scope,
            return_attention_scores=return_attention_scores,
        )
        if source is not None:
            x, *scores = self._join(
                "cross_attention",
                x,
                self._read("cross_attention", x),
                training,
                source,
                padding_mask=source_padding_mask,
                scope=source_scope,
                return_attention_scores=return_attention_scores,
            )
            extras += scores
        (x,) = self._join("feed_forward", x, self._feed_forward_reads(x, inputs, read), training)
        return outputs(x, *extras)
