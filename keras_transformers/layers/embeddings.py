"""Token, position and segment embeddings.

Legend: `B` batch, `T` length, `D` model width, `E` embedding width, `V` vocabulary.
"""

import typing

import keras
import numpy as np
from keras import ops
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from keras_transformers.backends import arrays, products
from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.dropout import Dropout
from keras_transformers.layers.layer import Layer
from keras_transformers.layers.norms import Norm, make_norm
from keras_transformers.layers.positions import AbsolutePositions, Learned, Sinusoidal, sinusoids
from keras_transformers.layers.scope import positions_of
from keras_transformers.records import Count, Rate, Size, record

PROJECTED = ("sum", "tokens", "sum_before_norm", "trigrams")


@record
class TokenDropout:
    """The token vectors of ESM (Rives et al. 2021): those of masked tokens are zero, and the others are scaled up by
    the share of masked tokens in the text.

    `mask_id`: the id of masked tokens.
    `rate`: the mean share of masked tokens in pre-training, by which all token vectors are scaled down.
    """

    mask_id: Count
    rate: Rate = 0.12


@record
class EmbeddingsConfig:
    """Configuration of embeddings.

    The fields of `PositionalEmbedding` mean the same here. `positions` None adds no position embeddings, and
    `num_segments` 0 no segment embeddings. `context_length` is the longest text that the model was made for, if no
    position table sets it. `shared_tokens`: a decoder's own embeddings use the token vectors of the encoder.
    """

    vocabulary_size: Size
    positions: AbsolutePositions | None = None
    scale: bool = False
    norm: Norm | None = None
    dropout: Rate = 0.0
    num_segments: Count = 0
    embedding_dim: Size | None = None
    context_length: Size | None = None
    shared_tokens: bool = False
    projected: str = "sum"
    num_tasks: Count = 0
    token_dropout: TokenDropout | None = None
    zero_id: Count | None = None

    def __post_init__(self) -> None:
        if self.projected not in PROJECTED:
            raise ValueError(f"Expected projected to be one of {', '.join(PROJECTED)}, got {self.projected!r}.")
        if self.projected != "sum" and self.embedding_dim is None:
            raise ValueError(f"Expected an embedding_dim with projected={self.projected!r}, got None.")


