"""Heads on hidden states: a score for each token of the vocabulary, or one vector for a whole text.

Legend: `B` batch, `T` length, `D` model width, `E` embedding width, `V` vocabulary.
"""

import typing
from collections.abc import Sequence

import keras
from keras import ops

from keras_transformers.backends import products
from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.choices import Choices
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.feed_forward import ACTIVATIONS
from keras_transformers.layers.layer import Layer, like
from keras_transformers.layers.masks import attached
from keras_transformers.layers.norms import LayerNorm, Norm, make_norm
from keras_transformers.records import Count, Positive, Rate, Size, record
from keras_transformers.spelling import did_you_mean

POOLINGS = ("first", "last", "mean", "max")
# The poolings of a `Pooler`, which text embeddings may have too.
VECTOR_POOLINGS = (*POOLINGS, "mean_sqrt_length", "weighted_mean")


@record
class TransformConfig:
    """Configuration of a `Transform` between the last hidden states and a head: dense layer, optional activation,
    optional norm. The fields are its arguments."""

    activation: str | None = "gelu"
    norm: Norm | None = LayerNorm()
    use_bias: bool = True

    def __post_init__(self) -> None:
        if self.activation is not None and self.activation not in ACTIVATIONS:
            raise ValueError(
                f"Expected activation to be None or one of {', '.join(ACTIVATIONS)}, got {self.activation!r}"
                f"{did_you_mean(self.activation, ACTIVATIONS)}."
            )


@record
class HeadConfig:
    """Configuration of a `VocabularyHead`; the fields are its arguments. If there is a `transform`, its width is
    `embedding_dim`, by default that of the token embeddings. Only a head that is not tied may have another; or, with
    `wide`, the transform keeps the model width."""

    tied: bool = True
    use_bias: bool = False
    transform: TransformConfig | None = None
    soft_cap: Positive | None = None
    scale: bool = False
    embedding_dim: Size | None = None
    wide: bool = False

    def __post_init__(self) -> None:
        if self.wide and self.transform is None:
            raise ValueError("Expected a transform with wide=True, got None.")
        if self.embedding_dim is not None and (self.tied or self.transform is None):
            raise ValueError(
                f"Expected tied=False and a transform with embedding_dim={self.embedding_dim}, got tied={self.tied} "
                f"and transform={self.transform}."
            )


@record
class TokenHeadConfig:
    """Configuration of the layers between the hidden states and a token classifier."""

    transform: TransformConfig | None = None
    dropout: Rate = 0.0


@record
class PoolerConfig:
    """Configuration of a `Pooler`, and of the text classifier that reads it.

    `pooling`: "first" or "last" for the vector of that real token, "mean" or "max" over all real tokens.
    `input_dropout`, `dropout`: dropout before and after the transform.
    `classifier_bias`: whether the text classifier has a bias.
    `end_id`: "last" then means the last token with this id, even if others follow it (BART).
    `by_token`: whether the transform comes before the pooling, and so transforms each token (EuroBERT).
    """

    pooling: str = "first"
    transform: TransformConfig | None = None
    input_dropout: Rate = 0.0
    dropout: Rate = 0.0
    classifier_bias: bool = True
    end_id: Count | None = None
    by_token: bool = False

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            hint = did_you_mean(self.pooling, POOLINGS)
            raise ValueError(f"Expected pooling to be one of {', '.join(POOLINGS)}, got {self.pooling!r}{hint}.")
        if self.end_id is not None and self.pooling != "last":
            raise ValueError(f'Expected pooling="last" with end_id={self.end_id}, got {self.pooling!r}.')
        if self.by_token and (self.transform is None or self.pooling not in ("mean", "max")):
            raise ValueError(
                'Expected a transform and pooling="mean" or "max" with by_token=True, got '
                f"{self.transform} and {self.pooling!r}."
            )


