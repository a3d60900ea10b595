"""Command options as records: each field is an option, and the command receives the record.

    @command_of_records
    def train(output, model: Annotated[ModelSettings, Fields("num_layers", dropout=0.2)]): …

    keras-transformers train OUT --num-layers 3        model = ModelSettings(num_layers=3, dropout=0.2)

A record of `apps/runs/settings.py` supplies the name, type, range, default and help text of each option.
"""

import dataclasses
import functools
import inspect
import pathlib
import re
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer

from keras_transformers.files.lines import read_pairs
from keras_transformers.records import Range, alternatives

# Checks by typer for a file to read.
TEXT_FILE: dict[str, Any] = {"exists": True, "dir_okay": False}

TextFile = pathlib.Path | None
Preset = Annotated[str, typer.Argument(help="A preset: a name, a folder, hf://…, package://…")]
PresetFolder = Annotated[pathlib.Path, typer.Argument(help="The preset folder to write.")]
Checkpoints = Annotated[pathlib.Path | None, typer.Option(help="Keep checkpoints here, and resume from the newest.")]
Curve = Annotated[
    pathlib.Path | None, typer.Option(help="Draw loss, perplexity and accuracy here (PNG), after each epoch.")
]
NumBeams = Annotated[
    int | None, typer.Option(min=1, help="The number of beams instead of the preset's; 1 is greedy decoding.")
]
MaxNewTokens = Annotated[int | None, typer.Option(min=1, help="The maximum length of a translation, in tokens.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Sentences per batch.")]

Template = Annotated[
    str | None,
    typer.Option(
        help="For a decoder, such as a chat model: the published prompt to ask it by (hy-mt, tower, alma, "
        "translate-gemma, …), a text with {source}, {target} and {text}, or auto."
    ),
]

Sentences = tuple[list[str], list[str]]


@dataclasses.dataclass(frozen=True)
class PairFiles:
    """Files of sentence pairs."""

    source: Annotated[TextFile, typer.Option(**TEXT_FILE, help="Source sentences, one a line (.gz too).")] = None
    target: Annotated[TextFile, typer.Option(**TEXT_FILE, help="Their translations, line by line.")] = None
    pairs: Annotated[
        TextFile, typer.Option(**TEXT_FILE, help="Instead of --source and --target: lines of source<TAB>target.")
    ] = None

    def read(self) -> Sentences:
        """Return sources and targets."""
        return read_pairs(self.source, self.target, self.pairs)


@dataclasses.dataclass(frozen=True)
class HeldOutFiles:
    """Files of held-out sentence pairs, for validation."""

    validation_source: Annotated[TextFile, typer.Option(**TEXT_FILE, help="The same, held out.")] = None
    validation_target: Annotated[TextFile, typer.Option(**TEXT_FILE, help="The same, held out.")] = None
    validation_pairs: Annotated[TextFile, typer.Option(**TEXT_FILE, help="The same, held out.")] = None

    def read(self) -> Sentences | None:
        """Return sources and targets; None if no file is given."""
        files = (self.validation_source, self.validation_target, self.validation_pairs)
        return read_pairs(*files, prefix="--validation-") if any(files) else None


@dataclasses.dataclass(frozen=True)
class Languages:
    """The languages to translate from and to."""

    source_language: Annotated[
        str | None, typer.Option(help="A language: its name, its code, or the model's name for it.")
    ] = None
    target_language: Annotated[
        str | None, typer.Option(help="A language: its name, its code, or the model's name for it.")
    ] = None


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """Checks of translations for hallucinations and copies."""

    report: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Write a report here (JSON): too long, too short, repeated, untranslated, in another script, badly "
            "scored, with the first lines of each."
        ),
    ] = None
    min_score: Annotated[
        float | None,
        typer.Option(
            help="With --report: the least score of a translation that is not reported. Scores that count errors are "
            "negated: -5 for at most 5."
        ),
    ] = None

    def checks(self, **fields: Any) -> Any:
        """Return the `TranslationChecks`, with further fields."""
        from keras_transformers.data.translation_checks import TranslationChecks

        return TranslationChecks(min_score=self.min_score, **fields)

    def check(self) -> None:
        """Refuse --min-score without --report."""
        if self.min_score is not None and self.report is None:
            raise ValueError("Expected --report with --min-score, got none. Give both.")


class Fields:
    """The record's fields that a command takes as options, and defaults that the command changes."""

    def __init__(self, *names: str, **defaults: Any) -> None:
        self.names = (*names, *defaults)
        self.defaults = defaults


def command_of_records(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command in which each parameter that is a record is replaced by one option for each field.

    A parameter is a record if its annotation is a dataclass. All fields become options, or, if the annotation is
    `Annotated` with `Fields`, only those.
    """
    parameters: list[inspect.Parameter] = []
    records: dict[str, tuple[type, dict[str, Any]]] = {}
    for parameter in inspect.signature(function).parameters.values():
        annotation = parameter.annotation
        cls, chosen = annotation, None
        if metadata := getattr(annotation, "__metadata__", ()):
            cls, chosen = annotation.__origin__, metadata[0]
        if dataclasses.is_dataclass(cls):
            made = list(_options(typing.cast(type, cls), chosen))
            records[parameter.name] = typing.cast(type, cls), {option.name: option.default for option in made}
        else:
            made = [parameter]
        parameters += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in made]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        for name, (cls, fields) in records.items():
            given[name] = cls(**{field: given.pop(field, default) for field, default in fields.items()})
        function(**given)

    del command.__wrapped__  # typer would read the signature of `function`
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def _options(cls: type, chosen: Fields | None) -> typing.Iterator[inspect.Parameter]:
    """Yield a parameter for each field, or for each chosen field."""
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, cls))}
    defaults = chosen.defaults if chosen else {}
    for name in chosen.names if chosen else fields:
        annotation: Any = fields[name].type
        if not any(isinstance(each, typer.models.OptionInfo) for each in getattr(annotation, "__metadata__", ())):
            annotation = _option(annotation, _help(cls, name))
        default = defaults.get(name, fields[name].default)
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _option(annotation: Any, help_text: str) -> Any:
    """Return the annotation that typer reads, made from a record's annotation such as `Size | None`."""
    kind, *others = alternatives(annotation)
    limits: dict[str, Any] = {}
    for limit in getattr(kind, "__metadata__", ()):
        if isinstance(limit, Range):
            limits = {"min": limit.least, **({"max": limit.most} if limit.most <= 1 else {})}
    kind = getattr(kind, "__origin__", kind)
    optional = types.NoneType in others
    return Annotated[kind | None if optional else kind, typer.Option(**limits, help=help_text)]


def _help(cls: type, name: str) -> str:
    """Return the description of a field from its record's docstring, below "Attributes:"."""
    paragraph = re.search(rf"^ +{name}: (.+?)(?=^ *\w[\w, ]*: |\Z)", cls.__doc__ or "", re.MULTILINE | re.DOTALL)
    if paragraph is None:
        raise LookupError(f"Expected {name} below Attributes in the docstring of {cls.__name__}, found none.")
    help_text = " ".join(paragraph[1].split())
    return help_text[:1].upper() + help_text[1:]
