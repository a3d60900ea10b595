"""Disentangled attention (He et al. 2021, DeBERTa): contents are compared with relative positions, too.

    score[t, s] =   query[t] · key[s]                        content to content
                  + query[t] · position_key[t - s]           content to position
                  + key[s]   · position_query[t - s]         position to content

A stack computes one vector for each distance `t - s`, once for all of its layers. Each attention projects these vectors
to its position keys and queries. Products with them have one column for each distance, and row `t` needs those from
distance `t` to `t - S + 1`. Read as rows that are shorter by one, the columns are keys, so that nothing is gathered:

    T = S = 3     distance  2  1  0 -1 -2  .             S = 3 columns of rows of T + S - 1
    query 0                 .  .  a  b  c  .             a  b  c  .  .
    query 1                 .  d  e  f  .  .     ─►      d  e  f  .  .
    query 2                 g  h  i  .  .  .             g  h  i

Legend: `B` batch, `N` heads, `T` query length, `S` key length, `W` distances (`T + S`), `D` model width, `H` head
width.
"""

import math
import typing

import keras
import numpy as np
from keras import ops

from keras_transformers.backends import arrays
from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.layer import Layer
from keras_transformers.layers.norms import Norm, make_norm
from keras_transformers.records import Rate, Size, record
from keras_transformers.spelling import did_you_mean

TERMS = ("both", "content_to_position", "position_to_content")


