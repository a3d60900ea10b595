"""Losses that wrap another one: shorter vectors too, sparse vectors, and large batches in little memory."""

import typing

from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.records import Positive, Size, is_record, record
from keras_transformers.training.losses.vectors import Vectors, candidates, normalized


@record
class Matryoshka:
    """A loss of the whole vectors and of their first numbers, so that vectors may be cut short.

    Attributes:
        loss: the loss that is wrapped.
        dims: the widths, such as `(768, 256, 64)`. Give the width of the model too.
        weights: the weight of each width; 1 by default.

    Source: Kusupati et al. 2022. `MatryoshkaLoss` of sentence-transformers.
    """

    loss: typing.Any
    dims: tuple[Size, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _check_loss(self)
        if not self.dims or len(self.weights) not in (0, len(self.dims)):
            raise ValueError(
                f"Expected dims of at least one width, and as many weights or none, got {self.dims} and {self.weights}."
            )

    @property
    def scored(self) -> bool:
        return self.loss.scored

    def __call__(self, batch: Vectors) -> Tensor:
        """The loss of each row, float32 `[B]`."""
        width = batch.vectors.shape[-1]
        if max(self.dims) > width:
            raise ValueError(f"Expected dims of at most the {width} of the vectors, got {max(self.dims)}.")
        total = 0.0
        for dim, weight in zip(self.dims, self.weights or [1.0] * len(self.dims), strict=True):
            total = total + weight * self.loss(batch._replace(vectors=normalized(batch.vectors[..., :dim])))
        return total


@record
class Flops:
    """A loss of sparse vectors, plus a term that keeps them sparse: the expected number of products in a search.

        weight · Σ (mean of number d over the texts of the batch)²          over all places d of a vector

    Attributes:
        loss: the loss that is wrapped, such as `InBatchNegatives(scale=1.0, measure="dot")`.
        document_weight: the weight of the term of positives and hard negatives.
        query_weight: the weight of the term of the first texts; None for no such term (queries without inference).

    Source: Paria et al. 2020, section 3; Formal et al. 2021. `SpladeLoss` of sentence-transformers.
    """

    loss: typing.Any
    document_weight: Positive
    query_weight: Positive | None = None

    def __post_init__(self) -> None:
        _check_loss(self)

    @property
    def scored(self) -> bool:
        return self.loss.scored

    def __call__(self, batch: Vectors) -> Tensor:
        """The loss of each row, float32 `[B]`."""
        weight = batch.row_weight
        documents = ops.tile(weight, (batch.vectors.shape[1] - 1,))
        total = self.loss(batch) + self.document_weight * flops(candidates(batch.vectors), documents)
        if self.query_weight is not None:
            total = total + self.query_weight * flops(batch.vectors[:, 0], weight)
        return total


def flops(vectors: Tensor, weight: Tensor) -> Tensor:
    """The sum of the squared weighted means of each column, a scalar. `vectors [N, D]`, `weight [N]`."""
    total = ops.maximum(ops.sum(weight), 1e-12)
    return ops.sum(ops.square(ops.sum(vectors * weight[:, None], axis=0) / total))


@record
class Cached:
    """A loss of a large batch in the memory of a small one. The gradients are those of the whole batch.

    Texts are encoded in parts. The backward pass encodes each part again, so that only the activations of one part are
    held. A step takes about a third longer.

    Attributes:
        loss: the loss that is wrapped.
        mini_batch_size: the number of rows of a part.

    Example:
        >>> embedder.compile(loss=kt.losses.Cached(kt.losses.InBatchNegatives(), mini_batch_size=32))
        >>> embedder.fit(pairs, batch_size=2048)

    Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".
    `CachedMultipleNegativesRankingLoss` of sentence-transformers.
    """

    loss: typing.Any
    mini_batch_size: Size = 32

    def __post_init__(self) -> None:
        _check_loss(self)

    @property
    def scored(self) -> bool:
        return self.loss.scored

    def __call__(self, batch: Vectors) -> Tensor:
        """The loss of each row, float32 `[B]`."""
        return self.loss(batch)


def _check_loss(wrapper: typing.Any) -> None:
    """Refuse a value that is no loss record. `Cached` stands outside of the others, since it concerns the encoder."""
    check_loss(wrapper.loss)
    if isinstance(wrapper.loss, Cached):
        raise ValueError(
            f"Expected Cached around {type(wrapper).__name__}, got it inside: Cached({type(wrapper).__name__}(…)) "
            "encodes the texts in parts once for all."
        )


def check_loss(loss: typing.Any) -> None:
    """Refuse a value that is no loss of vectors."""
    if not is_record(loss) or not callable(loss) or not hasattr(loss, "scored"):
        raise TypeError(
            f"Expected a loss of vectors, such as kt.losses.InBatchNegatives(), got {loss!r:.80}. Losses of Keras do "
            "not see which texts of a batch belong together."
        )


def innermost(loss: typing.Any) -> typing.Any:
    """The loss inside all wrappers."""
    while hasattr(loss, "loss"):
        loss = loss.loss
    return loss
