"""Multi-head self-attention and cross-attention, with or without a cache.

    heads   multi-head  N = K        grouped  N = 4, K = 2       multi-query  K = 1
            q q q q                  q q q q                     q q q q
            │ │ │ │                  └┬┘ └┬┘                     └─┴┬┴─┘
            k k k k                   k   k                         k

Legend: `B` batch, `R` rows (`B` times beams), `T` query length, `S` key length, `D` model width, `N` query heads, `K`
key/value heads, `H` head width.
"""

import typing

import keras
from keras import ops

from keras_transformers.backends import attention, products
from keras_transformers.backends.types import Tensor
from keras_transformers.layers.block_sparse import BlockSparse
from keras_transformers.layers.disentangled import Disentangled, default_scale, position_scores
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.dynamic_convolution import ConvolutionHeads, DynamicConvolution
from keras_transformers.layers.grouped import AttentionGroups, make_dense
from keras_transformers.layers.layer import Layer, given_as_call, like, outputs
from keras_transformers.layers.norms import Norm, make_norm
from keras_transformers.layers.positions import RelativePositions, relative_layer, rotate
from keras_transformers.layers.relative_sinusoids import RelativeScores, RelativeSinusoids
from keras_transformers.layers.scope import Places, Scope, cross_scope, self_scope
from keras_transformers.layers.state import KeysAndValues, visible_length
from keras_transformers.records import Count, Positive, Rate, Size, record

Shape: typing.TypeAlias = typing.Any

BIASES: dict[bool | str, str] = {
    True: "biases",
    False: "no biases",
    "inputs": "biases of queries, keys and values",
    "all_but_keys": "biases of all but keys",
    "output": "bias of the last projection",
}
_WITHOUT_BIAS: dict[bool | str, tuple[str, ...]] = {
    "inputs": ("output",),
    "all_but_keys": ("key", "position_key"),
    "output": ("query", "key", "value"),
}


@record
class QueryKeyNorm:
    """A norm of the projected queries, and another of the projected keys. With `by_head`, each head is normalised
    alone, with one scale for all heads (Qwen 3, Gemma 3); otherwise all heads together (OLMo 2). With `after_rotation`,
    the norms of self-attention follow the rotation by `Rotary` positions (Hunyuan)."""

    norm: Norm
    by_head: bool = True
    after_rotation: bool = False

    def __post_init__(self) -> None:
        if self.after_rotation and not self.by_head:
            raise ValueError("Expected by_head=True with after_rotation=True: heads are apart when they are rotated.")


@record
class AttentionConfig:
    """Configuration of an attention; the fields are arguments of `MultiHeadAttention`."""

    num_heads: Size
    num_key_value_heads: Size | None = None
    head_dim: Size | None = None
    positions: RelativePositions | None = None
    window: Size | None = None
    soft_cap: Positive | None = None
    use_bias: bool | str = True
    dropout: Rate = 0.0
    scale: Positive | None = None
    query_key_norm: QueryKeyNorm | None = None
    global_tokens: Count = 0
    groups: AttentionGroups | None = None
    blocks: BlockSparse | None = None
    convolution: DynamicConvolution | None = None

    def __post_init__(self) -> None:
        if self.num_heads % (self.num_key_value_heads or self.num_heads):
            raise ValueError(
                "Expected num_heads to be a multiple of num_key_value_heads, got "
                f"{self.num_heads} and {self.num_key_value_heads}."
            )
        if self.use_bias not in BIASES:
            raise ValueError(f"Expected use_bias to be one of {', '.join(map(repr, BIASES))}, got {self.use_bias!r}.")
        if self.blocks is not None and (self.positions, self.window) != (None, None):
            raise ValueError(f"Expected neither positions nor a window with {self.blocks}.")
        if isinstance(self.positions, Disentangled) and self.num_key_value_heads not in (None, self.num_heads):
            raise ValueError(
                "Expected no num_key_value_heads with Disentangled positions, which have keys for each query head, got "
                f"{self.num_key_value_heads}."
            )