@record
class DistanceTable:
    """Trained vectors for the distances between a query and a key.

    Attributes:
        max_distance: the distance in either direction from which on all distances share a vector.
        num_buckets: the number of vectors in each direction, an even number: half of them are for one distance each,
            the others for ranges that grow logarithmically up to `max_distance`. None for one vector for each distance.
        norm: a norm of the vectors, or None.

    Source: He et al. 2021, section 3.1; with buckets, `make_log_bucket_position` of the authors' code.
    """

    max_distance: Size = 512
    num_buckets: Size | None = None
    norm: Norm | None = None

    def __post_init__(self) -> None:
        buckets = self.num_buckets
        if buckets is not None and (buckets < 4 or buckets % 2 or self.max_distance <= buckets // 2 + 1):
            raise ValueError(
                "Expected an even num_buckets of at least 4 and a max_distance of at least its half and two, got "
                f"num_buckets={buckets}, max_distance={self.max_distance}."
            )

    @property
    def num_vectors(self) -> int:
        """The number of vectors in both directions."""
        return 2 * (self.num_buckets or self.max_distance)

    def rows(self) -> np.ndarray:
        """The row of the table for each distance from `-max_distance` to `max_distance`: int32."""
        distance = np.arange(self.max_distance + 1)
        if self.num_buckets is not None:
            half = self.num_buckets // 2
            beyond = np.maximum(distance, half).astype("float32") / np.float32(half)
            longest = np.log(np.float32((self.max_distance - 1) / half))
            distance = np.where(distance <= half, distance, np.ceil(np.log(beyond) / longest * (half - 1)) + half)
        both = np.concatenate([-distance[:0:-1], distance]).astype("int32")
        return np.clip(both + self.num_vectors // 2, 0, self.num_vectors - 1)


@record
class Disentangled:
    """Positions of disentangled attention (He et al. 2021, DeBERTa).

    Attributes:
        table: the vectors of distances. None if a stack gives them, which is for the attentions in its blocks.
        terms: "both" terms with positions, only "content_to_position" or only "position_to_content".
        shared_projections: whether the projections of queries and keys project the vectors too; otherwise there are
            two more projections.
        dropout: share of the vectors dropped in training.
    """

    table: DistanceTable | None = None
    terms: str = "both"
    shared_projections: bool = False
    dropout: Rate = 0.0

    def __post_init__(self) -> None:
        if self.terms not in TERMS:
            raise ValueError(
                f"Expected terms to be one of {', '.join(TERMS)}, got {self.terms!r}{did_you_mean(self.terms, TERMS)}."
            )


@keras.saving.register_keras_serializable("keras_transformers")
class DistanceVectors(Layer):
    """The vectors of a `DistanceTable` for the distances between queries and keys.

    Args:
        table: a `DistanceTable`.
        hidden_dim: `D`.

    Call arguments: int32 query positions `[1, T]` and key positions `[1, S]`, both ascending by one.

    Returns: `[W, D]`, from the largest distance (last query, first key) down; the last vector is not needed.
    """

    gives_distances = True  # for `self_scope`, which also sees views of layers (backends/torch/direct.py)

    def __init__(self, table: DistanceTable, hidden_dim: int, **kwargs: typing.Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.table = table
        self.hidden_dim = hidden_dim
        self.norm = None if table.norm is None else make_norm(table.norm, dtype=self.dtype_policy, name="norm")

    def build(self, *shapes: Shape) -> None:
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.table.num_vectors, self.hidden_dim),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
        )
        if self.norm is not None:
            self.norm.build((None, self.hidden_dim))

    def compute_output_spec(self, query_positions: Tensor, key_positions: Tensor) -> keras.KerasTensor:
        lengths = query_positions.shape[1], key_positions.shape[1]
        width = None if None in lengths else sum(lengths)
        return keras.KerasTensor((width, self.hidden_dim), dtype=self.compute_dtype)

    def call(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        width = ops.shape(query_positions)[1] + ops.shape(key_positions)[1]
        longest = query_positions[0, -1] - key_positions[0, 0]
        distances = longest - ops.arange(width, dtype="int32")
        most = self.table.max_distance
        rows = ops.take(arrays.constant(self.table.rows(), distances), ops.clip(distances, -most, most) + most)
        vectors = ops.cast(self.embeddings, self.compute_dtype)
        return ops.take(vectors if self.norm is None else self.norm(vectors), rows, axis=0)


def position_scores(
    query_BNTH: Tensor, key_BNSH: Tensor, position_key_NWH: Tensor | None, position_query_NWH: Tensor | None
) -> Tensor:
    """The terms with positions: `[B, N, T, S]`.

    Args:
        query_BNTH, key_BNSH: queries and keys of contents.
        position_key_NWH: keys of positions, as `DistanceVectors` orders them; None without content to position.
        position_query_NWH: queries of positions likewise; None without position to content.
    """
    length, key_length = ops.shape(query_BNTH)[2], ops.shape(key_BNSH)[2]
    scores = []
    if position_key_NWH is not None:
        by_distance = ops.matmul(query_BNTH, ops.swapaxes(position_key_NWH, 1, 2))
        scores.append(by_place(by_distance, length - 1, key_length))
    if position_query_NWH is not None:
        ascending = ops.flip(position_query_NWH, axis=1)  # the row of a key needs its queries in order
        by_distance = ops.matmul(key_BNSH, ops.swapaxes(ascending, 1, 2))
        scores.append(ops.swapaxes(by_place(by_distance, key_length, length), 2, 3))
    return scores[0] if len(scores) == 1 else scores[0] + scores[1]


def by_place(x_BNTW: Tensor, first: Tensor, places: Tensor) -> Tensor:
    """Columns of distances as columns of places: `[B, N, T, places]`. Row 0 begins at column `first`, and each row
    begins one column before the last."""
    batch, heads, length, width = ops.shape(x_BNTW)
    flat = ops.reshape(x_BNTW, (batch, heads, length * width))[..., first : first + length * (width - 1)]
    return ops.reshape(flat, (batch, heads, length, width - 1))[..., :places]


def default_scale(positions: Disentangled, head_dim: int) -> float:
    """The factor of the scores, whose variance grows with the number of terms (He et al. 2021, equation 4)."""
    return 1 / math.sqrt(head_dim * (3 if positions.terms == "both" else 2))