@keras.saving.register_keras_serializable("keras_transformers")
class Transform(Layer):
    """A dense layer, an activation and a norm (Devlin et al. 2019, head of the masked language model).

    Args:
        activation: a name as for `FeedForward`, or None.
        norm: a norm record, or None.
        use_bias: whether the dense layer has a bias.
        output_dim: width of the output; by default that of the input.

    Shape: `[…, D]` to `[…, output_dim]`.
    """

    def __init__(
        self,
        activation: str | None = "gelu",
        norm: Norm | None = LayerNorm(),
        use_bias: bool = True,
        *,
        output_dim: int | None = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config = TransformConfig(activation, norm, use_bias)
        self.activation = (lambda x: x) if activation is None else ACTIVATIONS[activation]
        self.output_dim = output_dim
        self.use_bias = use_bias
        self.norm = None if norm is None else make_norm(norm, dtype=self.dtype_policy, name="norm")

    def build(self, inputs_shape: Shape) -> None:
        width = self.output_dim or inputs_shape[-1]
        self.dense = keras.layers.Dense(width, use_bias=self.use_bias, dtype=self.dtype_policy, name="dense")
        self.dense.build(inputs_shape)
        if self.norm is not None:
            self.norm.build((*inputs_shape[:-1], width))

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        return like(inputs, dtype=self.compute_dtype, width=self.output_dim)

    def call(self, inputs: Tensor) -> Tensor:
        x = self.activation(self.dense(inputs))
        return x if self.norm is None else self.norm(x)


def make_transform(config: TransformConfig, **kwargs: typing.Any) -> Transform:
    """Make the layer of a `TransformConfig`; `kwargs` go to the layer."""
    return Transform(config.activation, config.norm, config.use_bias, **kwargs)


@keras.saving.register_keras_serializable("keras_transformers")
class VocabularyHead(Layer):
    """A language model head: one score for each token of the vocabulary (Vaswani et al. 2017, section 3.4).

    Args:
        vocabulary_size: `V`.
        tied: whether the matrix is the token embeddings, given at each call; otherwise the head has its own.
        use_bias: whether a bias `[V]` is added.
        transform: a `TransformConfig` for a layer before the matrix, or None.
        soft_cap: bound that smoothly limits the scores to ±`soft_cap`, with a tanh (Gemma 2); None for no bound.
        scale: whether to divide the inputs by the root of their width (Raffel et al. 2020, T5).
        embedding_dim: `E`, the width of the transform's output and so of the matrix, by default `D`. For a tied head,
            the width of the embeddings.
        wide: whether the transform's output is `D` wide instead, and a second matrix `[D - E, V]` multiplies the
            channels beyond `E` (Sun et al. 2020, MobileBERT).

    Call arguments: `inputs [B, T, D]`; `embedding`, the `PositionalEmbedding` whose matrix a tied head uses.

    Returns: `[B, T, V]`.

    Raises:
        ValueError: for an `embedding_dim` without a `transform`, and for a call of a tied head without `embedding`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        tied: bool = True,
        use_bias: bool = False,
        transform: TransformConfig | None = None,
        soft_cap: float | None = None,
        scale: bool = False,
        embedding_dim: int | None = None,
        wide: bool = False,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(**kwargs)
        HeadConfig(transform=transform, soft_cap=soft_cap, wide=wide)  # checks the arguments
        if embedding_dim is not None and transform is None:
            raise ValueError(
                f"Expected a transform with embedding_dim={embedding_dim}, which is the width of the transform's "
                "output, got transform=None. Give a TransformConfig, or leave embedding_dim out."
            )
        self.vocabulary_size = vocabulary_size
        self.tied = tied
        self.soft_cap = soft_cap
        self.scale = scale
        self.use_bias = use_bias
        self.transform = self.dense = self.wide = None
        self._wide_from = embedding_dim if wide else None
        if transform is not None:
            options = {"dtype": self.dtype_policy, "name": "transform"}
            self.transform = make_transform(transform, output_dim=None if wide else embedding_dim, **options)
        if wide:
            self.wide = keras.layers.Dense(vocabulary_size, use_bias=False, dtype=self.dtype_policy, name="wide")
        if not tied:
            self.dense = keras.layers.Dense(vocabulary_size, use_bias=use_bias, dtype=self.dtype_policy, name="dense")

    def build(self, inputs_shape: Shape) -> None:
        if self.transform is not None:
            self.transform.build(inputs_shape)
            inputs_shape = (*inputs_shape[:-1], self.transform.output_dim or inputs_shape[-1])
        if self.wide is not None:
            width, inner = inputs_shape[-1], self._wide_from
            if inner is None or inner >= width:
                raise ValueError(f"Expected an embedding_dim below the width {width} with wide=True, got {inner}.")
            self.wide.build((*inputs_shape[:-1], width - inner))
            inputs_shape = (*inputs_shape[:-1], inner)
        if self.dense is not None:
            self.dense.build(inputs_shape)
        elif self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.vocabulary_size,), initializer="zeros")

    def compute_output_spec(self, inputs: Tensor, embedding: keras.layers.Layer = None) -> keras.KerasTensor:
        self._check(embedding)
        return like(inputs, dtype=self.compute_dtype, width=self.vocabulary_size)

    def compute_output_shape(self, inputs_shape: Shape) -> Shape:
        return (*inputs_shape[:-1], self.vocabulary_size)

    def _check(self, embedding: keras.layers.Layer) -> None:
        if self.tied and embedding is None:
            raise ValueError("Expected embedding=, the layer whose matrix a tied head uses. Pass it, or tied=False.")

    def matrix(self, embedding: keras.layers.Layer = None) -> Tensor:
        """The matrix that multiplies the `scaled` hidden states, the bias or None, and whether the vocabulary is the
        second axis of the matrix. None if the head is not a plain product, but adapted or quantized."""
        self._check(embedding)
        layer = embedding.token if self.dense is None else self.dense
        plain = keras.layers.ReversibleEmbedding if self.dense is None else keras.layers.Dense
        if self.transform is not None or not products.is_plain(layer, plain):
            return None
        if self.dense is None:
            return layer.embeddings, self.bias if self.use_bias else None, False
        return layer.kernel, layer.bias, True

    def scaled(self, inputs: Tensor) -> Tensor:
        """The vectors that the matrix multiplies, from `inputs [B, T, D]`."""
        return inputs * inputs.shape[-1] ** -0.5 if self.scale else inputs

    def rows(self, token_ids: Tensor, embedding: keras.layers.Layer = None) -> tuple[Tensor, Tensor]:
        """The rows of the matrix for some tokens, int32 `[U]`: `[U, E]`, and their biases `[U]` or None; both in the
        compute dtype. Two Nones if the head is not a plain product, but adapted or quantized."""
        self._check(embedding)
        if self.wide is not None or self.dense is not None and not products.is_plain(self.dense, keras.layers.Dense):
            return None, None
        if self.dense is None:  # quantized embeddings become floats as for a source
            matrix, bias = products.vectors(embedding.token, token_ids), self.bias if self.use_bias else None
        else:
            matrix, bias = ops.transpose(ops.take(self.dense.kernel, token_ids, axis=1)), self.dense.bias
        matrix = ops.cast(matrix, self.compute_dtype)
        return matrix, None if bias is None else ops.cast(ops.take(bias, token_ids, axis=0), self.compute_dtype)

    def of_choices(self, inputs: Tensor, choices: Choices, embedding: keras.layers.Layer = None) -> Tensor:
        """Scores `[R, T, U]` of the choices of each sentence for `inputs [R, T, D]`; `-inf` for other choices."""
        return choices.restrict(self._scores(inputs, embedding, choices))

    def call(self, inputs: Tensor, embedding: keras.layers.Layer = None) -> Tensor:
        return self._scores(inputs, embedding)

    def _scores(self, inputs: Tensor, embedding: keras.layers.Layer, choices: Choices | None = None) -> Tensor:
        self._check(embedding)
        if self.transform is not None:
            inputs = self.transform(inputs)
        inputs, beyond = self.scaled(inputs), None
        if self.wide is not None:
            inputs, beyond = inputs[..., : self._wide_from], products.dense(self.wide, inputs[..., self._wide_from :])
        gathered = choices is not None and choices.matrix is not None
        if choices is not None and gathered:
            logits = products.of_rows(choices.matrix, inputs)
            logits = logits if choices.bias is None else logits + choices.bias
        elif self.dense is not None:
            logits = products.dense(self.dense, inputs)
        else:
            logits = products.scores(embedding.token, inputs)
            logits = logits + ops.cast(self.bias, logits.dtype) if self.use_bias else logits
        logits = logits if beyond is None else logits + beyond
        if choices is not None and not gathered:
            logits = ops.take(logits, choices.token_ids, axis=-1)
        return logits if self.soft_cap is None else ops.tanh(logits / self.soft_cap) * self.soft_cap


@keras.saving.register_keras_serializable("keras_transformers")
class Pooler(Layer):
    """Pools the hidden states of a text to one vector.

    Args:
        pooling: "first" or "last" for the vector of that real token; "mean" or "max" over all real tokens;
            "mean_sqrt_length" for their sum over the root of their number; "weighted_mean" for their mean, each
            weighted by its position from 1 on. Several of these, whose vectors are concatenated in that order.
        transform, input_dropout, dropout, by_token: see `PoolerConfig`.

    Call arguments: `inputs [B, T, D]`; `padding_mask`, bool `[B, T]`, True where a token is real (by default the
    attached Keras mask); `pooling_mask`, bool `[B, T]`, True where a token is pooled (by default every real one).

    Returns: `[B, D]`; zeros for a text without tokens. With several poolings `[B, n · D]`.

    Example:
        >>> Pooler("mean")(np.ones((2, 5, 32), "float32")).shape
        (2, 32)

    Source: Devlin et al. 2019 ("first"); Reimers and Gurevych 2019, section 3 ("mean", "max"); Muennighoff 2022,
    section 3 ("weighted_mean").
    """

    def __init__(
        self,
        pooling: str | Sequence[str] = "first",
        transform: TransformConfig | None = None,
        *,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        by_token: bool = False,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(**kwargs)
        self.poolings = (pooling,) if isinstance(pooling, str) else tuple(pooling)
        for each in self.poolings:
            if each not in VECTOR_POOLINGS:
                hint = did_you_mean(each, VECTOR_POOLINGS)
                raise ValueError(f"Expected pooling to be one of {', '.join(VECTOR_POOLINGS)}, got {each!r}{hint}.")
        if not self.poolings:
            raise ValueError(f"Expected one or several poolings of {', '.join(VECTOR_POOLINGS)}, got none.")
        PoolerConfig("mean", transform, by_token=by_token)  # checks the arguments
        self.by_token = by_token
        options = {"dtype": self.dtype_policy}
        self.pooling = self.poolings[0] if len(self.poolings) == 1 else self.poolings
        self.transform = None if transform is None else make_transform(transform, name="transform", **options)
        self.input_dropout = Dropout(input_dropout, name="input_dropout", **options)
        self.dropout = Dropout(dropout, name="dropout", **options)

    def build(self, inputs_shape: Shape) -> None:
        if self.transform is not None:
            self.transform.build((inputs_shape[0], len(self.poolings) * inputs_shape[-1]))

    def compute_mask(self, *args: typing.Any, **kwargs: typing.Any) -> None:
        return None

    def compute_output_spec(
        self,
        inputs: Tensor,
        padding_mask: Tensor = None,
        pooling_mask: Tensor = None,
        training: bool | None = None,
    ) -> keras.KerasTensor:
        width = len(self.poolings) * inputs.shape[-1]
        return keras.KerasTensor((inputs.shape[0], width), dtype=self.compute_dtype)

    def call(
        self,
        inputs: Tensor,
        padding_mask: Tensor = None,
        pooling_mask: Tensor = None,
        training: bool | None = None,
    ) -> Tensor:
        padding_mask = attached(inputs) if padding_mask is None else padding_mask
        if self.by_token and self.transform is not None:
            inputs = self.transform(inputs)
        x = self.input_dropout(self._pooled(inputs, padding_mask, pooling_mask), training=training)
        x = x if self.transform is None or self.by_token else self.transform(x)
        return self.dropout(x, training=training)

    def _pooled(self, inputs: Tensor, padding_mask: Tensor, pooling_mask: Tensor) -> Tensor:
        real_BT = None if padding_mask is None else ops.cast(padding_mask, "bool")
        of_BT = real_BT if pooling_mask is None else ops.cast(pooling_mask, "bool")
        vectors = [_pooled_by(pooling, inputs, real_BT, of_BT) for pooling in self.poolings]
        return vectors[0] if len(vectors) == 1 else ops.concatenate(vectors, axis=-1)


def _pooled_by(pooling: str, inputs: Tensor, real_BT: Tensor, of_BT: Tensor) -> Tensor:
    """One pooling `[B, D]` of `inputs [B, T, D]` over the tokens `of_BT` among the real ones; None for all."""
    if pooling == "first":
        return inputs[:, 0] if of_BT is real_BT else _place(inputs, of_BT, ops.argmax(of_BT, axis=1))
    if pooling == "last":
        positions = ops.arange(ops.shape(inputs)[1], dtype="int32")
        return (
            inputs[:, -1]
            if of_BT is None
            else _place(inputs, of_BT, ops.argmax(ops.where(of_BT, positions, -1), axis=1))
        )
    if pooling == "max":
        if of_BT is None:
            return ops.max(inputs, axis=1)
        of_BT1 = of_BT[:, :, None]
        lowest = ops.where(of_BT1, inputs, ops.cast(float("-inf"), inputs.dtype))
        return ops.where(ops.any(of_BT1, axis=1), ops.max(lowest, axis=1), ops.zeros_like(inputs[:, 0]))
    # Sum in float32: half precision counts only up to 2,048.
    weights_BT = ops.ones(ops.shape(inputs)[:2], "float32") if of_BT is None else ops.cast(of_BT, "float32")
    if pooling == "weighted_mean":
        real_BT = ops.ones_like(weights_BT) if real_BT is None else ops.cast(real_BT, "float32")
        weights_BT = weights_BT * ops.cumsum(real_BT, axis=1)
    states = inputs if of_BT is None else ops.where(of_BT[:, :, None], inputs, ops.zeros_like(inputs))
    states = ops.cast(states, "float32")
    if pooling == "weighted_mean":
        states = states * weights_BT[:, :, None]
    count = ops.maximum(ops.sum(weights_BT, axis=1, keepdims=True), 1.0)
    count = ops.sqrt(count) if pooling == "mean_sqrt_length" else count
    return ops.cast(ops.sum(states, axis=1) / count, inputs.dtype)


def _place(inputs: Tensor, of_BT: Tensor, places_B: Tensor) -> Tensor:
    """The vector `[B, D]` of one place of each row of `inputs [B, T, D]`, zeros for a row without a token."""
    x = ops.take_along_axis(inputs, ops.cast(places_B, "int32")[:, None, None], axis=1)[:, 0]
    return ops.where(ops.any(of_BT, axis=1)[:, None], x, ops.zeros_like(x))