@keras.saving.register_keras_serializable("keras_transformers")
class MultiHeadAttention(Layer):
    """Multi-head attention, optionally with grouped heads and relative positions.

    Args:
        num_heads: query heads, `N`.
        num_key_value_heads: key/value heads, `K`, a divisor of `num_heads`; by default `num_heads`. 1 is multi-query
            attention.
        head_dim: width of a head, `H`; by default the width of the input divided by `num_heads`.
        positions: a `Rotary`, `Alibi`, `RelativeBuckets`, `Disentangled` or `RelativeSinusoids` record (self-attention
            only).
        window: sliding window: a query sees only keys fewer than this many positions away.
        soft_cap: bound that smoothly limits the scores to ±`soft_cap`.
        use_bias: whether the projections have biases; "inputs" for only those of queries, keys and values,
            "all_but_keys" for all except those of keys, "output" for that of the output alone.
        dropout: share of the attention weights dropped in training.
        scale: factor of the scores; None for `H ** -0.5`, with `Disentangled` positions for `(3 * H) ** -0.5`, or 2
            with one of their two terms.
        query_key_norm: a `QueryKeyNorm` record, or None.
        global_tokens: the number of tokens at the beginning of a row that see all keys, by projections of their own,
            and that all queries see, whatever the window (Beltagy et al. 2020, Longformer).
        groups: an `AttentionGroups` record if projections have groups of channels, or None.
        blocks: a `BlockSparse` record for sparse self-attention to both sides, or None.
        convolution: a `DynamicConvolution` record for as many heads again, which convolve the input, or None.
        causal: whether later positions are hidden from a query.

    Call arguments:
        query: `[B, T, D]`, float.
        source: None for self-attention; `[B, S, D']` for cross-attention, or the projected pair from `project_source`.
            Only self-attention can be causal, have a window or know positions. With a projected source, `query` may
            have `B * beams` rows, those of one sentence side by side.
        padding_mask: bool, True where a key is a real token: `[B, T]`, or `[B, S]` with a source. By default the Keras
            mask attached to the input or source.
        attention_mask: bool `[T, S]`, `[B, T, S]` or `[B, N, T, S]`, True where a query may see a key.
        cache, offset: the `KeysAndValues` of earlier positions, two buffers `[B, K, S, H]` (`start_state` makes empty
            ones), and the number of written positions. The new keys are written there, and the query sees all keys. A
            padding mask then has the length of the buffers, and the input's Keras mask is ignored.
        scope: a `Scope`, computed by the stack, in place of the masks and positions.
        return_attention_scores: whether to return the weights too, `[B, N, T, S]`.

    Returns: `[B, T, D]`, followed by the updated cache and the attention scores if asked for. For a query that sees
    nothing, the output is the bias of the output projection.

    Raises:
        ValueError: if heads and widths do not divide, a mask has the wrong shape, the rows of query and source do not
            match, or a causal or windowed layer, or one with positions, gets a source.

    Example:
        >>> x = np.ones((2, 5, 32), "float32")
        >>> MultiHeadAttention(num_heads=4, num_key_value_heads=2, causal=True)(x).shape
        (2, 5, 32)

    Source: Vaswani et al. 2017, section 3.2; grouped heads: Ainslie et al. 2023.
    """

    def __init__(
        self,
        num_heads: int,
        num_key_value_heads: int | None = None,
        head_dim: int | None = None,
        *,
        positions: RelativePositions | None = None,
        window: int | None = None,
        soft_cap: float | None = None,
        use_bias: bool | str = True,
        dropout: float = 0.0,
        scale: float | None = None,
        query_key_norm: QueryKeyNorm | None = None,
        global_tokens: int = 0,
        groups: AttentionGroups | None = None,
        blocks: BlockSparse | None = None,
        convolution: DynamicConvolution | None = None,
        causal: bool = False,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(**kwargs)
        AttentionConfig(  # checks the arguments
            *(num_heads, num_key_value_heads, head_dim, positions, window, soft_cap, use_bias, dropout, scale),
            global_tokens=global_tokens,
            blocks=blocks,
        )
        if causal and (blocks or convolution):
            raise ValueError(f"Expected an attention to both sides with {blocks or convolution}, got causal=True.")
        if global_tokens and (causal or positions is not None):
            raise ValueError(
                f"Expected an attention to both sides without positions with global_tokens={global_tokens}, got "
                f"{causal=}, {positions=}."
            )
        self.num_heads = num_heads
        self.num_key_value_heads = num_key_value_heads or num_heads
        self.head_dim: typing.Any = head_dim  # an int once built
        self.positions = positions
        self.window = window
        self.soft_cap = soft_cap
        self.use_bias = use_bias
        self.scale: typing.Any = scale
        self.query_key_norm = query_key_norm
        self.global_tokens = global_tokens
        self.groups = groups
        self.blocks = blocks
        self.dynamic = convolution
        self.value_width: int | None = None  # set by a block whose values are of other vectors than its keys
        self.causal = causal
        self.dropout = Dropout(dropout, dtype=self.dtype_policy, name="dropout") if dropout else None

    def build(self, query_shape: Shape, source_shape: Shape = None) -> None:
        width = query_shape[-1]
        if self.head_dim is None:
            self.head_dim = self._equal_share(width)
        disentangled = self.positions if isinstance(self.positions, Disentangled) else None
        if self.scale is None:
            self.scale = default_scale(disentangled, self.head_dim) if disentangled else self.head_dim**-0.5
        projected = source_shape is not None and isinstance(source_shape[0], (tuple, list))
        source_width = width if source_shape is None or projected else source_shape[-1]
        inner_width = self.num_heads * self.head_dim
        key_value_width = self.num_key_value_heads * self.head_dim
        self.query = self._projection("query", width, inner_width)
        self.key = self._projection("key", source_width, key_value_width)
        self.value = self._projection("value", self.value_width or source_width, key_value_width)
        self.convolution = None
        if self.dynamic is not None:
            options = {"dtype": self.dtype_policy, "name": "convolution"}
            self.convolution = ConvolutionHeads(self.num_heads, self.head_dim, self.dynamic.kernel_size, **options)
            self.convolution.build((None, None, width))
        joined_width = inner_width if self.convolution is None else 2 * inner_width
        self.output_projection = self._projection("output", joined_width, width, scale=1.0)
        self.query_norm = self._input_norm("query_norm", self.num_heads)
        self.key_norm = self._input_norm("key_norm", self.num_key_value_heads)
        self.global_query = self.global_key = self.global_value = None
        if self.global_tokens:
            self.global_query = self._projection("global_query", width, inner_width)
            self.global_key = self._projection("global_key", width, key_value_width)
            self.global_value = self._projection("global_value", width, key_value_width)
        self._build_positions(width)
        self.position_key = self.position_query = self.position_dropout = None
        if disentangled is not None:
            self._build_disentangled(disentangled, width)

    def _equal_share(self, width: int) -> int:
        """Return the width of a head that follows from the model width."""
        if width % self.num_heads:
            raise ValueError(
                f"Expected the input's width to be a multiple of num_heads={self.num_heads}, got {width}. "
                "Or give head_dim."
            )
        return width // self.num_heads

    def _projection(self, name: str, in_width: int, out_width: int, scale: float = 0.5) -> typing.Any:
        """Return a built projection. With a scale of 0.5, queries, keys and values begin like one matrix for all three,
        as in torch.nn.MultiheadAttention and fairseq."""
        layer = make_dense(
            out_width,
            getattr(self.groups, name, 1),
            use_bias=bool(self.use_bias) and name not in _WITHOUT_BIAS.get(self.use_bias, ()),
            kernel_initializer=keras.initializers.VarianceScaling(scale, "fan_avg", "uniform"),
            dtype=self.dtype_policy,
            name=name,
        )
        layer.build((None, None, in_width))
        return layer

    def _build_positions(self, width: int) -> None:
        """Make the layers of relative positions: a table or angles, and the scores of `RelativeSinusoids`."""
        self.relative = self.relative_scores = None
        if isinstance(self.positions, RelativeSinusoids):
            options = {"dtype": self.dtype_policy, "name": "relative_scores"}
            self.relative_scores = RelativeScores(self.positions, self.num_heads, self.head_dim, width, **options)
            self.relative_scores.build()
        if self.positions is not None:
            self.relative = relative_layer(
                self.positions,
                num_heads=self.num_heads,
                head_dim=self.head_dim,
                hidden_dim=width,
                causal=self.causal,
                dtype=self.dtype_policy,
                name="positions",
            )

    def _build_disentangled(self, positions: Disentangled, width: int) -> None:
        """Make the projections and the dropout of the vectors of distances."""
        inner_width = self.num_heads * self.head_dim
        if not positions.shared_projections and positions.terms != "position_to_content":
            self.position_key = self._projection("position_key", width, inner_width)
        if not positions.shared_projections and positions.terms != "content_to_position":
            self.position_query = self._projection("position_query", width, inner_width)
        if positions.dropout:
            self.position_dropout = Dropout(positions.dropout, dtype=self.dtype_policy, name="position_dropout")

    def _input_norm(self, name: str, heads: int) -> keras.layers.Layer | None:
        if self.query_key_norm is None:
            return None
        layer = make_norm(self.query_key_norm.norm, dtype=self.dtype_policy, name=name)
        layer.build((None, None, self.head_dim * (1 if self.query_key_norm.by_head else heads)))
        return layer

    def _heads(self, x: Tensor, norm: keras.layers.Layer | None, num_heads: int) -> Tensor:
        """Projected queries or keys `[B, T, N*H]` as heads `[B, N, T, H]`, normalised if `query_key_norm` says so."""
        if norm is None or self.query_key_norm is None:
            return attention.split_heads(x, num_heads)
        if self.query_key_norm.by_head:
            return norm(attention.split_heads(x, num_heads))
        return attention.split_heads(norm(x), num_heads)

    def project_source(self, source: Tensor, values: Tensor = None) -> tuple[Tensor, Tensor]:
        """Keys and values of `source [B, S, D']`, two `[B, K, S, H]`, computed once for any number of queries. The
        values may be of other vectors, `values [B, S, D'']`."""
        if not self.built:
            raise ValueError(f"Expected {self.name} to be built, got one without weights. Call build() first.")
        return self._keys_and_values(source, self.key_norm, values)

    def _keys_and_values(
        self, source: Tensor, norm: keras.layers.Layer | None, values: Tensor = None
    ) -> tuple[Tensor, Tensor]:
        key = self._heads(products.dense(self.key, source), norm, self.num_key_value_heads)
        value = products.dense(self.value, source if values is None else values)
        return key, attention.split_heads(value, self.num_key_value_heads)

    def start_state(self, rows: int, length: int) -> KeysAndValues:
        """An empty cache for `rows` sequences of up to `length` tokens."""
        return KeysAndValues.empty(rows, self.num_key_value_heads, length, self.head_dim, self.compute_dtype)

    @given_as_call
    def compute_output_spec(
        self,
        query: Tensor,
        source: Tensor = None,
        cache: KeysAndValues | None = None,
        offset: Tensor = 0,
        return_attention_scores: bool = False,
    ) -> typing.Any:
        scores = None
        if return_attention_scores:
            rows, length, _ = query.shape
            if source is not None:
                seen = source[0].shape[2] if isinstance(source, (tuple, list)) else source.shape[1]
            elif cache is not None and length is not None:
                seen = visible_length(KeysAndValues(*cache).room, offset, length)
            else:
                seen = None if cache is not None else length
            scores = keras.KerasTensor((rows, self.num_heads, length, seen), dtype=self.compute_dtype)
        cache = None if cache is None else KeysAndValues(*map(like, cache))
        return outputs(like(query, dtype=self.compute_dtype), cache, scores)

    def call(
        self,
        query: Tensor,
        source: Tensor = None,
        padding_mask: Tensor = None,
        attention_mask: Tensor = None,
        cache: KeysAndValues | None = None,
        offset: Tensor = 0,
        scope: Scope | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> typing.Any:
        if scope is None:
            scope = self._scope(query, source, padding_mask, attention_mask, cache, offset)

        late = source is None and self.query_key_norm is not None and self.query_key_norm.after_rotation
        norms, none = (self.query_norm, self.key_norm), (None, None)
        before, after = (none, norms) if late else (norms, none)
        query_BNTH = self._heads(products.dense(self.query, query), before[0], self.num_heads)
        query_BNTH = _rotated(query_BNTH, scope, after[0])
        if isinstance(source, (tuple, list)):
            key, value = source
        else:
            key, value = self._keys_and_values(query if source is None else source, before[1])
            # New keys share the positions of the queries; cached keys are rotated already.
            key = _rotated(key, scope, after[1])
            value = _rotated(value, scope) if scope.rotates_values else value
        if cache is not None:
            cache, key, value = KeysAndValues(*cache).write(key, value, offset)

        rows, sentences = query_BNTH.shape[0], key.shape[0]
        folded = source is not None and rows != sentences
        if folded:
            query_BNTH = attention.fold_rows(query_BNTH, sentences)
        x_BNTH, scores = attention.attend(
            query_BNTH,
            key,
            value,
            scale=self.scale,
            mask=scope.mask,
            bias=self._bias(query_BNTH, key, scope, training),
            causal=scope.causal,
            soft_cap=self.soft_cap,
            dropout=self.dropout if training else None,
            return_scores=return_attention_scores,
        )
        if self.global_tokens:
            x_BNTH, scores = self._with_global_tokens(query, scope, x_BNTH, scores, training)
        if self.convolution is not None:
            x_BNTH = ops.concatenate([x_BNTH, self.convolution(query, query_BNTH)], axis=1)
        if folded:
            x_BNTH = attention.unfold_rows(x_BNTH, rows)
            scores = None if scores is None else attention.unfold_rows(scores, rows)
        return outputs(products.dense(self.output_projection, attention.merge_heads(x_BNTH)), cache, scores)

    def _bias(self, query_BNTH: Tensor, key_BNSH: Tensor, scope: Scope, training: bool | None) -> Tensor:
        """The scaled scores of positions, broadcastable to `[B, N, T, S]`, or None."""
        if scope.distances is not None:
            return self._position_scores(query_BNTH, key_BNSH, scope, training)
        if self.relative_scores is None:
            return scope.bias
        scores = self.relative_scores(query_BNTH, key_BNSH, same=scope.same_segment)
        return scores * ops.cast(self.scale, scores.dtype)

    def _with_global_tokens(
        self, inputs: Tensor, scope: Scope, x_BNTH: Tensor, scores: Tensor, training: bool | None
    ) -> tuple[Tensor, Tensor]:
        """The heads and the scores, with those of the global tokens in front computed anew."""
        first = self.global_tokens
        mask = scope.global_mask
        y_BNTH, own_scores = attention.attend(
            self._heads(products.dense(self.global_query, inputs[:, :first]), self.query_norm, self.num_heads),
            self._heads(products.dense(self.global_key, inputs), self.key_norm, self.num_key_value_heads),
            attention.split_heads(products.dense(self.global_value, inputs), self.num_key_value_heads),
            scale=self.scale,
            mask=mask if mask is None or mask.shape[2] == 1 else mask[:, :, :first],
            bias=None,
            causal=False,
            soft_cap=self.soft_cap,
            dropout=self.dropout if training else None,
            return_scores=scores is not None,
        )
        x_BNTH = ops.concatenate([y_BNTH, x_BNTH[:, :, first:]], axis=2)
        return x_BNTH, scores if scores is None else ops.concatenate([own_scores, scores[:, :, first:]], axis=2)

    def _position_scores(self, query_BNTH: Tensor, key_BNSH: Tensor, scope: Scope, training: bool | None) -> Tensor:
        """The scaled scores of contents and positions, `[B, N, T, S]`, for disentangled attention."""
        positions: typing.Any = self.positions
        vectors_1WD = scope.distances[None]
        if self.position_dropout is not None:
            vectors_1WD = self.position_dropout(vectors_1WD, training=training)
        position_key = position_query = None
        if positions.terms != "position_to_content":
            keys = products.dense(self.key if positions.shared_projections else self.position_key, vectors_1WD)
            position_key = self._heads(keys, self.key_norm, self.num_heads)[0]
        scale = ops.cast(self.scale, query_BNTH.dtype)
        if positions.terms != "content_to_position":
            queries = products.dense(self.query if positions.shared_projections else self.position_query, vectors_1WD)
            position_query = self._heads(queries, self.query_norm, self.num_heads)[0] * scale
        return position_scores(query_BNTH * scale, key_BNSH, position_key, position_query)

    def _scope(
        self, query: Tensor, source: Tensor, padding_mask: Tensor, attention_mask: Tensor, cache: Tensor, offset: Tensor
    ) -> Scope:
        """The scope of a call without a scope from a stack.

        Raises:
            ValueError: if a causal or windowed attention, or one with positions, gets a source; or if `Disentangled`
                positions have no table.
        """
        own = self.causal, self.window, self.positions, self.dynamic
        if source is not None and any(own):
            raise ValueError(
                "Expected no source: this attention is causal, has a window or positions, or a convolution, which say "
                "nothing of another sequence. For self-attention, leave source out."
            )
        if source is not None:
            return cross_scope(query, source, self.num_heads, padding_mask, attention_mask)
        if isinstance(self.positions, Disentangled) and self.relative is None:
            raise ValueError(
                "Expected a table of Disentangled positions, got None: only a stack gives the vectors of distances to "
                "its blocks. Pass Disentangled(DistanceTable(…))."
            )
        room = None if cache is None else KeysAndValues(*cache).room
        places = Places.of(query, padding_mask, room, offset)
        return self._scope_at(places, attention_mask, causal=self.causal or cache is not None)

    def own_scope(self, query: Tensor, padding_mask: Tensor, attention_mask: Tensor) -> Scope:
        """The scope of self-attention of `query [B, T, D]`, for a block that projects keys and values itself."""
        return self._scope_at(Places.of(query, padding_mask), attention_mask, self.causal)

    def _scope_at(self, places: Places, attention_mask: Tensor, causal: bool) -> Scope:
        return self_scope(
            self.relative,
            places,
            num_heads=self.num_heads,
            causal=causal,
            window=self.window,
            global_tokens=self.global_tokens,
            blocks=self.blocks,
            attention_mask=attention_mask,
        )


def _rotated(x_BNTH: Tensor, scope: Scope, norm: keras.layers.Layer | None = None) -> Tensor:
    """Rotate queries or new keys by the angles of the scope, if it has any. A norm may follow."""
    x_BNTH = x_BNTH if scope.angles is None else rotate(x_BNTH, scope.angles, scope.layout)
    return x_BNTH if norm is None else norm(x_BNTH)
