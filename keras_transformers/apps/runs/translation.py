"""A translation model from raw parallel text: clean, learn the vocabulary, train, watch BLEU, average, save, test.

The run's folder holds all of its files:

    run.yaml         every setting, as the run was begun
    tokenizer/       the vocabulary
    checkpoints/     the last epochs, and the state of the run
    epochs.jsonl     the results of each epoch
    curve.png, .csv
    preset/          the model: kt.Seq2SeqLM.from_preset("…/preset")
    report.json      pairs removed by each cleaning rule, seconds, scores with signatures, versions
    teacher/         the translations of a teacher: see `teachers`
    quantized/       the last epochs of a student, with rounded weights; its formats are those of `students`

Started again, a stopped run resumes; a finished run reports its results.
"""

import dataclasses
import importlib
import importlib.metadata
import pathlib
import platform
import typing
from collections.abc import Callable

from keras_transformers import __version__, backends
from keras_transformers.apps.runs import students
from keras_transformers.apps.runs.distillation import EXPORTS
from keras_transformers.apps.runs.files import write
from keras_transformers.apps.runs.models import config_for, learn_vocabulary
from keras_transformers.apps.runs.pairs import pairs_of
from keras_transformers.apps.runs.scores import scorer_of, tested
from keras_transformers.apps.runs.settings import TranslationRun, as_values, flat, read_run, run_yaml
from keras_transformers.apps.runs.training import Training
from keras_transformers.apps.seeds import set_random_seed
from keras_transformers.extras import require
from keras_transformers.files import ownership
from keras_transformers.formats import preset
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.tasks.seq2seq_lm import Seq2SeqLM
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.checkpoints import kept_checkpoints
from keras_transformers.training.losses.teacher import Teacher

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
    pairs = pairs_of(run, folder, say)
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "run.yaml", run_yaml(run).encode("utf-8"))
    shared = _shared_teacher(run, tokenizer)
    if shared is not None:
        tokenizer = shared.tokenizer
    tokenizer = tokenizer or _vocabulary(run.vocabulary, folder / "tokenizer", *pairs.train)
    task = _model(run, tokenizer, shared)
    if run.student is not None:
        students.try_exports(task, run.student)
    say(
        f"{len(pairs.train[0]):,} pairs, {len(pairs.validation[0]):,} watched; {tokenizer.vocabulary_size:,} tokens"
        f"{'' if tokenizer.target is None else f' and {tokenizer.target_vocabulary_size:,}'}; "
        f"{task.count_params():,} parameters"
    )
    scorer = scorer_of(run.validation)
    teacher = None
    if shared is not None and run.teacher is not None and run.teacher.logits:
        teacher = Teacher(shared, run.teacher.logits, run.teacher.temperature)
    training = Training(run, pairs.train, pairs.validation, folder, teacher, scorer, verbose)
    epochs = training.fit(task)
    updates = int(task.optimizer.iterations)
    rounded = training.fit_quantized(task)
    task.generation = _decoding(task.generation, run)
    task.save_to_preset(folder / "preset")
    report = {
        "settings": as_values(run),
        **pairs.counts,
        "watched": len(pairs.validation[0]),
        "vocabulary": tokenizer.vocabulary_size,
        **({} if tokenizer.target is None else {"target_vocabulary": tokenizer.target_vocabulary_size}),
        "parameters": task.count_params(),
        "epochs": len(epochs),
        "averaged": min(run.training.average, len(kept_checkpoints(folder / "checkpoints"))),
        "updates": updates,
        "training_seconds": round(sum(epoch.get("seconds", 0) for epoch in [*epochs, *rounded]), 1),
        "last_epoch": epochs[-1] if epochs else None,
        **({"quantization_aware_epochs": len(rounded)} if rounded else {}),
        "test": tested(task, pairs.test, run.validation, scorer),
        **_beside(run, task, pairs.test, folder, scorer),
        "versions": _versions(),
    }
    write(folder / "report.json", preset.json_bytes(report))
    _say_scores(report, say)
    return Trained(task, report)


