"""The settings of a run: one record for each section of its YAML file, and reading and writing that file.

    output: runs/en-fr
    data: {pairs: train.tsv, test_pairs: test.tsv}
    cleaning: {max_ratio: 2.5}
    vocabulary: {size: 16000}
    model: {num_layers: 3, hidden_dim: 256, num_heads: 4}
    training: {epochs: 20, average: 5}

A student of other models has the sections `teacher` and `student`, the latter in the place of `model`:

    teacher: {preset: runs/large/preset, num_beams: 8}
    student: {size: tiny, quantization: int8, quantization_aware_epochs: 2}

Missing settings have the records' defaults. `read_run(path, ["training.epochs=3"])` changes a value. Unknown settings
are refused, with the nearest known name.
"""

import dataclasses
import os
import pathlib
import typing
from collections.abc import Iterable

from keras_transformers.apps.runs.distillation import StudentSettings, TeacherSettings
from keras_transformers.data.augmentation import Augmentation
from keras_transformers.data.cleaning import Cleaning
from keras_transformers.data.translation_metrics import METRICS
from keras_transformers.extras import require
from keras_transformers.files.lines import read_text
from keras_transformers.files.reading import is_plain, shown
from keras_transformers.records import Count, Positive, Rate, Size, alternatives, record
from keras_transformers.spelling import did_you_mean


@record
class DataSettings:
    """Files of sentence pairs: two parallel files, or one with tabs between source and target; `.gz` too.

    Attributes:
        source, target, pairs: the training pairs.
        validation_source, validation_target, validation_pairs: the validation pairs; by default a part of the training
            pairs is held out.
        test_source, test_target, test_pairs: the pairs translated at the end; by default the validation pairs.
        held_out: the most pairs to hold out; never more than a tenth.
    """

    source: str | None = None
    target: str | None = None
    pairs: str | None = None
    validation_source: str | None = None
    validation_target: str | None = None
    validation_pairs: str | None = None
    test_source: str | None = None
    test_target: str | None = None
    test_pairs: str | None = None
    held_out: int = 1000


@record
class VocabularySettings:
    """The subword vocabulary: arguments of `Tokenizer.train`, and `shared`: whether both languages share one vocabulary
    and its embeddings. If they do not, each language has its own, both of that size. Unless `normalization` is null,
    invisible characters do not change a translation."""

    kind: str = "bpe"
    size: int = 8000
    lowercase: bool = False
    normalization: str | None = "nmt_nfc"
    shared: bool = True


@record
class ModelSettings:
    """Arguments of `kt.models.transformer`.

    Attributes:
        num_layers: layers of each stack.
        hidden_dim: the width of the model.
        num_heads: attention heads.
        intermediate_dim: the inner width of the feed-forward layers; by default four times `hidden_dim`.
        dropout: the share of activations dropped.
        attention_dropout: the share of attention weights dropped.
        activation: the activation function of the feed-forward layers.
        norm_placement: "post" or "pre".
        max_length: tokens that the model sees at once.
    """

    num_layers: Size | tuple[Size, ...] = 6
    hidden_dim: Size = 512
    num_heads: Size = 8
    intermediate_dim: Size | None = None
    dropout: Rate = 0.1
    attention_dropout: Rate = 0.0
    activation: str = "relu"
    norm_placement: str = "post"
    max_length: Size = 256


@record
class TrainingSettings:
    """The training settings.

    Attributes:
        epochs: passes over the data, at most.
        updates: optimizer updates, at most; epochs are never cut short.
        batch_tokens: tokens of a batch on its longer side.
        learning_rate: the highest learning rate; by default (hidden_dim × warmup_steps)^-½.
        warmup_steps: steps until the highest rate (fewer for little data), which then falls by the inverse square root.
        cool_down: the number of last epochs over which the learning rate falls to 0.
        epsilon: Adam's epsilon.
        label_smoothing: the share of probability that goes to all other tokens.
        patience: stop after this number of epochs without a better `monitor`.
        monitor: "loss" of the held-out pairs, or a metric of `validation.metrics`.
        average: the number of last epochs whose weights are averaged for the preset.
        seed: the seed of the initial weights, dropout and the order of batches.
        dtype: the dtype policy, such as "mixed_bfloat16".
    """

    epochs: Size = 10
    updates: Size | None = None
    batch_tokens: Size = 4096
    learning_rate: Positive | None = None
    warmup_steps: Size = 4000
    cool_down: Count = 0
    epsilon: Positive = 1e-9
    label_smoothing: Rate = 0.1
    patience: Size | None = None
    monitor: str = "bleu"
    average: Size = 5
    seed: int = 0
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.monitor not in (*METRICS, "loss"):
            raise ValueError(f"Expected monitor to be one of {', '.join(METRICS)} or loss, got {self.monitor!r}.")


