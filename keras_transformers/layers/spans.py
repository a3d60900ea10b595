"""Scores of spans of words for labels that are given as vectors (GLiNER).

    words    John   lives   in   Rome          spans of at most K = 2 words: John, John lives, lives, lives in, …
    span     relu([start(first word), end(last word)]) ─► out ─► vector ─┐
    label    "person" ─────────────────────────────► label ─► vector ─┴─► inner product

Legend: `B` batch, `W` words, `K` most words of a span, `L` labels, `H` width of the vectors.
"""

import typing

import keras
from keras import ops

from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.layer import Layer, like


class TwoLayers(Layer):
    """`down(relu(up(x)))`, with an inner width of four times the output's.

    Args:
        output_dim: the width of the output.

    Shape: `[…, D]` to `[…, output_dim]`.
    """

    def __init__(self, output_dim: int, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.output_dim = output_dim
        self.up = keras.layers.Dense(4 * output_dim, "relu", dtype=self.dtype_policy, name="up")
        self.down = keras.layers.Dense(output_dim, dtype=self.dtype_policy, name="down")

    def build(self, inputs_shape: Shape) -> None:
        self.up.build(inputs_shape)
        self.down.build((*inputs_shape[:-1], 4 * self.output_dim))

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        return like(inputs, dtype=self.compute_dtype, width=self.output_dim)

    def call(self, inputs: Tensor) -> Tensor:
        return self.down(self.up(inputs))


class SpanScores(Layer):
    """Scores each span of at most `max_width` words for each label.

    Args:
        dim: `H`, the width of the vectors of words and labels.
        max_width: `K`.

    Call arguments: `words [B, W, H]`, the vectors of words; `labels [B, L, H]`, those of labels.

    Returns: logits `[B, W, K, L]`: `[b, w, k, l]` belongs to the span of the words `w` to `w + k`. Spans that extend
        beyond the last word have scores without meaning.

    Example:
        >>> scores = SpanScores(8, max_width=2)
        >>> scores(np.ones((1, 4, 8), "float32"), np.ones((1, 3, 8), "float32")).shape
        (1, 4, 2, 3)

    Source: Zaratiana et al. 2023 (GLiNER), section 2.
    """

    def __init__(self, dim: int, max_width: int, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.max_width = max_width
        self.start, self.end, self.out, self.label = (
            TwoLayers(dim, dtype=self.dtype_policy, name=name) for name in ("start", "end", "out", "label")
        )

    def build(self, words_shape: Shape, labels_shape: Shape | None = None) -> None:
        for layer in (self.start, self.end, self.label):
            layer.build((None, None, self.dim))
        self.out.build((None, None, None, 2 * self.dim))

    def compute_output_spec(self, words: Tensor, labels: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor((*words.shape[:2], self.max_width, labels.shape[1]), dtype=self.compute_dtype)

    def call(self, words: Tensor, labels: Tensor) -> Tensor:
        start_BWH, end_BWH = ops.relu(self.start(words)), ops.relu(self.end(words))
        num_words = ops.shape(words)[1]
        end_BWH = ops.pad(end_BWH, ((0, 0), (0, self.max_width - 1), (0, 0)))
        end_BWKH = ops.stack([end_BWH[:, k : k + num_words] for k in range(self.max_width)], axis=2)
        start_BWKH = ops.repeat(start_BWH[:, :, None], self.max_width, axis=2)
        spans_BWKH = self.out(ops.concatenate([start_BWKH, end_BWKH], axis=-1))
        return ops.einsum("bwkh,blh->bwkl", spans_BWKH, self.label(labels))
