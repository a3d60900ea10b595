"""Contrastive losses: the positive of a text should be more similar to it than all other candidates of the batch.

    candidates      positives of all rows        hard negatives of all rows
    text 1          ✔   ·   ·   ·                ·   ·   ·   ·
    text 2          ·   ✔   ·   ·                ·   ·   ·   ·           loss: cross-entropy of ✔ in its row

Legend: `B` rows, `C` texts of a row, `D` width, `T` and `S` tokens, `M` candidates.
"""

from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.records import Positive, record
from keras_transformers.training.losses.tokens import token_cross_entropy
from keras_transformers.training.losses.vectors import (
    LEAST,
    Vectors,
    candidates,
    check_measure,
    count_texts,
    table,
)


@record
class InBatchNegatives:
    """The contrastive loss with in-batch negatives. Equal texts of a batch are no negatives of each other.

    Rows hold a text, its positive, and any number of hard negatives.

    Attributes:
        scale: the factor of the similarities, the inverse of the temperature.
        measure: how two vectors are compared: "cosine", or "dot" (for SPLADE, with scale 1).

    Example:
        >>> embedder.compile(loss=kt.losses.InBatchNegatives(scale=50.0))
        >>> embedder.fit({"text": questions, "positive": answers, "negative": similar_answers})

    Source: van den Oord et al. 2018; Henderson et al. 2017, section 4. `MultipleNegativesRankingLoss` of
    sentence-transformers.
    """

    scale: Positive = 20.0
    measure: str = "cosine"

    scored = False

    def __post_init__(self) -> None:
        check_measure("InBatchNegatives", self.measure, ("cosine", "dot"))

    def similarities(self, batch: Vectors) -> Tensor:
        """The scaled similarity of each text to each candidate, float32 `[B, M]`."""
        similarities = table(batch.vectors[:, 0], candidates(batch.vectors), self.measure) * self.scale
        return _without(similarities, batch.left_out)

    def __call__(self, batch: Vectors) -> Tensor:
        """The loss of each row, float32 `[B]`."""
        count_texts("InBatchNegatives", batch.vectors.shape[1], 2)
        return _cross_entropy(self.similarities(batch))


@record
class MaxSim:
    """ColBERT's contrastive loss: texts are compared token by token. Each token of a text counts its largest similarity
    to a token of the candidate, and the sum is the similarity.

    Attributes:
        scale: the factor of the similarities.

    Source: Khattab and Zaharia 2020, section 3.3. `MultiVectorMultipleNegativesRankingLoss` of sentence-transformers.
    """

    scale: Positive = 1.0

    scored = False

    def similarities(self, batch: Vectors) -> Tensor:
        """The scaled similarity of each text to each candidate, float32 `[B, M]`."""
        if len(batch.vectors.shape) != 4:
            raise ValueError(
                f"Expected a vector for each token [B, C, T, D] for MaxSim, got {tuple(batch.vectors.shape)}. Use "
                "InBatchNegatives for models with one vector for each text."
            )
        mask, others = batch.mask, candidates(batch.vectors)
        known = None if mask is None else candidates(mask)
        similarities = max_similarities(batch.vectors[:, 0], others, None if mask is None else mask[:, 0], known)
        return _without(similarities * self.scale, batch.left_out)

    def __call__(self, batch: Vectors) -> Tensor:
        """The loss of each row, float32 `[B]`."""
        count_texts("MaxSim", batch.vectors.shape[1], 2)
        return _cross_entropy(self.similarities(batch))


def max_similarities(texts: Tensor, others: Tensor, mask: Tensor = None, others_mask: Tensor = None) -> Tensor:
    """MaxSim of each text with each other one: the sum over the tokens of the text of the largest dot product with a
    token of the other, float32 `[B, M]`.

    Args:
        texts, others: vectors of tokens, `[B, T, D]` and `[M, S, D]`.
        mask, others_mask: bool `[B, T]` and `[M, S]`, True for a token; None if all are.
    """
    scores_BMTS = ops.einsum("btd,msd->bmts", ops.cast(texts, "float32"), ops.cast(others, "float32"))
    if others_mask is not None:
        scores_BMTS = ops.where(others_mask[None, :, None, :], scores_BMTS, LEAST)
    largest_BMT = ops.max(scores_BMTS, axis=-1)
    if mask is not None:
        largest_BMT = ops.where(mask[:, None, :], largest_BMT, 0.0)
    return ops.sum(largest_BMT, axis=-1)


def _without(similarities: Tensor, left_out: Tensor) -> Tensor:
    return similarities if left_out is None else ops.where(left_out, LEAST, similarities)


def _cross_entropy(similarities: Tensor) -> Tensor:
    return token_cross_entropy(similarities, own_places(similarities))[0]


def own_places(similarities: Tensor) -> Tensor:
    """The number of the own positive of each text among the candidates, int32 `[B]`."""
    return ops.arange(ops.shape(similarities)[0], dtype="int32")
