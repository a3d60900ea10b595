"""Training callbacks: speed, scores of translations, learning curves.

None of these callbacks overrides `on_train_batch_end`: Keras would then wait for the device after every step, to pass
the logs. They use `on_train_batch_begin` instead, which waits only if there is something to do.
"""

import csv
import math
import os
import pathlib
import time
import typing
import warnings
from collections.abc import Sequence

import keras

from keras_transformers.extras import require
from keras_transformers.training.curves import plot_learning_curve, read_curve
from keras_transformers.training.metrics import Perplexity, metric_of
from keras_transformers.training.translation_scores import check_scorer, named, score_translations


class Speed(keras.callbacks.Callback):
    """Adds the training speed to the logs and history of each epoch.

    `tokens_per_second` counts the tokens of all sequences of an example, without padding, over the time of training
    without validation. `input_wait` is the share of that time in which no batch was ready. It should be near 0: then
    the device never waits for input. If it is larger, making batches takes longer than training on them. (On TensorFlow
    it is the wait of the thread that passes batches on, two batches ahead.)

    Example:
        >>> model.fit(pairs, epochs=10, callbacks=[kt.training.Speed()])
    """

    _begun = False

    def on_train_begin(self, logs: dict[str, typing.Any] | None = None) -> None:
        if "batches" not in self.params:
            raise ValueError("Expected a training on Batches, got another. Use a task's fit, or training.fit_batches.")

    def on_epoch_begin(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        self._begun, self._waited, self._begin = True, self.params["batches"].seconds_waited, time.perf_counter()

    def on_test_begin(self, logs: dict[str, typing.Any] | None = None) -> None:
        self._stop()

    def on_epoch_end(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        self._stop()
        batches = self.params["batches"]
        tokens = int(batches.pairs.lengths.sum()) * self.params["steps"] / len(batches)
        if logs is not None:
            logs |= {"tokens_per_second": tokens / self._seconds, "input_wait": min(self._waited / self._seconds, 1.0)}

    def _stop(self) -> None:
        if self._begun:
            self._seconds = time.perf_counter() - self._begin
            self._waited = self.params["batches"].seconds_waited - self._waited
        self._begun = False


class TranslationQuality(keras.callbacks.Callback):
    """Translates a held-out text after an epoch, and adds `val_bleu` and `val_chrf` to the logs, or other scores.

    Put it before the callbacks that read the logs (`LearningCurve`, `EarlyStopping(monitor="val_bleu", mode="max")`).
    The attribute `signatures` holds the signatures of sacreBLEU, `hypotheses` the last translations.

    Args:
        sources: list of strings.
        references: list of as many strings, or of lists of alternatives.
        every_epochs: number of epochs between two translations.
        metrics: of "bleu", "chrf", "chrf++" and "ter"; the logs call them `val_bleu` and so on.
        scorer: a `TranslationScorer`, whose mean score is logged under its name: `val_comet`, `val_cometkiwi`,
            `val_metricx`. It judges by the references if it reads them.
        translator: what translates, such as `kt.Translator(model, "tower")` for a `CausalLM`; by default the model.
        **options: options of `translate(list of str, **options) -> list of str`, such as `num_beams=1`.

    Raises:
        ValueError: for lists of unequal length, or empty ones, and an unknown metric.

    Example:
        >>> quality = TranslationQuality(english, french, num_beams=4)
        >>> model.fit(..., callbacks=[quality])
    """

    def __init__(
        self,
        sources: Sequence[str],
        references: Sequence[str | Sequence[str]],
        every_epochs: int = 1,
        *,
        metrics: Sequence[str] = ("bleu", "chrf"),
        scorer: typing.Any = None,
        translator: typing.Any = None,
        **options: typing.Any,
    ) -> None:
        super().__init__()
        require(sacrebleu=True)
        if scorer is not None:
            check_scorer(scorer)
        self.translator = translator
        self.metrics, self.scorer = tuple(named(metrics)), scorer
        for name in self.metrics:
            metric_of(name)  # refuses unknown ones
        self.sources, self.references = list(sources), list(references)
        if len(self.sources) != len(self.references) or not self.sources:
            raise ValueError(
                f"Expected as many references as sources, and one at least, got {len(self.sources)} sources and "
                f"{len(self.references)} references."
            )
        if every_epochs < 1:
            raise ValueError(f"Expected every_epochs of at least 1, got {every_epochs}.")
        self.every_epochs, self.options = every_epochs, options
        self.signatures: dict[str, str] = {}
        self.hypotheses: list[str] = []

    def on_train_begin(self, logs: dict[str, typing.Any] | None = None) -> None:
        if self.translator is None and not hasattr(self.model, "translate"):
            raise ValueError(
                f"Expected a model that translates, got {type(self.model).__name__}. Give the one that asks it: "
                "TranslationQuality(…, translator=kt.Translator(model, template))."
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        if (epoch + 1) % self.every_epochs:
            return
        translator = self.model if self.translator is None else self.translator
        with warnings.catch_warnings():
            # Early in training, few translations end before the limit.
            warnings.filterwarnings("ignore", r"\d+ of \d+ translations were cut")
            self.hypotheses = translator.translate(self.sources, **self.options)
        options = {"metrics": self.metrics, "scorer": self.scorer}
        scores = score_translations(self.sources, self.hypotheses, self.references, **options)
        self.signatures |= {f"val_{each.key}": each.signature for each in scores if each.signature}
        if logs is not None:
            logs |= {f"val_{each.key}": each.score for each in scores}


class LearningCurve(keras.callbacks.Callback):
    """Records the metrics of training over steps in a CSV file, and plots them as a PNG picture.

    Within an epoch it records the mean of each metric since the last record (Keras reports the mean since the epoch
    began). The first step of a run is recorded too, so that the curve shows where training began. At the end of an
    epoch it records all logs, including validation. A resumed run continues the same file: records after the restored
    step are dropped, since these steps are trained again.

    The picture is drawn when training ends, and after each epoch, unless drawing would take more than a tenth of the
    time.

    Put it after `Checkpoint` and `TranslationQuality` in the list.

    Args:
        path: the path of the picture, `.png`. The records are beside it, `.csv`, with the columns step, epoch, name and
            value.
        every_steps: steps between two records.
        title: title of the picture.

    Example:
        >>> model.fit(..., callbacks=[LearningCurve("run/curve.png")])
    """

    def __init__(self, path: str | os.PathLike[str], every_steps: int = 100, title: str | None = None) -> None:
        super().__init__()
        if every_steps < 1:
            raise ValueError(f"Expected every_steps of at least 1, got {every_steps}.")
        require(matplotlib=True)
        self.path = pathlib.Path(path)
        self.records_path = self.path.with_suffix(".csv")
        self.every_steps, self.title = every_steps, title
        self._step = self._epoch_step = 0
        self._epoch = 0
        self._sums: dict[typing.Any, tuple[float, ...]] | None = None  # metric -> (total, count) at the last record
        self._wait_until = -math.inf  # when it may be drawn again
        self._is_begun = False  # whether the run has a record of its first step
        self._is_behind = False  # whether there are records that the picture does not show

    def on_train_begin(self, logs: dict[str, typing.Any] | None = None) -> None:
        optimizer = self.model.optimizer
        accumulated = optimizer.gradient_accumulation_steps or 1
        self._step = int(keras.ops.convert_to_numpy(optimizer.iterations)) * accumulated
        self._is_begun = self._step > 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [record for record in read_curve(self.records_path) if record[0] <= self._step]
        partial = self.records_path.with_suffix(".csv.partial")
        with open(partial, "w", newline="") as file:
            csv.writer(file).writerows([("step", "epoch", "name", "value"), *kept])
        os.replace(partial, self.records_path)

    def on_epoch_begin(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        self._epoch, self._epoch_step, self._sums, self._has_points = epoch, self._step, None, False

    def on_train_batch_begin(self, batch: int, logs: dict[str, typing.Any] | None = None) -> None:
        self._step = self._epoch_step + batch
        if self._sums is None:
            self._sums = self._totals()
        elif self._step % self.every_steps == 0:
            self._record(self._means())
            self._has_points = self._is_begun = True
        elif not self._is_begun:
            self._record(self._means())
            self._is_begun = True

    def on_epoch_end(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        self._step += self.model.steps_per_execution
        logs = logs or {}
        if not self._has_points:  # a short epoch has only one record
            names = {metric.name for metric in self.model.metrics}
            self._record({name: value for name, value in logs.items() if name in names})
        self._record({f"epoch_{name}" if not name.startswith("val_") else name: value for name, value in logs.items()})
        self._is_behind = True
        if time.monotonic() >= self._wait_until:
            self._draw()

    def on_train_end(self, logs: dict[str, typing.Any] | None = None) -> None:
        if self._is_behind:
            self._draw()

    def _draw(self) -> None:
        begin = time.monotonic()
        plot_learning_curve(self.records_path, self.path, title=self.title)
        end = time.monotonic()
        self._wait_until, self._is_behind = end + 9 * (end - begin), False

    def _totals(self) -> dict[typing.Any, tuple[float, ...]]:
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        means = [metric for metric in self.model.metrics if isinstance(metric, keras.metrics.Mean)]
        return {
            metric: tuple(float(keras.ops.convert_to_numpy(v)) for v in (metric.total, metric.count))
            for metric in means
        }

    def _means(self) -> dict[str, float]:
        before, sums = self._sums or {}, self._totals()
        self._sums, means = sums, {}
        for metric, (total, count) in sums.items():
            old_total, old_count = before.get(metric, (0.0, 0.0))
            if count > old_count:
                mean = (total - old_total) / (count - old_count)
                means[metric.name] = math.exp(min(mean, 700.0)) if isinstance(metric, Perplexity) else mean
        return means

    def _record(self, values: dict[str, typing.Any]) -> None:
        with open(self.records_path, "a", newline="") as file:
            csv.writer(file).writerows((self._step, self._epoch, name, float(value)) for name, value in values.items())
