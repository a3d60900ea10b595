"""The training of vectors: texts with their positives, hard negatives and scores, and a loss that compares them.

Legend: `B` batch, `C` texts of a row, `M` candidates.
"""

import re
import typing
from collections.abc import Mapping, Sequence

from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.data.examples import Examples
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Form, Source
from keras_transformers.data.text_groups import read_groups, scores_of
from keras_transformers.data.token_ids import Ids
from keras_transformers.records import from_json
from keras_transformers.tasks.encoder_task import EncoderTask
from keras_transformers.training import losses
from keras_transformers.training.duplicates import false_negatives, fingerprints
from keras_transformers.training.losses.ranking import own_places
from keras_transformers.training.losses.scored_pairs import CoSENT
from keras_transformers.training.losses.vectors import Vectors, pairwise
from keras_transformers.training.losses.wrappers import check_loss, innermost
from keras_transformers.training.metrics import TokenMean
from keras_transformers.training.optimizers import Optimizer

_NEGATIVE = re.compile(r"negative_(\d+_)?token_ids")


class VectorTraining(EncoderTask):
    """The part of a `TextEmbedder` that trains it. Abstract.

    Attributes:
        training_loss: the loss, a record of `kt.losses`.
        accuracy: the metric of losses that rank candidates: how often the own positive of a text is the best one.
    """

    training_loss: typing.Any
    accuracy: TokenMean

    def stateless_call(self, *arguments: typing.Any, **options: typing.Any) -> typing.Any:
        # On JAX, Keras treats each call of the backbone as separate: the losses of the second would replace the first.
        self._get_call_context()
        try:
            return super().stateless_call(*arguments, **options)
        finally:
            self._maybe_reset_call_context()

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """The loss that `compile` or the constructor was given, by default `kt.losses.InBatchNegatives`."""
        batch, loss = self._compared(x, y, y_pred, sample_weight), innermost(self.training_loss)
        if hasattr(loss, "similarities"):
            similarities = loss.similarities(batch)
            best = ops.cast(ops.argmax(similarities, axis=-1), "int32")
            self.accuracy.update_state(ops.cast(best == own_places(similarities), "float32"), sample_weight)
        return self.weighted_mean(self.training_loss(batch), sample_weight)

    def compile(
        self,
        optimizer: Optimizer | None = None,
        *,
        loss: typing.Any = None,
        **kwargs: typing.Any,
    ) -> None:
        """Prepare for training. Takes the arguments of `Task.compile`, and a loss.

        Args:
            optimizer: see `Task.compile`.
            loss: a record of `kt.losses`; by default the loss that the model has.
        """
        if loss is not None:
            self.training_loss = loss_of(loss)
        super().compile(optimizer, **kwargs)

    def _compared(self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor) -> Vectors:
        """One batch, as a loss sees it."""
        text, *others = (fingerprints(side["token_ids"], self.padding_mask(side)) for side in sides_of(x).values())
        left_out = false_negatives(text, others, sample_weight)
        return Vectors(ops.cast(y_pred, "float32"), y, sample_weight, left_out)

    def get_metrics_result(self) -> dict[str, typing.Any]:
        result = super().get_metrics_result()
        own = () if self._compile_metrics is None or not self._compile_metrics.built else self._compile_metrics.result()
        if not hasattr(innermost(self.training_loss), "similarities") and "accuracy" not in own:
            result.pop("accuracy", None)  # such a loss has no best candidate
        return result

    def _seen_by_metrics(
        self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor
    ) -> tuple[Tensor, Tensor, None, Tensor]:
        """The similarities of each text to the candidates of the batch, `[B, M]`, and the number of its own, `[B]`. For
        `CoSENT`, the scores and the cosines of the pairs, `[B]`."""
        batch, loss = self._compared(x, y, y_pred, sample_weight), innermost(self.training_loss)
        if isinstance(loss, CoSENT):
            return y, pairwise(batch.vectors[:, 0], batch.vectors[:, 1], "cosine"), None, sample_weight
        if not hasattr(loss, "similarities"):
            raise ValueError(
                f"Expected no metrics with the loss {type(loss).__name__}, which gives no label to compare with. "
                "Compile without, and score the model by a callback, such as kt.training.SimilarityQuality."
            )
        similarities = loss.similarities(batch)
        return own_places(similarities), similarities, None, sample_weight

    sides = ("", "positive_")

    @property
    def form(self) -> Form:  # type: ignore[override]  # it depends on the loss
        return Form(labelled=self.training_loss.scored)

    def _of_texts(self, source: Source, max_length: int | None, columns: dict[str, str] | None = None) -> Examples:
        """Examples of texts with their positives, hard negatives and scores."""
        read = read_groups(source, self.training_loss.scored, columns)
        inputs: dict[str, Ragged] = {}
        truncated = 0
        for side, texts in read.sides.items():
            columns_of_side, cut = self._encode_side(side, texts, max_length)
            inputs |= columns_of_side
            truncated += cut
        return Examples(inputs, read.scores, read.sample_weight, self.config.filler, truncated)

    def _encode_side(self, side: str, texts: Sequence[str], max_length: int | None) -> tuple[dict[str, Ragged], int]:
        """The inputs of the texts of one side, and how many of them were cut."""
        _, packed = self.encode_texts(texts, None, max_length)
        return self._columns(packed, side), packed.truncated

    def _read_ids(
        self,
        source: Source,
        columns: dict[str, str] | None = None,
        sides: Sequence[str] | None = None,
    ) -> typing.Any:
        negatives = [name.removesuffix("token_ids") for name in source.names if _NEGATIVE.fullmatch(name)]
        return super()._read_ids(source, columns, sides or (*self.sides, *sorted(negatives, key=_order)))

    def _of_ids(self, ids: Ids, max_length: int | None) -> Examples:
        for name, column in ids.columns.items():
            if name.endswith("token_ids"):
                self._check_cut(column.lengths, max_length)
        scored = self.training_loss.scored
        if ids.labels is not None and not scored:
            raise ValueError("Expected token_ids and positive_token_ids alone, got labels too. Leave them out.")
        if ids.labels is None and scored:
            raise ValueError("Expected a score for each row of token_ids, got none. Pass them as y.")
        return Examples(
            ids.columns, None if not scored else scores_of(ids.labels or []), ids.row_weights(), self.config.filler
        )

    def _seen_ids(self, source: Source, columns: dict[str, str] | None = None) -> dict[str, Ragged]:
        return self._read_ids(source, columns, sides=("",)).columns


def sides_of(inputs: dict[str, Tensor] | Tensor) -> dict[str, dict[str, Tensor]]:
    """The inputs of the texts, of their positives and of each column of hard negatives, under the names that the
    texts have, by side: "", "positive_", "negative_" and so on."""
    inputs = inputs if isinstance(inputs, dict) else {"token_ids": inputs}
    names = [name.removesuffix("token_ids") for name in inputs if name.endswith("token_ids")]
    sides: dict[str, dict[str, Tensor]] = {side: {} for side in sorted(names, key=_order)}
    for name, each in inputs.items():
        side = next(side for side in reversed(sides) if name.startswith(side))
        sides[side][name.removeprefix(side)] = each
    return sides


def _order(side: str) -> tuple[bool, bool, int]:
    """Sorts sides: the text, its positive, then its hard negatives by their numbers."""
    return side != "", side != "positive_", int("".join(filter(str.isdigit, side)) or 0)


def loss_of(value: typing.Any) -> typing.Any:
    """A loss record, which may be given as the JSON of a file."""
    if isinstance(value, Mapping):
        for name in dir(losses):
            getattr(losses, name)  # a record is known once its module is loaded
        value = from_json(value)
    check_loss(value)
    return value
