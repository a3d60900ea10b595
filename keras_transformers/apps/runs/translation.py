"""A translation model from raw parallel text: clean, learn the vocabulary, train, watch BLEU, average, save, test.

The run's folder holds all of its files:

    run.yaml         every setting, as the run was begun
    tokenizer/       the vocabulary
    checkpoints/     the last epochs, and the state of the run
    epochs.jsonl     the results of each epoch
    curve.png, .csv
    preset/          the model: kt.Seq2SeqLM.from_preset("…/preset")
    report.json      pairs removed by each cleaning rule, seconds, scores with signatures, versions

Started again, a stopped run resumes; a finished run reports its results.
"""

import dataclasses
import importlib
import importlib.metadata
import itertools
import json
import os
import pathlib
import platform
import random
import time
import typing
from collections.abc import Callable, Iterable, Mapping

import keras

from keras_transformers import __version__, backends
from keras_transformers.apps.runs.settings import (
    TranslationRun,
    ValidationSettings,
    as_values,
    flat,
    read_run,
    run_yaml,
)
from keras_transformers.apps.seeds import set_random_seed
from keras_transformers.data.batches import translation_batches
from keras_transformers.data.cleaning import clean
from keras_transformers.extras import require
from keras_transformers.files import ownership
from keras_transformers.files.lines import read_pairs
from keras_transformers.files.reading import is_plain
from keras_transformers.formats import preset
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.recipes import transformer
from keras_transformers.tasks.seq2seq_lm import Seq2SeqLM
from keras_transformers.tasks.translation_scoring import TranslationScorer
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.callbacks import LearningCurve, TranslationQuality
from keras_transformers.training.checkpoints import Checkpoint, average_weights, kept_checkpoints
from keras_transformers.training.schedules import CoolDown, InverseSquareRoot
from keras_transformers.training.translation_scores import score_translations

# Settings that may change between two starts of a run: they affect only its length and its use afterwards.
FREE = ("training.epochs", "training.updates", "training.patience", "training.average", "decoding.")
PACKAGES = ("keras", "numpy", "tokenizers", "sacrebleu")


class Trained(typing.NamedTuple):
    """The result of a run: the task and its report."""

    task: Seq2SeqLM
    report: dict


def train_translation(
    run: typing.Any,
    tokenizer: Tokenizer | None = None,
    *,
    say: Callable[[str], typing.Any] = print,
    verbose: str | int = "auto",
) -> Trained:
    """Train a translation model from raw sentence pairs by a run's settings.

    Args:
        run: a `TranslationRun`.
        tokenizer: your own tokenizer; `run.vocabulary` is then not used.
        say: a function called with messages on the progress, of one or more lines each.
        verbose: the argument of Keras's `fit`.

    Returns: `Trained(task, report)`.

    Raises:
        ValueError: for files of unequal lengths, settings that contradict each other, a folder that holds a run with
            other settings, or one that another process works in.

    Example:
        >>> task, report = train_translation(read_run("en-fr.yaml"))
        >>> report["test"]["BLEU"], task.translate("Good morning.")
    """
    require(sacrebleu=True, matplotlib=True, yaml=True)
    folder = pathlib.Path(run.output)
    report = _finished(run, folder)
    if report is not None:
        say(f"{folder} is done already: {folder / 'report.json'} has the results.")
        return Trained(Seq2SeqLM.from_preset(folder / "preset", dtype=run.training.dtype), report)
    preset.check_replaceable(folder / "preset")
    ownership.take(folder)
    try:
        return _trained(run, folder, tokenizer, say, verbose)
    finally:
        ownership.release(folder)