@record
class ValidationSettings:
    """Validation by translations: every so many epochs, the first `sentences` validation sentences are translated.

    Attributes:
        sentences, every_epochs: how many, and how often.
        num_beams, max_new_tokens: generation settings.
        metrics: of bleu, chrf, chrf++ and ter. The test at the end of the run has the same.
        scorer, scorer_base: a model that judges translations besides, COMET or MetricX, and the model that it builds
            on: arguments of `TranslationScorer.from_preset`.
    """

    sentences: int = 500
    every_epochs: int = 1
    num_beams: int = 1
    max_new_tokens: int = 128
    metrics: tuple[str, ...] = ("bleu", "chrf")
    scorer: str | None = None
    scorer_base: str | None = None

    def __post_init__(self) -> None:
        for name in self.metrics:
            if name not in METRICS:
                raise ValueError(
                    f"Expected metrics of {', '.join(METRICS)}, got {name!r}{did_you_mean(name, METRICS)}."
                )
        if not self.metrics and self.scorer is None:
            raise ValueError("Expected a metric or a scorer, got neither.")
        if self.scorer is None and self.scorer_base is not None:
            raise ValueError("Expected scorer with scorer_base, got none. Give both.")


@record
class DecodingSettings:
    """The preset's default decoding settings, used for the test at the end of the run too."""

    num_beams: int = 4
    length_penalty: float = 1.0
    max_new_tokens: int | None = None


@record
class TranslationRun:
    """All settings of a run by `train_translation`.

    Attributes:
        output: the run's folder, for the preset, checkpoints, the curve, the settings and the report.
        data, cleaning, vocabulary, model, training, validation, decoding: see the records.
        augmentation: changed copies of pairs, so that the model reads what people type: see the record.
        teacher: translations by trained models in the place of the references; None for none.
        student: a small, fast model in the place of `model`; None for `model`.

    Example:
        >>> run = TranslationRun("runs/en-fr", DataSettings(pairs="train.tsv"), training=TrainingSettings(epochs=20))
    """

    output: str
    data: DataSettings
    cleaning: Cleaning = Cleaning()
    vocabulary: VocabularySettings = VocabularySettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    validation: ValidationSettings = ValidationSettings()
    decoding: DecodingSettings = DecodingSettings()
    augmentation: Augmentation = Augmentation()
    teacher: TeacherSettings | None = None
    student: StudentSettings | None = None

    @property
    def max_length(self) -> int:
        """Tokens that the model sees at once."""
        return (self.student or self.model).max_length

    @property
    def hidden_dim(self) -> int:
        """The width of the model."""
        return self.model.hidden_dim if self.student is None else self.student.sizes()["hidden_dim"]

    def __post_init__(self) -> None:
        if self.student is not None and self.model != ModelSettings():
            raise ValueError("Expected model or student, got both. A student has its sizes in its own section.")
        shares = self.teacher is not None and self.teacher.share_vocabulary
        if shares and self.vocabulary != VocabularySettings():
            raise ValueError(
                "Expected no vocabulary with teacher.share_vocabulary: true, got one. Leave one of them out."
            )
        monitor, metrics = self.training.monitor, self.validation.metrics
        if self.training.patience is not None and monitor not in ("loss", *metrics):
            raise ValueError(
                f"Expected training.monitor to be loss or one of validation.metrics, {', '.join(metrics)}, got "
                f"{monitor!r}."
            )


