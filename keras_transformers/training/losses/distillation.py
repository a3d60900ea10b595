"""Distillation of a cross-encoder: its scores of a text with each candidate are the targets of the vectors.

Legend: `B` rows, `K` candidates of a row: its positive and its hard negatives.
"""

from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.records import Positive, record
from keras_transformers.training.losses.vectors import Vectors, check_measure, count_texts, pairwise, score_shape

_MEASURES = ("dot", "cosine")


@record
class MarginMSE:
    """The squared error of the margin between the positive and each hard negative of a text.

    Scores are those of the teacher, for the positive and each negative; or the margins themselves, one for each
    negative.

    Attributes:
        measure: how two vectors are compared: "dot" or "cosine".

    Source: Hofstätter et al. 2020. `MarginMSELoss` of sentence-transformers.
    """

    measure: str = "dot"

    scored = True

    def __post_init__(self) -> None:
        check_measure("MarginMSE", self.measure, _MEASURES)

    def __call__(self, batch: Vectors) -> Tensor:
        """The loss of each row, float32 `[B]`."""
        count = batch.vectors.shape[1]
        count_texts("MarginMSE", count, 3)
        wanted = "one for the positive and each negative, or a margin for each negative"
        scores = score_shape("MarginMSE", batch.scores, wanted, count - 1, count - 2)
        margins = scores[:, :1] - scores[:, 1:] if scores.shape[1] == count - 1 else scores
        similarities_BK = _of_candidates(batch, self.measure)
        return ops.mean(ops.square(similarities_BK[:, :1] - similarities_BK[:, 1:] - margins), axis=-1)


@record
class Distillation:
    """The Kullback-Leibler divergence of the probabilities of the candidates of a text from those of the teacher.

    Scores are those of the teacher, for the positive and each hard negative.

    Attributes:
        temperature: the divisor of the scores of the teacher and of the similarities.
        measure: how two vectors are compared: "dot" or "cosine".

    Source: Lin et al. 2020; Hinton et al. 2015, section 2. `DistillKLDivLoss` of sentence-transformers.
    """

    temperature: Positive = 1.0
    measure: str = "dot"

    scored = True

    def __post_init__(self) -> None:
        check_measure("Distillation", self.measure, _MEASURES)

    def __call__(self, batch: Vectors) -> Tensor:
        """The loss of each row, float32 `[B]`."""
        count = batch.vectors.shape[1]
        count_texts("Distillation", count, 3)
        scores = score_shape("Distillation", batch.scores, "one for the positive and each negative", count - 1)
        similarities_BK = _of_candidates(batch, self.measure)
        taught, learnt = (ops.log_softmax(each / self.temperature, axis=-1) for each in (scores, similarities_BK))
        return ops.sum(ops.exp(taught) * (taught - learnt), axis=-1) * self.temperature**2


def _of_candidates(batch: Vectors, measure: str) -> Tensor:
    """The similarity of each text to its own candidates, float32 `[B, K]`."""
    return pairwise(batch.vectors[:, :1], batch.vectors[:, 1:], measure)