def _trained(
    run: TranslationRun,
    folder: pathlib.Path,
    tokenizer: Tokenizer | None,
    say: Callable[[str], typing.Any],
    verbose: str | int,
) -> Trained:
    """Start or resume a run that is not finished."""
    set_random_seed(run.training.seed)
    (sources, targets), validation, test = _data(run.data, run.training.seed)
    held_out = [*zip(*validation, strict=True)] + ([] if test is validation else [*zip(*test, strict=True)])
    cleaned = clean(sources, targets, run.cleaning, held_out)
    say(cleaned.table())
    if not cleaned.sources:
        raise ValueError("Expected some pairs to learn from, got none after cleaning. Loosen its rules.")
    sources, targets = cleaned.sources, cleaned.targets
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "run.yaml", run_yaml(run).encode("utf-8"))
    tokenizer = tokenizer or _vocabulary(run.vocabulary, folder / "tokenizer", sources, targets)
    task = _model(run, tokenizer)
    say(
        f"{len(sources):,} pairs, {len(validation[0]):,} watched; {tokenizer.vocabulary_size:,} tokens"
        f"{'' if tokenizer.target is None else f' and {tokenizer.target_vocabulary_size:,}'}; "
        f"{task.count_params():,} parameters"
    )
    scorer = _scorer(run.validation)
    epochs = _fit(task, run, (sources, targets), validation, folder, verbose, scorer)
    checkpoints = kept_checkpoints(folder / "checkpoints")
    average_weights(task, folder / "checkpoints", last=min(run.training.average, len(checkpoints)))
    settings: dict[str, typing.Any] = {
        "num_beams": run.decoding.num_beams,
        "length_penalty": run.decoding.length_penalty,
    }
    if run.decoding.max_new_tokens is not None:
        settings |= {"max_new_tokens": run.decoding.max_new_tokens}
    task.generation = dataclasses.replace(task.generation, **settings)
    task.save_to_preset(folder / "preset")
    report = {
        "settings": as_values(run),
        "pairs": {"read": len(sources) + sum(cleaned.dropped.values()), **cleaned.dropped, "kept": len(sources)},
        "watched": len(validation[0]),
        "vocabulary": tokenizer.vocabulary_size,
        **({} if tokenizer.target is None else {"target_vocabulary": tokenizer.target_vocabulary_size}),
        "parameters": task.count_params(),
        "epochs": len(epochs),
        "averaged": min(run.training.average, len(checkpoints)),
        "updates": int(task.optimizer.iterations),
        "training_seconds": round(sum(epoch.get("seconds", 0) for epoch in epochs), 1),
        "last_epoch": epochs[-1] if epochs else None,
        "test": _tested(task, test, run.validation, scorer),
        "versions": _versions(),
    }
    _write(folder / "report.json", preset.json_bytes(report))
    for name, score in itertools.islice(report["test"].items(), 2, None):  # after sentences and seconds
        if not name.endswith("_signature"):
            say(f"{name}\t{score:.2f}\t{report['test'].get(f'{name}_signature', '')}".rstrip())
    return Trained(task, report)


def _finished(run: TranslationRun, folder: pathlib.Path) -> dict[str, typing.Any] | None:
    """Return the report of a finished run; None if the run is not finished.

    Raises:
        ValueError: if the folder holds a run with other settings.
    """
    if not (folder / "run.yaml").exists():
        return None
    saved, now = flat(read_run(folder / "run.yaml")), flat(run)
    other = [name for name in now if saved[name] != now[name] and not name.startswith(FREE) and name != "output"]
    if other:
        what = "; ".join(f"{name}={now[name]!r} instead of {saved[name]!r}" for name in other)
        raise ValueError(
            f"Expected the settings that the run in {folder} was begun with, got {what}. Give the same, or another "
            "output."
        )
    same = all(saved[name] == now[name] for name in now if name != "output")
    return preset.read_json(folder, "report.json") if same and (folder / "report.json").exists() else None