@keras.saving.register_keras_serializable("keras_transformers")
class PositionalEmbedding(Layer):
    """Token embeddings plus position embeddings (Vaswani et al. 2017, sections 3.4 and 3.5), and segment embeddings
    (Devlin et al. 2019).

    Args:
        vocabulary_size: `V`.
        hidden_dim: `D`.
        max_length: longest input; short for `positions=Sinusoidal(max_length)`.
        positions: a `Sinusoidal` or `Learned` record. Without `positions` and `max_length` there are no position
            embeddings.
        scale: whether token vectors are multiplied by the root of their width, as in the paper.
        norm: a norm record, applied to the sum.
        dropout: share of the sum dropped in training.
        num_segments: the number of segments that a text may have, such as the two of a pair; 0 for no segment
            embeddings.
        embedding_dim: `E`, if a dense layer projects the embeddings to `D`; None for embeddings of the model width.
        projected: the input of that layer: the "sum" (Lan et al. 2020, section 3.1), or only the "tokens"; positions
            and segments are then added after it, and it has no bias (Zhang et al. 2022, OPT of 350 million parameters);
            or the "sum_before_norm", whose norm follows the layer, which has no bias (DeBERTa); or "trigrams", the
            vectors of the next, this and the last token side by side (Sun et al. 2020, MobileBERT).
        num_tasks: the number of tasks that the model was pre-trained on at once (Sun et al. 2020, ERNIE 2.0). Each
            token gets the vector of the first task; 0 for no task embeddings.
        token_dropout: a `TokenDropout` record for models whose masked tokens have no vector, or None.
        zero_id: the id of a token whose vector is zero, whatever the table holds: the start token of Marian. None if
            all tokens have vectors.
        padding_id: the id that the Keras mask of the output hides; None for no mask.
        embeddings_initializer: a Keras initializer, or pre-trained word vectors `[V, E]`.
        trainable_embeddings: False freezes the token embeddings. Setting `trainable` of a whole model resets this;
            freeze `layer.token` again then.
        token: the `token` layer of other embeddings `[V, E]`, to share it; by default this layer has its own.

    Call arguments: `token_ids`, int32 `[B, T]`, each in `[0, V)`; `segment_ids`, int32 `[B, T]`, all 0 by default;
        `offset`, the position of the first token in its row; `starts`, int32 `[B, 1]` or `[B, T]`, the position at
        which the text of each token begins, if not at the beginning of the row.

    Returns: `[B, T, D]`.

    Raises:
        ValueError: if the input is longer than the positions, the word vectors have another shape, both `max_length`
            and `positions` are given, or `projected="tokens"` without an `embedding_dim`.

    Example:
        >>> PositionalEmbedding(vocabulary_size=100, hidden_dim=32, max_length=16)(np.ones((2, 5), "int32")).shape
        (2, 5, 32)
    """

    _transient = ("embeddings_initializer", "token")

    def __init__(
        self,
        vocabulary_size: int,
        hidden_dim: int,
        max_length: int | None = None,
        *,
        positions: AbsolutePositions | None = None,
        scale: bool = True,
        norm: Norm | None = None,
        dropout: float = 0.0,
        num_segments: int = 0,
        embedding_dim: int | None = None,
        projected: str = "sum",
        num_tasks: int = 0,
        token_dropout: TokenDropout | None = None,
        zero_id: int | None = None,
        padding_id: int | None = None,
        embeddings_initializer: typing.Any = None,
        trainable_embeddings: bool = True,
        token: keras.layers.Layer | None = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # token ids given as floats must not be rounded
        if max_length is not None and positions is not None:
            raise ValueError(f"Expected max_length or positions, got both: {max_length=}, {positions=}.")
        EmbeddingsConfig(vocabulary_size, embedding_dim=embedding_dim, projected=projected)  # checks the arguments
        self.vocabulary_size = vocabulary_size
        self.hidden_dim = hidden_dim
        self.positions = Sinusoidal(max_length) if max_length is not None else positions
        self.scale = scale
        self.padding_id = padding_id
        self.embedding_dim = embedding_dim or hidden_dim
        self._sum_dim = hidden_dim if projected in ("tokens", "trigrams") else self.embedding_dim
        self._trigrams = projected == "trigrams"
        self._norm_dim = hidden_dim if projected == "sum_before_norm" else self._sum_dim
        self.token_dropout = token_dropout
        self.zero_id = zero_id
        self._check_padding()
        options = {"dtype": self.dtype_policy}
        if token is None:
            token = keras.layers.ReversibleEmbedding(
                vocabulary_size,
                self.embedding_dim,
                embeddings_initializer=self._initializer(embeddings_initializer),
                name="token",
                **options,
            )
            token.trainable = trainable_embeddings
            token.supports_masking = True  # the inputs of a tied head may carry a mask
        self.token = token
        self.position, self._table = self._position_tables(options)
        self.segment = self.task = self.projection = self.token_projection = None
        if num_segments:
            self.segment = keras.layers.Embedding(num_segments, self._sum_dim, name="segment", **options)
        if num_tasks:
            self.task = keras.layers.Embedding(num_tasks, self._sum_dim, name="task", **options)
        if embedding_dim is not None and projected in ("tokens", "trigrams"):
            use_bias = projected == "trigrams"
            self.token_projection = keras.layers.Dense(
                hidden_dim, use_bias=use_bias, name="token_projection", **options
            )
        elif embedding_dim is not None:
            use_bias = projected == "sum"
            self.projection = keras.layers.Dense(hidden_dim, use_bias=use_bias, name="projection", **options)
        self._projects_first = projected == "sum_before_norm"
        self.norm = None if norm is None else make_norm(norm, name="norm", **options)
        self.dropout = Dropout(dropout, name="dropout", **options) if dropout else None

    def _check_padding(self) -> None:
        """Refuse records that leave padding out, without an id by which it is known."""
        skips = self.positions if getattr(self.positions, "skip_padding", False) else None
        for counts_tokens in (skips, self.token_dropout):
            if counts_tokens is not None and self.padding_id is None:
                raise ValueError(f"Expected a padding_id, which {counts_tokens} does not count, got None.")

    def _position_tables(self, options: dict[str, typing.Any]) -> tuple[keras.layers.Embedding | None, Tensor]:
        """The layer of learned positions, or the table of sines; None in place of the others."""
        positions = self.positions
        if not isinstance(positions, Learned | Sinusoidal):
            return None, None
        rows = positions.offset + positions.max_length
        if isinstance(positions, Learned):
            return keras.layers.Embedding(rows, self._sum_dim, name="position", **options), None
        table = sinusoids(rows, self._sum_dim, positions.layout, positions.endpoint)
        if positions.skip_padding:
            table[positions.offset - 1] = 0
        return None, arrays.fixed(table)

    def _initializer(self, given: typing.Any) -> typing.Any:
        if given is None:  # token vectors have unit length after scaling by √D
            return keras.initializers.RandomNormal(stddev=self.embedding_dim**-0.5)
        if isinstance(given, (str, dict, keras.initializers.Initializer)):
            return keras.initializers.get(given)
        vectors = np.asarray(given)
        if vectors.shape != (self.vocabulary_size, self.embedding_dim):
            raise ValueError(
                "Expected word vectors of shape [vocabulary_size, embedding_dim] = "
                f"[{self.vocabulary_size}, {self.embedding_dim}], got {list(vectors.shape)}."
            )
        return lambda shape, dtype=None: ops.convert_to_tensor(vectors, dtype)

    def build(self, token_ids_shape: Shape | None = None) -> None:
        for table in (self.token, self.position, self.segment, self.task):
            if table is not None and not table.built:  # a shared token layer may be built already
                table.build()
        widths = (
            (self.token_projection, self.embedding_dim * (3 if self._trigrams else 1)),
            (self.norm, self._norm_dim),
            (self.projection, self._sum_dim),
        )
        for layer, width in widths:
            if layer is not None:
                layer.build((None, None, width))

    def compute_mask(self, token_ids: Tensor, previous_mask: Tensor = None) -> Tensor:
        return previous_mask if self.padding_id is None else ops.not_equal(token_ids, self.padding_id)

    def compute_output_spec(
        self,
        token_ids: Tensor,
        segment_ids: Tensor = None,
        offset: Tensor = 0,
        starts: Tensor = None,
        training: bool | None = None,
    ) -> keras.KerasTensor:
        if starts is None:
            self._check_length(token_ids.shape[1], offset)
        return keras.KerasTensor((*token_ids.shape, self.hidden_dim), dtype=self.compute_dtype)

    def _check_length(self, length: typing.Any, offset: Tensor) -> None:
        """Refuse more tokens than positions, if both numbers are known."""
        longest = None if self.positions is None else self.positions.max_length
        known = isinstance(length, int) and isinstance(offset, int) and longest is not None
        if known and offset + length > longest:
            raise ValueError(
                f"Expected at most {longest} tokens, the longest this model has positions for, got "
                f"{offset + length}. Shorten the input, or build the model with a larger max_length."
            )

    def _table_beside(self, x: Tensor) -> Tensor:
        """The table of sines on the device of `x`. It is then kept there."""
        table = arrays.beside(self._table, x)
        if table is not self._table:
            self._table = table
        return table

    def _positions(self, token_ids: Tensor, offset: Tensor, starts: Tensor) -> Tensor:
        """The positions of `token_ids [B, T]` in their texts: `[1, T]`, or `[B, T]` with starts."""
        positions = positions_of(ops.shape(token_ids)[1], offset)
        return positions if starts is None else ops.maximum(positions - starts, 0)

    def _rows(self, positions: AbsolutePositions, token_ids: Tensor, offset: Tensor, starts: Tensor) -> Tensor:
        """The rows of the position table for `token_ids [B, T]`: `[1, T]`, or `[B, T]` with starts or if padding is not
        counted."""
        before = positions.offset
        if not positions.skip_padding:
            return self._positions(token_ids, offset, starts) + before
        real = ops.cast(ops.not_equal(token_ids, self.padding_id), "int32")
        return ops.where(real, ops.cumsum(real, axis=1) + offset, 0) + (before - 1)

    def _position_vectors(
        self, positions: AbsolutePositions, x: Tensor, token_ids: Tensor, offset: Tensor, starts: Tensor
    ) -> Tensor:
        """The vectors of the positions of `token_ids [B, T]`, in the dtype of `x`: `[T, E]`, `[1, T, E]` or
        `[B, T, E]`."""
        length, longest = ops.shape(token_ids)[1], positions.max_length
        known = isinstance(length, int) and isinstance(offset, int) and starts is None
        # On PyTorch, Keras traces a layer of unknown length with 83 and 89 tokens, only to learn shapes.
        beyond = known and offset + length > longest
        if beyond and not in_symbolic_scope():
            self._check_length(length, offset)
        if known and not beyond and self.position is None and not positions.skip_padding:
            begin = positions.offset + offset
            return ops.convert_to_tensor(self._table_beside(x)[begin : begin + length], x.dtype)
        rows = ops.zeros_like(token_ids[:1]) if beyond else self._rows(positions, token_ids, offset, starts)
        if self.position is not None:
            vectors = self.position(rows)
        else:
            vectors = ops.take(ops.convert_to_tensor(self._table_beside(x), x.dtype), rows, axis=0)
        if known:
            return vectors
        # Compiled code would silently use the last position instead.
        there = ops.expand_dims(self._positions(token_ids, offset, starts) < longest, -1)
        return ops.where(there, vectors, float("nan"))

    def _without_masked(self, x: Tensor, token_ids: Tensor, dropout: TokenDropout) -> Tensor:
        """The vectors `x [B, T, E]` of tokens, scaled as `TokenDropout` says."""
        masked_BT = ops.equal(token_ids, dropout.mask_id)
        counts = (masked_BT, ops.not_equal(token_ids, self.padding_id))
        masked_B1, real_B1 = (ops.sum(ops.cast(each, "float32"), axis=1, keepdims=True) for each in counts)
        scale_B1 = (1.0 - dropout.rate) / (1.0 - masked_B1 / ops.maximum(real_B1, 1.0))
        return x * ops.cast(ops.where(masked_BT, 0.0, scale_B1), x.dtype)[:, :, None]

    def call(
        self,
        token_ids: Tensor,
        segment_ids: Tensor = None,
        offset: Tensor = 0,
        starts: Tensor = None,
        training: bool | None = None,
    ) -> Tensor:
        token_ids = ops.cast(token_ids, "int32")
        x = products.vectors(self.token, token_ids)
        if self.scale:
            x = x * ops.cast(self.embedding_dim**0.5, x.dtype)
        if self.token_dropout is not None:
            x = self._without_masked(x, token_ids, self.token_dropout)
        if self.zero_id is not None:
            x = arrays.where((token_ids != self.zero_id)[:, :, None], x, ops.zeros_like(x))
        if self._trigrams:
            x = ops.concatenate([_moved(x, -1), x, _moved(x, 1)], axis=-1)
        if self.token_projection is not None:
            x = self.token_projection(x)
        if self.segment is not None:
            x = x + self.segment(ops.zeros_like(token_ids[:1]) if segment_ids is None else segment_ids)
        if self.task is not None:
            x = x + self.task(ops.zeros_like(token_ids[:1]))
        if self.positions is not None:
            x = x + self._position_vectors(self.positions, x, token_ids, offset, starts)
        if self.projection is not None and self._projects_first:
            x = self.projection(x)
        if self.norm is not None:
            x = self.norm(x)
        if self.dropout is not None:
            x = self.dropout(x, training=training)
        return x if self.projection is None or self._projects_first else self.projection(x)


def _moved(x: Tensor, places: int) -> Tensor:
    """`x [B, T, E]` moved by one place to the right or the left, with zeros at the end of the row."""
    if places > 0:
        return ops.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))
    return ops.pad(x[:, 1:], ((0, 0), (0, 1), (0, 0)))
