"""Vectors of texts in a loss: one batch, and how two vectors are compared.

Legend: `B` rows, `C` texts of a row, `D` width, `T` and `S` tokens, `M` candidates.
"""

import typing

from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.spelling import did_you_mean

LEAST = -1e9  # the similarity of a candidate that is left out


class Vectors(typing.NamedTuple):
    """One batch of a loss.

    Attributes:
        vectors: float32 `[B, C, D]`: of each row its text, the positive of the text, and then its hard negatives. With
            a vector for each token `[B, C, T, D]`.
        scores: float32 `[B]` or `[B, K]`: the given scores, or None.
        weight: float32 `[B]`, 0 for a row that only fills the batch, or None.
        left_out: bool `[B, M]`: which candidates are no true negatives of a text, or None. Candidates are the positives
            of all rows, then their first hard negatives, and so on.
        mask: bool `[B, C, T]`, True for a token, or None without tokens.
    """

    vectors: Tensor
    scores: Tensor = None
    weight: Tensor = None
    left_out: Tensor = None
    mask: Tensor = None

    @property
    def row_weight(self) -> Tensor:
        """The weights of the rows, float32 `[B]`; 1 if there are none."""
        if self.weight is None:
            return ops.ones(ops.shape(self.vectors)[:1], "float32")
        return ops.cast(self.weight, "float32")


def normalized(vectors: Tensor) -> Tensor:
    """Scale vectors to length 1, float32. Zeros stay zeros, as in `torch.nn.functional.normalize`."""
    vectors = ops.cast(vectors, "float32")
    return vectors / ops.maximum(ops.sqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True)), 1e-12)


def table(texts: Tensor, candidates: Tensor, measure: str) -> Tensor:
    """The similarity of each text to each candidate, float32 `[B, M]`.

    Args:
        texts, candidates: `[B, D]` and `[M, D]`.
        measure: "cosine" or "dot".
    """
    if measure == "cosine":
        texts, candidates = normalized(texts), normalized(candidates)
    return ops.matmul(texts, ops.transpose(candidates))


def pairwise(one: Tensor, other: Tensor, measure: str) -> Tensor:
    """The similarity of the vectors in the same places, float32 `[…]`.

    Args:
        one, other: `[…, D]`.
        measure: "cosine", "dot", or the negative distance "euclidean" or "manhattan".
    """
    if measure == "manhattan":
        return -ops.sum(ops.abs(one - other), axis=-1)
    if measure == "euclidean":
        squares = ops.sum(ops.square(one - other), axis=-1)
        apart = squares > 0  # the slope of a root has no limit at 0
        return -ops.where(apart, ops.sqrt(ops.where(apart, squares, 1.0)), 0.0)
    if measure == "cosine":
        one, other = normalized(one), normalized(other)
    return ops.sum(one * other, axis=-1)


def candidates(vectors: Tensor) -> Tensor:
    """The positives and hard negatives of all rows `[(C - 1) B, …]`: all positives, then all first negatives, …"""
    others = ops.swapaxes(vectors[:, 1:], 0, 1)
    return ops.reshape(others, (-1, *ops.shape(others)[2:]))


def check_measure(name: str, measure: str, known: tuple[str, ...]) -> None:
    """Refuse a measure that a loss does not know."""
    if measure not in known:
        raise ValueError(
            f"Expected measure of {name} to be one of {', '.join(known)}, got {measure!r}"
            f"{did_you_mean(measure, known)}."
        )


def count_texts(name: str, count: int, least: int, most: int | None = None) -> None:
    """Refuse rows with fewer or more texts than a loss compares."""
    wanted = f"{least}" if most == least else f"at least {least}"
    if count < least or most is not None and count > most:
        raise ValueError(
            f"Expected {wanted} texts in each row for {name} (a text, its positive, its hard negatives), got {count}. "
            "Hard negatives are the columns negative, negative_2 and so on of a table."
        )


def score_shape(name: str, scores: Tensor, shapes: str, *known: int) -> Tensor:
    """Scores as `[B, K]`, for one of the numbers `K` that are `known`.

    Args:
        name: the loss, for messages.
        scores: `[B]`, `[B, K]` or None.
        shapes: the known numbers in words.
    """
    if scores is None:
        raise ValueError(f"Expected scores for {name}: {shapes}, got none. Pass y, or a column `score`.")
    scores = ops.cast(scores, "float32")
    scores = scores[:, None] if len(scores.shape) == 1 else scores
    if scores.shape[1] not in known:
        raise ValueError(f"Expected scores for {name}: {shapes}, got {scores.shape[1]} for each row.")
    return scores
