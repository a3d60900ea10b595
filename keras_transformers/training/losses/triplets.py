"""The triplet loss."""

from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.records import Positive, record
from keras_transformers.training.losses.vectors import Vectors, check_measure, count_texts, pairwise


@record
class Triplet:
    """The triplet loss: the negative of a text should be farther away than its positive, by a margin.

    Attributes:
        margin: the margin.
        measure: the distance: "euclidean", "manhattan", or "cosine" (1 - cosine).

    Source: Hermans et al. 2017; Reimers and Gurevych 2019, section 3. `TripletLoss` of sentence-transformers.
    """

    margin: Positive = 5.0
    measure: str = "euclidean"

    scored = False

    def __post_init__(self) -> None:
        check_measure("Triplet", self.measure, ("euclidean", "manhattan", "cosine"))

    def __call__(self, batch: Vectors) -> Tensor:
        """The loss of each row, float32 `[B]`."""
        count_texts("Triplet", batch.vectors.shape[1], 3, 3)
        positive, negative = (pairwise(batch.vectors[:, 0], batch.vectors[:, n], self.measure) for n in (1, 2))
        return ops.relu(negative - positive + self.margin)
