"""Attention that compares queries with the sinusoids of distances (Dai et al. 2019, Transformer-XL), and with whether a
key is of the same segment (Yang et al. 2019, XLNet).

    score[t, s] =   (query[t] + content_bias)  · key[s]
                  + (query[t] + position_bias) · position_key[t - s]
                  + (query[t] + segment_bias)  · segment_key[0 if both are of one segment, else 1]

Products with the position keys have one column for each distance, and become columns of places as in `disentangled.py`.

Legend: `B` batch, `N` heads, `T` query length, `S` key length, `W` distances (`T + S`), `D` model width, `H` head
width.
"""

import typing

import keras
import numpy as np
from keras import ops

from keras_transformers.backends import arrays, attention
from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.disentangled import by_place
from keras_transformers.layers.layer import Layer
from keras_transformers.records import Size, record


@record
class RelativeSinusoids:
    """Positions of Transformer-XL, and segments of XLNet.

    `max_distance`: the distance in either direction from which on all distances are the same; None for no such limit.
    """

    max_distance: Size | None = None


@keras.saving.register_keras_serializable("keras_transformers")
class RelativeScores(Layer):
    """The scores of a `RelativeSinusoids` record, without those of queries and keys alone.

    Args:
        positions: a `RelativeSinusoids` record.
        num_heads, head_dim, hidden_dim: `N`, `H` and `D`.

    Call arguments: `query [B, N, T, H]`, `key [B, N, S, H]`; `same`, bool `[B|1, T, S]`, True where query and key are
    of one segment, or None if all are.

    Returns: `[B, N, T, S]`, not scaled.

    Source: Dai et al. 2019, section 3.3; Yang et al. 2019, section 2.5.
    """

    def __init__(
        self, positions: RelativeSinusoids, num_heads: int, head_dim: int, hidden_dim: int, **kwargs: typing.Any
    ) -> None:
        super().__init__(**kwargs)
        self.positions = positions
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.hidden_dim = hidden_dim
        options = {"dtype": self.dtype_policy}
        width = num_heads * head_dim
        self.position_key = keras.layers.Dense(width, use_bias=False, name="position_key", **options)
        self.content_bias = keras.layers.Embedding(num_heads, head_dim, name="content_bias", **options)
        self.position_bias = keras.layers.Embedding(num_heads, head_dim, name="position_bias", **options)
        self.segment_bias = keras.layers.Embedding(num_heads, head_dim, name="segment_bias", **options)
        self.segment_key = keras.layers.Embedding(2, width, name="segment_key", **options)

    def build(self, *shapes: Shape) -> None:
        self.position_key.build((None, self.hidden_dim))
        for table in (self.content_bias, self.position_bias, self.segment_bias, self.segment_key):
            table.build()

    def compute_output_spec(self, query: Tensor, key: Tensor, same: Tensor = None) -> keras.KerasTensor:
        return keras.KerasTensor((*query.shape[:3], key.shape[2]), dtype=self.compute_dtype)

    def _position_keys(self, length: Tensor, key_length: Tensor, dtype: str) -> Tensor:
        """The keys of the distances from `T - 1` down to `-S`: `[N, W, H]`."""
        distances = length - 1 - ops.arange(length + key_length, dtype="int32")
        most = self.positions.max_distance
        distances = distances if most is None else ops.clip(distances, -most, most)
        frequencies = 10000.0 ** (-np.arange(0, self.hidden_dim, 2) / self.hidden_dim)
        frequencies = arrays.constant(frequencies.astype("float32"), distances)
        angles = ops.cast(distances, "float32")[:, None] * frequencies
        sinusoids = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)
        return attention.split_heads(self.position_key(ops.cast(sinusoids, dtype)[None]), self.num_heads)[0]

    def call(self, query: Tensor, key: Tensor, same: Tensor = None) -> Tensor:
        length, key_length, dtype = ops.shape(query)[2], ops.shape(key)[2], query.dtype
        content = ops.matmul(self._of_heads(self.content_bias), ops.swapaxes(key, 2, 3))
        position_keys = self._position_keys(length, key_length, dtype)
        by_distance = ops.matmul(query + self._of_heads(self.position_bias), ops.swapaxes(position_keys, 1, 2))
        scores = content + by_place(by_distance, length - 1, key_length)
        if same is None:  # one number more for all keys of a query changes no weight
            return scores
        segment_key = self.segment_key(ops.arange(2, dtype="int32"))
        segment_key = ops.reshape(segment_key, (2, self.num_heads, self.head_dim))
        segment_key = ops.transpose(segment_key, (1, 2, 0))
        by_segment = ops.matmul(query + self._of_heads(self.segment_bias), segment_key)
        return scores + ops.where(same[:, None], by_segment[..., :1], by_segment[..., 1:])

    def _of_heads(self, bias: keras.layers.Embedding) -> Tensor:
        """A bias of each head: `[N, 1, H]`."""
        return bias(ops.arange(self.num_heads, dtype="int32"))[:, None]
