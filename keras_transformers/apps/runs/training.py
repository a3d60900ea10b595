"""The stages of training of a run: from the start, and, for a quantized student, a last one that rounds its weights."""

import pathlib
import shutil
import typing

import keras

from keras_transformers.apps.runs.epochs import Epochs
from keras_transformers.apps.runs.files import write
from keras_transformers.apps.runs.settings import TranslationRun
from keras_transformers.data.batches import Batches, translation_batches
from keras_transformers.data.pairs import encode_pairs
from keras_transformers.files.reading import is_plain
from keras_transformers.formats.preset import json_bytes
from keras_transformers.tasks.seq2seq_lm import Seq2SeqLM
from keras_transformers.training.callbacks import LearningCurve, TranslationQuality
from keras_transformers.training.checkpoints import Checkpoint, average_weights, kept_checkpoints
from keras_transformers.training.losses.teacher import Teacher
from keras_transformers.training.schedules import CoolDown, InverseSquareRoot, LinearDecay

Lines = tuple[list[str], list[str]]
Results = list[dict[str, typing.Any]]


class Training(typing.NamedTuple):
    """What the stages of a run share.

    Attributes:
        run: the settings.
        pairs, validation: sources and targets.
        folder: the folder of the run.
        teacher: whose probabilities are learnt, or None.
        scorer: the model that judges translations, or None.
        verbose: the argument of `fit`.
    """

    run: TranslationRun
    pairs: Lines
    validation: Lines
    folder: pathlib.Path
    teacher: Teacher | None = None
    scorer: typing.Any = None
    verbose: str | int = "auto"

    def fit(self, task: Seq2SeqLM) -> Results:
        """Train, resuming a stopped run, average the last weights, and return the results of each epoch."""
        settings, batches = self.run.training, self._batches(task)
        epochs = settings.epochs
        if settings.updates is not None:
            epochs = min(epochs, max(settings.updates // len(batches), 1))
        peak = settings.learning_rate or (self.run.hidden_dim * settings.warmup_steps) ** -0.5
        schedule = InverseSquareRoot(peak, settings.warmup_steps)
        if settings.cool_down:
            falling = min(settings.cool_down, epochs)
            schedule = CoolDown(schedule, epochs * len(batches), falling * len(batches))
        kept = Epochs(self.folder / "epochs.jsonl", settings.monitor, settings.patience)
        results = self._stage(task, batches, schedule, epochs, kept, settings.average)
        checkpoints = self.folder / "checkpoints"
        average_weights(task, checkpoints, last=min(settings.average, len(kept_checkpoints(checkpoints))))
        return results

    def fit_quantized(self, task: Seq2SeqLM) -> Results:
        """Train the last epochs of a student, whose weights are rounded after each update. They are trained anew if the
        weights that they begin with have changed: the run has more epochs, or averages others."""
        student = self.run.student
        if student is None or not student.quantization_aware_epochs:
            return []
        folder, averaged = self.folder / "quantized", kept_checkpoints(self.folder / "checkpoints")
        begun = json_bytes({"averaged": [path.name for path in averaged[-self.run.training.average :]]})
        if not is_plain(folder / "begun.json") or (folder / "begun.json").read_bytes() != begun:
            shutil.rmtree(folder, ignore_errors=True)
            write(folder / "begun.json", begun)
        kept = Epochs(folder / "epochs.jsonl", self.run.training.monitor, None)
        schedule = LinearDecay(student.quantization_aware_learning_rate)
        return self._stage(
            task, self._batches(task), schedule, student.quantization_aware_epochs, kept, 1, student.quantization
        )

    def _batches(self, task: Seq2SeqLM) -> Batches:
        settings = self.run.training
        pairs = encode_pairs(
            *self.pairs,
            tokenizer=task.tokenizer,
            max_length=self.run.max_length,
            start_id=task.generation.start_id,
            padding_id=task.config.padding_id,
        )
        return translation_batches(pairs, batch_tokens=settings.batch_tokens, seed=settings.seed)

    def _stage(
        self,
        task: Seq2SeqLM,
        batches: Batches,
        schedule: typing.Any,
        epochs: int,
        kept: Epochs,
        keep: int,
        quantization: str | None = None,
    ) -> Results:
        """Train a stage in the folder of `kept`, or restore its end."""
        settings, watched, folder = self.run.training, self.run.validation, kept.path.parent
        optimizer = keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=settings.epsilon)
        task.compile(
            optimizer,
            label_smoothing=settings.label_smoothing,
            teacher=self.teacher,
            quantization_aware=quantization,
        )
        callbacks = [  # order matters: each reads the logs that those before it wrote
            TranslationQuality(
                self.validation[0][: watched.sentences],
                self.validation[1][: watched.sentences],
                every_epochs=watched.every_epochs,
                metrics=watched.metrics,
                scorer=self.scorer,
                num_beams=watched.num_beams,
                max_new_tokens=watched.max_new_tokens,
            ),
            kept,
            Checkpoint(folder / "checkpoints", keep=keep),
            LearningCurve(folder / "curve.png"),
        ]
        done = kept.done()
        if not kept.is_over(done) and len(done) < epochs:
            task.fit(batches, epochs=epochs, validation_data=self.validation, callbacks=callbacks, verbose=self.verbose)
        else:
            Checkpoint(folder / "checkpoints").restore(task)
        return kept.done()
