"""The loss of pairs of texts with a score for each: pairs with a higher score should be more similar."""

from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.records import Positive, record
from keras_transformers.training.losses.vectors import Vectors, count_texts, pairwise, score_shape


@record
class CoSENT:
    """For pairs with a score each: of every two pairs of the batch, the one with the higher score should have the
    higher cosine.

        log(1 + Σ exp(scale · (cosine of pair j - cosine of pair i)))       over all i, j with score i > score j

    A pair of weight 2 counts as if it stood in the batch twice.

    Attributes:
        scale: the factor of the cosines.

    Example:
        >>> embedder.compile(loss=kt.losses.CoSENT())
        >>> embedder.fit({"sentence1": first, "sentence2": second, "score": scores})

    Source: https://kexue.fm/archives/8847 (Su 2022). `CoSENTLoss` of sentence-transformers.
    """

    scale: Positive = 20.0

    scored = True

    def __call__(self, batch: Vectors) -> Tensor:
        """The loss of the batch, the same for each row, float32 `[B]`."""
        count_texts("CoSENT", batch.vectors.shape[1], 2, 2)
        scores = score_shape("CoSENT", batch.scores, "a number for each pair", 1)[:, 0]
        similarities = pairwise(batch.vectors[:, 0], batch.vectors[:, 1], "cosine") * self.scale
        weight = batch.row_weight
        weights_BB = weight[:, None] * weight[None, :]
        counted_BB = ops.logical_and(scores[:, None] < scores[None, :], weights_BB > 0)
        terms_BB = similarities[:, None] - similarities[None, :] + ops.log(ops.where(counted_BB, weights_BB, 1.0))
        terms = ops.reshape(ops.where(counted_BB, terms_BB, -1e12), (-1,))
        loss = ops.logsumexp(ops.concatenate([ops.zeros((1,), "float32"), terms]))
        return loss * ops.ones_like(weight)
