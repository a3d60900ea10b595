"""The base class of tasks that write text: a head over the vocabulary, its loss, and generation settings.

Legend: `B` batch, `R` rows (`B` times beams), `T` target length, `V` target vocabulary.
"""

import contextlib
import dataclasses
import json
import pathlib
import typing
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.generation.hugging_face_settings import from_hugging_face, to_hugging_face
from keras_transformers.generation.settings import (
    NEW_TOKENS,
    GenerationConfig,
    named_ids,
    without_effect,
)
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.steps import Steps
from keras_transformers.records import from_json
from keras_transformers.spelling import check_arguments
from keras_transformers.tasks import notices
from keras_transformers.tasks.answers import Wording
from keras_transformers.tasks.task import Task
from keras_transformers.tasks.vocabulary_head import make_head
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.chunked import HeadMatrix, chunked_cross_entropy
from keras_transformers.training.losses import token_cross_entropy
from keras_transformers.training.losses.teacher import Teacher, check_teacher
from keras_transformers.training.metrics import Perplexity, TokenAccuracy
from keras_transformers.training.optimizers import Optimizer
from keras_transformers.training.user_metrics import of_tokens


class GenerativeTask(Steps, Task):
    """A task with a decoder that writes tokens. Abstract: use one of the tasks.

    Args:
        config: a `ModelConfig` with a decoder.
        tokenizer: a `Tokenizer`; None if the model only sees token ids.
        generation: the default generation settings, a `GenerationConfig`; by default greedy search with the start and
            end tokens of the tokenizer.
    """

    passes_on = {"generation": ("generation settings", [field.name for field in dataclasses.fields(GenerationConfig)])}

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer | None = None,
        generation: GenerationConfig | None = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(config, tokenizer, **kwargs)
        self._check_stacks(config)
        if generation is None:
            generation = GenerationConfig(max_new_tokens=NEW_TOKENS, padding_id=config.filler)
            if tokenizer is not None:
                ends = () if tokenizer.end_id is None else (tokenizer.end_id,)
                generation = dataclasses.replace(generation, start_id=tokenizer.start_id, end_ids=ends)
            if config.target_embeddings.zero_id is not None:  # a token that starts a text, and is never in one
                start = config.target_embeddings.zero_id
                generation = dataclasses.replace(generation, start_id=start, suppress_tokens=(start,))
        self.generation = generation
        self.head = make_head(config, self.dtype_policy)
        self.label_smoothing = 0.0
        self.teacher: Teacher | None = None
        self.token_accuracy = TokenAccuracy()
        self.mean_perplexity = Perplexity()
        self.built = True

    @classmethod
    def _check_stacks(cls, config: ModelConfig) -> None:
        """Refuse a configuration that lacks a stack that the task needs. Abstract."""
        raise NotImplementedError

    def compute_output_spec(
        self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        x = self.backbone.compute_output_spec(inputs)
        return x if self._in_chunks else self.head.compute_output_spec(x, embedding=self.backbone.decoder_embedding)

    def call(self, inputs: dict[str, Tensor] | Tensor, training: bool | None = None) -> Tensor:
        x = self.backbone(inputs, training=training)
        return x if self._in_chunks else self.head(x, embedding=self.backbone.decoder_embedding)

    # Training

    def compile(
        self,
        optimizer: Optimizer | None = None,
        *,
        label_smoothing: float = 0.0,
        teacher: Teacher | None = None,
        **kwargs: typing.Any,
    ) -> None:
        """Prepare for training. Takes all arguments of `keras.Model.compile` except `loss`: the loss is the
        cross-entropy of the tokens, without padding.

        Args:
            optimizer: see `default_optimizer`.
            label_smoothing: the share of the target probability that is spread over the vocabulary.
            teacher: a `kt.training.Teacher` whose probabilities of each token `fit` learns too. `evaluate` leaves them
                out.
        """
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"Expected label_smoothing in [0, 1), got {label_smoothing}.")
        if teacher is not None:
            check_teacher(teacher, self)
        self.label_smoothing, self.teacher = label_smoothing, teacher
        super().compile(optimizer, **kwargs)

    def get_compile_config(self) -> dict[str, typing.Any] | None:
        config = super().get_compile_config()
        return {**config, "label_smoothing": self.label_smoothing} if config else config

    # In a step of `fit` or `evaluate` the model returns hidden states: the loss never holds all logits.

    _in_chunks = False

    def train_step(self, *arguments: typing.Any) -> typing.Any:
        with self._logits_in_chunks(but=self.teacher is not None):
            return super().train_step(*arguments)

    def test_step(self, *arguments: typing.Any) -> typing.Any:
        with self._logits_in_chunks():
            return super().test_step(*arguments)

    @contextlib.contextmanager
    def _logits_in_chunks(self, but: bool = False) -> Iterator[None]:
        """While active, the loss computes logits in chunks. All logits are computed at once only if the user's metrics
        or a teacher need them (`but`), or if the head is not a plain matrix product. Nothing else decides this."""
        plain = self.head.matrix(self.backbone.decoder_embedding) is not None
        self._in_chunks = plain and self._compile_metrics is None and not but
        try:
            yield
        finally:
            self._in_chunks = False

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """The mean cross-entropy over the tokens whose weight is not 0. Updates the metrics too."""
        weight = self._loss_weight(x, y, sample_weight)
        if self._in_chunks:
            options: dict[str, typing.Any] = {"label_smoothing": self.label_smoothing, "gradients": training}
            total, scores = chunked_cross_entropy(self.head.scaled(y_pred), y, weight, self._head_matrix(), **options)
            self.token_accuracy.update_hits(scores.correct, weight)
            self.mean_perplexity.update_likelihood(scores.negative_log_likelihood, weight)
            return self.mean_of_sum(total, scores.loss, weight)
        loss_BT, negative_log_likelihood_BT = token_cross_entropy(y_pred, y, self.label_smoothing)
        self.mean_perplexity.update_likelihood(negative_log_likelihood_BT, weight)
        self.token_accuracy.update_state(y, y_pred, weight)
        if training and self.teacher is not None:
            loss_BT = self.teacher.loss(x, loss_BT, y_pred)
        return self.weighted_mean(loss_BT, weight)

    def _loss_weight(self, x: Tensor, y: Tensor, sample_weight: Tensor) -> Tensor:
        return ops.cast(ops.not_equal(y, self.config.filler) if sample_weight is None else sample_weight, "float32")

    def _seen_by_metrics(
        self, x: Tensor, y: Tensor, y_pred: Tensor, sample_weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return of_tokens(y, y_pred, self._loss_weight(x, y, sample_weight))

    def _metric_classes(self) -> int:
        return self.config.target_embeddings.vocabulary_size

    def _head_matrix(self) -> HeadMatrix:
        matrix, bias, transposed = self.head.matrix(self.backbone.decoder_embedding)
        return HeadMatrix(matrix, bias, transposed, self.head.soft_cap)

    # Generation

    def generation_config(self, **changes: typing.Any) -> GenerationConfig:
        """The model's `GenerationConfig` with changes. Takes a list for a tuple, and a string for a single stop string.

        Raises:
            TypeError, ValueError: for unknown settings, and for settings that contradict each other.
        """
        names = [field.name for field in dataclasses.fields(GenerationConfig)]
        check_arguments("generation settings", changes, names)
        changes = {name: from_json(value) for name, value in changes.items()}  # lists become tuples
        if isinstance(changes.get("stop"), str):
            changes["stop"] = (changes["stop"],)
        if "max_length" in changes:
            changes = {"max_new_tokens": None, **changes}  # else max_new_tokens would win
        return self._checked(dataclasses.replace(self.generation, **changes))

    def _checked(self, config: GenerationConfig) -> GenerationConfig:
        if config.start_id is None and self.config.encoder is not None:
            raise ValueError("The decoder has nothing to start with: give start_id, or a tokenizer with a start token.")
        self._check_ids("the generation settings", np.array(named_ids(config)), "target_embeddings")
        return config

    def _check_effect(self, config: GenerationConfig, given: dict[str, typing.Any], scored: bool = False) -> None:
        """Warn of given settings that have no effect."""
        sampling, beams = without_effect(config, given, scored)
        if sampling or beams:
            notices.warn_of_unused(sampling, beams)

    def _wording(self, config: GenerationConfig) -> Wording:
        """The `Wording` that turns generated ids into text."""
        return Wording(self._tokenizer(), config, self._longest("target_embeddings"), self.config.encoder is not None)

    # Presets

    @classmethod
    def _read_arguments(cls, folder: pathlib.Path) -> dict[str, typing.Any]:
        from keras_transformers.tasks import presets

        return {**super()._read_arguments(folder), "generation": presets.read_generation(folder)}

    def _files(self) -> dict[str, typing.Any]:
        from keras_transformers.formats.preset import json_bytes

        written = getattr(self.origin, "generation", None)
        if written is None or from_hugging_face(json.loads(written)) != self.generation:
            written = json_bytes(to_hugging_face(self.generation))
        return {**super()._files(), "generation_config.json": written}

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), "generation": to_hugging_face(self.generation)}

    @classmethod
    def from_config(cls, config: dict[str, typing.Any]) -> typing.Self:
        return super().from_config({**config, "generation": from_hugging_face(config["generation"])})