def _shared_teacher(run: TranslationRun, tokenizer: Tokenizer | None) -> Seq2SeqLM | None:
    """Return the teacher whose vocabulary the student has, or None."""
    if run.teacher is None or not run.teacher.share_vocabulary:
        return None
    if tokenizer is not None:
        raise ValueError("Expected no tokenizer with teacher.share_vocabulary: true, got one. Give one of the two.")
    teacher = Seq2SeqLM.from_preset(run.teacher.presets[0])
    if teacher.tokenizer is None:
        raise ValueError(f"Expected a teacher with a tokenizer, whose vocabulary is shared, got {run.teacher.preset}.")
    if run.teacher.source_language or run.teacher.target_language:
        raise ValueError("Expected no languages with teacher.share_vocabulary: true: a student translates one pair.")
    return teacher


def _model(run: TranslationRun, tokenizer: Tokenizer, teacher: Seq2SeqLM | None) -> Seq2SeqLM:
    """Return the untrained model. A student with the vocabulary of a teacher begins and ends texts as the teacher."""
    if run.student is None:
        config = config_for(tokenizer, **vars(run.model))
    else:
        config = students.config_of(run.student, tokenizer)
    generation = None if teacher is None else dataclasses.replace(teacher.generation, num_beams=1)
    return Seq2SeqLM(config, tokenizer, generation, dtype=run.training.dtype)


def _decoding(generation: GenerationConfig, run: TranslationRun) -> GenerationConfig:
    """Return the generation settings of the preset."""
    settings = {name: value for name, value in vars(run.decoding).items() if value is not None}
    return dataclasses.replace(generation, **settings)


def _beside(
    run: TranslationRun, task: Seq2SeqLM, test: typing.Any, folder: pathlib.Path, scorer: typing.Any
) -> dict[str, typing.Any]:
    """Write a student in further formats, and return the scores of its int8 weights and of its teachers."""
    found: dict[str, typing.Any] = {}
    if run.student is not None:
        students.write_exports(task, run.student, folder)
        small = students.quantized(task, run.student, folder)
        if small is not None:
            found["quantized"] = tested(small, test, run.validation, scorer)
        names = ("preset", "int8", *EXPORTS)
        found["bytes"] = {name: students.size_of(folder / name) for name in names if (folder / name).is_dir()}
    if run.teacher is None:
        return found
    for name in run.teacher.presets:
        teacher = Seq2SeqLM.from_preset(name)
        scores = tested(teacher, test, run.validation, scorer, **run.teacher.languages)
        found.setdefault("teachers", {})[name] = {"parameters": teacher.count_params(), **scores}
    return found


def _say_scores(report: dict[str, typing.Any], say: Callable[[str], typing.Any]) -> None:
    """Say the scores of the model, of its int8 weights and of its teachers."""
    of_models = {"": report["test"], "quantized": report.get("quantized", {}), **report.get("teachers", {})}
    for model, scores in of_models.items():
        for name, score in scores.items():
            if name in ("sentences", "seconds", "parameters") or name.endswith("_signature"):
                continue
            named = f"{name} of {model}" if model else name
            say(f"{named}\t{score:.2f}\t{scores.get(f'{name}_signature', '')}".rstrip())


def _finished(run: TranslationRun, folder: pathlib.Path) -> dict[str, typing.Any] | None:
    """Return the report of a finished run; None if the run is not finished.

    Raises:
        ValueError: if the folder holds a run with other settings.
    """
    if not (folder / "run.yaml").exists():
        return None
    saved, now = flat(read_run(folder / "run.yaml")), flat(run)
    names = {**now, **saved}  # a section that was left out then or now has one name in the place of several
    differ = [name for name in names if saved.get(name) != now.get(name) and name != "output"]
    other = [name for name in differ if not name.startswith(FREE)]
    if other:
        what = "; ".join(f"{name}={now.get(name)!r} instead of {saved.get(name)!r}" for name in other)
        raise ValueError(
            f"Expected the settings that the run in {folder} was begun with, got {what}. Give the same, or another "
            "output."
        )
    return None if differ or not (folder / "report.json").exists() else preset.read_json(folder, "report.json")


def _vocabulary(settings: typing.Any, folder: pathlib.Path, sources: list[str], targets: list[str]) -> Tokenizer:
    """Return the run's tokenizer: the one that an earlier start saved, or a newly learned one."""
    if (folder / "tokenizer_config.json").exists():  # the last file to be written
        return Tokenizer.load(folder)
    options = {name: getattr(settings, name) for name in ("kind", "lowercase", "normalization")}
    options["vocabulary_size"] = settings.size
    tokenizer = learn_vocabulary(sources, targets, shared=settings.shared, **options)
    tokenizer.save(folder)
    return tokenizer


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