def read_run(path: str | os.PathLike[str] | None = None, changes: Iterable[str] = ()) -> TranslationRun:
    """Read a run from a YAML file, with changes.

    Args:
        path: the path of the file; None for changes alone.
        changes: strings such as "training.epochs=3", whose values are YAML.

    Returns: `TranslationRun`.

    Raises:
        ValueError: for invalid YAML. For unknown keys and wrong types: all at once, with the nearest known keys.

    Example:
        >>> read_run("en-fr.yaml", ["training.epochs=3", "output=runs/short"])
    """
    require(yaml=True)
    if path is not None and not is_plain(pathlib.Path(path)):
        raise FileNotFoundError(f"Expected a run's settings at {path}, found nothing. Check the path.")
    values = {} if path is None else _yaml(read_text(path), path)
    problems = []
    if not isinstance(values, dict):
        raise ValueError(f"Expected keys and values in {path}, got {type(values).__name__}.")
    values = {name: dict(value) if isinstance(value, dict) else value for name, value in values.items()}
    for change in changes:
        name, equals, value = change.partition("=")
        section, dot, key = name.partition(".")
        if not equals:
            problems.append(f"{change}: expected name=value, such as training.epochs=3")
        elif not dot:
            values[section] = _yaml(value, change)
        else:
            inner = values.setdefault(section, {})
            if isinstance(inner, dict):
                inner[key] = _yaml(value, change)
    run = _read(TranslationRun, values, "", problems)
    if problems:
        raise ValueError(
            f"Expected a run as TranslationRun describes it{f' in {path}' if path else ''}, got {'; '.join(problems)}."
        )
    return run


def as_values(run: typing.Any) -> dict[str, typing.Any]:
    """Return a run's settings as plain values, section by section."""
    values = {}
    for field in dataclasses.fields(run):
        value = getattr(run, field.name)
        if dataclasses.is_dataclass(value):
            value = as_values(value)
        values[field.name] = list(value) if isinstance(value, tuple) else value
    return values


def flat(run: typing.Any) -> dict[str, typing.Any]:
    """Return a run's settings by dotted names: `{"training.epochs": 10, …}`."""
    return {
        (f"{section}.{name}" if isinstance(value, dict) else section): each
        for section, value in as_values(run).items()
        for name, each in (value.items() if isinstance(value, dict) else [(section, value)])
    }


def run_yaml(run: typing.Any) -> str:
    """Return the text of a YAML file with every setting of a run."""
    require(yaml=True)
    import yaml

    return yaml.safe_dump(as_values(run), sort_keys=False, allow_unicode=True)


def _yaml(text: str, name: object) -> typing.Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, ArithmeticError) as error:  # numbers of thousands of digits, impossible dates
        problem = " ".join(str(error).split())
    except RecursionError:
        problem = "lists nested as deep as no settings are"
    raise ValueError(f"Expected YAML in {name}, got: {problem}.")


def _read(cls: typing.Any, values: typing.Any, path: str, problems: list[str]) -> typing.Any:
    """Make a record from plain values; if that fails, return None and add the reasons to `problems`."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    read: dict[str, typing.Any] = {}
    count = len(problems)
    for name, value in values.items():
        field = fields.get(name)
        if field is None:
            names = _names(cls, path)
            hint = did_you_mean(f"{path}{name}", names) or did_you_mean(name, names)
            problems.append(f"an unknown key {path}{name}{hint}")
        elif (section := _section(field)) is not None:
            if value is None and field.default is None:
                read[name] = None
            elif isinstance(value, dict | None):
                read[name] = _read(section, value or {}, f"{name}.", problems)
            else:
                problems.append(f"{name}: {shown(value)}, where settings of its own are expected")
        else:
            read[name] = _as(value, field.type)
    missing = [name for name, field in fields.items() if name not in values and field.default is dataclasses.MISSING]
    problems += [f"no {path}{name}" for name in missing]
    if len(problems) > count:
        return None
    try:
        return cls(**read)
    except ValueError as error:
        problems.append(f"{path.rstrip('.') or 'the run'}: {error}")
        return None


def _names(cls: typing.Any, path: str) -> list[str]:
    """Return the names of settings that a misspelled name may mean: fields, with their section or without, and for the
    whole run the fields of all sections."""
    fields: typing.Any = dataclasses.fields(cls)
    names = [*(field.name for field in fields), *(f"{path}{field.name}" for field in fields)]
    sections = [(field.name, section) for field in fields if not path and (section := _section(field)) is not None]
    return names + [f"{name}.{each.name}" for name, section in sections for each in dataclasses.fields(section)]


def _section(field: dataclasses.Field) -> typing.Any:
    """The record of a section that may be left out or not; None if the field is a value."""
    return next((kind for kind in alternatives(field.type) if dataclasses.is_dataclass(kind)), None)


def _as(value: typing.Any, annotation: typing.Any) -> typing.Any:
    """Convert lists to tuples, and numbers such as `1e-3`, which YAML reads as text, to numbers."""
    kinds = [getattr(kind, "__origin__", kind) for kind in alternatives(annotation)]  # without their ranges
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and float in kinds and str not in kinds:
        try:
            return float(value)
        except ValueError:
            return value
    return value