def _data(data: typing.Any, seed: int) -> typing.Any:
    """Return the training, validation and test pairs, each as `(sources, targets)`."""

    def read(part: str) -> tuple[list[str], list[str]]:
        source, target, pairs = (getattr(data, f"{part}{name}") for name in ("source", "target", "pairs"))
        return read_pairs(source, target, pairs, prefix=f"data.{part}")

    def given(part: str) -> bool:
        return any(getattr(data, f"{part}{name}") for name in ("source", "target", "pairs"))

    train = read("")
    validation, test = (read(part) if given(part) else None for part in ("validation_", "test_"))
    if validation is None:
        pairs = sorted(set(zip(*train, strict=True)))  # duplicates would be in both training and validation
        count = min(data.held_out, len(pairs) // 10)
        if count < 1:
            raise ValueError(
                f"Expected at least 10 different pairs to hold some out of, got {len(pairs)}. Give "
                "data.validation_pairs."
            )
        chosen = random.Random(seed).sample(pairs, count)
        validation = [source for source, _ in chosen], [target for _, target in chosen]
    return train, validation, test or validation


def _vocabulary(settings: typing.Any, folder: pathlib.Path, sources: list[str], targets: list[str]) -> Tokenizer:
    """Return the run's tokenizer: the one that an earlier start saved, or a newly learned one."""
    if (folder / "tokenizer_config.json").exists():  # the last file to be written
        return Tokenizer.load(folder)
    options = {name: getattr(settings, name) for name in ("kind", "lowercase", "normalization")}
    options["vocabulary_size"] = settings.size
    tokenizer = learn_vocabulary(sources, targets, shared=settings.shared, **options)
    tokenizer.save(folder)
    return tokenizer


def learn_vocabulary(
    sources: Iterable[str], targets: Iterable[str], *, shared: bool = True, **options: typing.Any
) -> Tokenizer:
    """Train a `Tokenizer` on sentence pairs, with a second one for the target unless `shared`. `options` go to
    `Tokenizer.train`."""
    if shared:
        return Tokenizer.train([*sources, *targets], **options)
    return Tokenizer.train(sources, **options).with_target(Tokenizer.train(targets, **options))


def config_for(tokenizer: Tokenizer, **fields: typing.Any) -> ModelConfig:
    """Return the `ModelConfig` that `kt.models.transformer` makes from `fields` for this tokenizer's vocabularies."""
    if tokenizer.target is not None:
        fields |= {"shared_embeddings": False, "target_vocabulary_size": tokenizer.target_vocabulary_size}
    return transformer(tokenizer.vocabulary_size, padding_id=tokenizer.padding_id, **fields)


def _model(run: TranslationRun, tokenizer: Tokenizer) -> Seq2SeqLM:
    return Seq2SeqLM(config_for(tokenizer, **vars(run.model)), tokenizer, dtype=run.training.dtype)


def _fit(
    task: Seq2SeqLM,
    run: TranslationRun,
    pairs: typing.Any,
    validation: typing.Any,
    folder: pathlib.Path,
    verbose: str | int,
    scorer: typing.Any,
) -> list[dict[str, typing.Any]]:
    """Train, resuming a stopped run, and return the results of each epoch."""
    settings = run.training
    batches = translation_batches(
        *pairs,
        tokenizer=task.tokenizer,
        batch_tokens=settings.batch_tokens,
        max_length=run.model.max_length,
        seed=settings.seed,
    )
    epochs = settings.epochs
    if settings.updates is not None:
        epochs = min(epochs, max(settings.updates // len(batches), 1))
    peak = settings.learning_rate or (run.model.hidden_dim * settings.warmup_steps) ** -0.5
    schedule = InverseSquareRoot(peak, settings.warmup_steps)
    if settings.cool_down:
        falling = min(settings.cool_down, epochs)
        schedule = CoolDown(schedule, epochs * len(batches), falling * len(batches))
    optimizer = keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=settings.epsilon)
    task.compile(optimizer, label_smoothing=settings.label_smoothing)
    watched = run.validation
    kept = _Epochs(folder / "epochs.jsonl", settings.monitor, settings.patience)
    callbacks = [  # order matters: each reads the logs that those before it wrote
        TranslationQuality(
            validation[0][: watched.sentences],
            validation[1][: watched.sentences],
            every_epochs=watched.every_epochs,
            metrics=watched.metrics,
            scorer=scorer,
            num_beams=watched.num_beams,
            max_new_tokens=watched.max_new_tokens,
        ),
        kept,
        Checkpoint(folder / "checkpoints", keep=settings.average),
        LearningCurve(folder / "curve.png"),
    ]
    done = kept.done()
    if not kept.is_over(done) and len(done) < epochs:
        task.fit(batches, epochs=epochs, validation_data=validation, callbacks=callbacks, verbose=verbose)
    else:
        Checkpoint(folder / "checkpoints").restore(task)
    return kept.done()


class _Epochs(keras.callbacks.Callback):
    """Callback that appends each epoch's results to a file, a JSON object a line, and stops training once the best
    epoch is `patience` epochs old. Both survive a kill."""

    def __init__(self, path: pathlib.Path, monitor: str, patience: int | None) -> None:
        super().__init__()
        self.path, self.patience = path, patience
        self.name, self.sign = f"val_{monitor}", -1 if monitor in ("loss", "ter") else 1

    def done(self) -> list[dict[str, typing.Any]]:
        """Return the kept results: a dictionary for each epoch in order; the latest if an epoch was trained twice."""
        if not is_plain(self.path):
            return []
        epochs = {}
        for line in self.path.read_bytes().splitlines():
            try:
                epoch = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError):  # half a line, left by a kill: that epoch is trained again
                continue
            if _is_epoch(epoch):
                epochs[epoch["epoch"]] = epoch
        return [epochs[number] for number in sorted(epochs)]

    def is_over(self, epochs: list[dict[str, typing.Any]]) -> bool:
        """Return whether patience has run out."""
        scores = [(self.sign * epoch[self.name], -number) for number, epoch in enumerate(epochs) if self.name in epoch]
        if not self.patience or not scores:
            return False
        return len(epochs) - 1 + max(scores)[1] >= self.patience

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, typing.Any] | None = None) -> None:
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, typing.Any] | None = None) -> None:
        seconds = round(time.perf_counter() - self._began, 2)
        row = {"epoch": epoch, "seconds": seconds, **{name: float(value) for name, value in (logs or {}).items()}}
        earlier = [each for each in self.done() if each["epoch"] < epoch]
        _write(self.path, "".join(json.dumps(each) + "\n" for each in [*earlier, row]).encode("utf-8"))
        if self.is_over(self.done()):
            self.model.stop_training = True


def _is_epoch(epoch: typing.Any) -> bool:
    """Return whether a line of `epochs.jsonl` has the expected form."""
    if not isinstance(epoch, dict) or type(epoch.get("epoch")) is not int:
        return False
    return all(type(value) in (int, float) for value in epoch.values())


def _scorer(watched: ValidationSettings) -> typing.Any:
    """Return the model that judges translations, or None."""
    return None if watched.scorer is None else TranslationScorer.from_preset(watched.scorer, base=watched.scorer_base)


def _tested(
    task: Seq2SeqLM, test: typing.Any, watched: ValidationSettings, scorer: typing.Any
) -> dict[str, typing.Any]:
    """Compute the scores of a test set, with their signatures."""
    sources, references = test
    begin = time.perf_counter()
    hypotheses = task.translate(sources)
    scores: dict[str, typing.Any] = {"sentences": len(sources), "seconds": round(time.perf_counter() - begin, 1)}
    for each in score_translations(sources, hypotheses, references, metrics=watched.metrics, scorer=scorer):
        scores[each.name] = round(each.score, 2 if each.signature else 4)
        scores |= {f"{each.name}_signature": each.signature} if each.signature else {}
    return scores


def _versions() -> dict[str, str | None]:
    packages: dict[str, str | None] = {"keras-transformers": __version__}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = None
    # The version comes from the module: TensorFlow is installed under several package names.
    packages[backends.NAME] = str(importlib.import_module(backends.NAME).__version__)
    return {"python": platform.python_version(), "backend": backends.NAME, **packages}


def _write(path: pathlib.Path, content: typing.Any) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)
