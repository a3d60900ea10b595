"""The models of a server: `name=preset`, the task of each, and what each can be asked for."""

import pathlib
import typing
from collections.abc import Iterable, Mapping, Sequence

from keras_transformers.apps.serving.batching import Worker
from keras_transformers.apps.serving.refusals import Refused
from keras_transformers.data.language_names import language_of
from keras_transformers.spelling import did_you_mean
from keras_transformers.tasks.reranking import YesNo

# The tasks that a server has forms for, and the method of each that a form calls.
ABILITIES = {
    "Seq2SeqLM": ("translate",),
    "Translator": ("translate",),
    "CausalLM": ("generate", "rank"),
    "TextEmbedder": ("embed",),
    "TextClassifier": ("classify", "rank"),
}
Pair = tuple[str, str]


class Served:
    """A model of a server.

    Args:
        name: its name in requests.
        task: the task.
        pair: the languages of a translator that its files do not name, or None.

    Attributes:
        abilities: the methods that forms may call.
        worker: its `Worker`, after `start`.
    """

    worker: Worker

    def __init__(self, name: str, task: typing.Any, pair: Pair | None = None) -> None:
        self.name, self.task, self.pair = name, task, pair
        self.kind = next((each for each in ABILITIES if each in [cls.__name__ for cls in type(task).__mro__]), "")
        if not self.kind:
            raise ValueError(
                f"Expected a task that a server has forms for ({', '.join(ABILITIES)}), got {type(task).__name__} as "
                f"{name!r}. Leave it out."
            )
        self.abilities = tuple(ability for ability in ABILITIES[self.kind] if ability != "rank" or self._ranks())

    def start(self, limits: typing.Any, metrics: typing.Any) -> None:
        """Start the thread of the model."""
        self.worker = Worker(self.name, self.task, limits, metrics)

    def _ranks(self) -> bool:
        """Whether a classifier scores pairs by a number, or a decoder answers yes or no by one token."""
        if self.kind == "TextClassifier":
            return len(self.task.labels) == 1
        return all(len(ids) == 1 for ids in self.task.tokenizer.encode([YesNo.yes, YesNo.no]))

    # Translators

    def languages(self) -> dict[str, list[str]]:
        """The targets of each source language, codes of two or three letters; empty if nothing names them."""
        if self.pair is not None:
            return {self.pair[0]: [self.pair[1]]}
        tokenizer = self.task.tokenizer
        codes = list(dict.fromkeys(_code(each) for each in tokenizer.languages))
        if codes:
            return {source: [target for target in codes if target != source] for source in codes}
        source, target = tokenizer.language_pair
        return {_code(source): [_code(target)]} if source and target else {}

    def direction(self, source: str | None, target: str | None) -> dict[str, typing.Any]:
        """The arguments of `translate` for two languages.

        Raises:
            Refused: for languages that the model does not translate.
        """
        if self.pair is None:
            self._check_languages(source, target)
            return {"source_language": source, "target_language": target}
        for name, own, asked in zip(("source", "target"), self.pair, (source, target), strict=True):
            if asked is not None and language_of(asked) is not language_of(own):
                raise Refused(
                    400, f"Expected {name} {own}, the language of {self.name!r}, got {asked!r}.", "unsupported_language"
                )
        return {}

    def _check_languages(self, source: str | None, target: str | None) -> None:
        if self.kind != "Seq2SeqLM" or source is target is None:
            return
        try:
            self.task.direction(source, target)
        except ValueError as error:
            advice = (
                "" if self.languages() else f" If its files name none, start the server with --pair {self.name}=en:fr."
            )
            raise Refused(400, f"{error}{advice}", "unsupported_language") from None


def _code(language: str) -> str:
    """The shortest code of a checkpoint's language, such as "fr" for "fra_Latn"."""
    found = language_of(language)
    return language if found is None else found.codes[0]


def read_names(models: Sequence[str], tasks: Iterable[str], pairs: Iterable[str]) -> list[tuple[str, str, str, str]]:
    """The names, presets, tasks and pairs of languages of models; "" for one that is not said.

    Args:
        models: "preset" or "name=preset" each.
        tasks: "name=task" each, for presets that do not say their task.
        pairs: "name=source:target" each, for translators that do not name their languages.

    Raises:
        ValueError: for two models of one name, and names, tasks and pairs that do not fit.
    """
    named: dict[str, str] = {}
    for each in models:
        name, is_named, preset = each.partition("=")
        if not is_named:
            name, preset = _name_of(each), each
        if not name or not preset:
            raise ValueError(f"Expected a preset, or name=preset, got {each!r}.")
        if name in named:
            raise ValueError(f"Expected models of different names, got two of {name!r}. Give name=preset.")
        named[name] = preset
    kinds, languages = _by_name("--task", "task", tasks, named), _by_name("--pair", "source:target", pairs, named)
    for name, kind in kinds.items():
        if kind not in ABILITIES:
            raise ValueError(
                f"Expected --task {name}= one of {', '.join(ABILITIES)}, got {kind!r}{did_you_mean(kind, ABILITIES)}."
            )
    return [(name, preset, kinds.get(name, ""), languages.get(name, "")) for name, preset in named.items()]


def _name_of(preset: str) -> str:
    """The last part of a preset's name: "gpt2" of "hf://openai-community/gpt2@main"."""
    path = pathlib.PurePath(preset.partition("@")[0] if preset.startswith("hf://") else preset)
    return path.stem if path.suffix == ".gguf" else path.name


def _by_name(option: str, what: str, given: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for each in given:
        name, _, value = each.partition("=")
        if name not in names or not value:
            raise ValueError(
                f"Expected {option} name={what} with one of the names {', '.join(names)}, got {each!r}"
                f"{did_you_mean(name, names)}."
            )
        found[name] = value
    return found


def load(name: str, preset: str, kind: str = "", pair: str = "") -> Served:
    """Load a model, by default as the task that its files are for.

    Raises:
        FileNotFoundError, ValueError: as `Task.from_preset`; for a task without a form.
    """
    import keras_transformers as kt
    from keras_transformers.tasks import presets

    checkpoint = presets.opened(preset)
    if not kind:
        writes = checkpoint.config.decoder is not None
        kind = checkpoint.task or ("CausalLM" if writes and checkpoint.config.encoder is None else "")
    if kind not in ABILITIES:
        raise ValueError(
            f"Expected a preset of one of {', '.join(ABILITIES)}, got {preset!r}, which was made for "
            f"{kind or 'no task'}. Say how to load it: --task {name}=TextEmbedder, for example."
        )
    languages: Pair | None = None
    if pair:
        source, _, target = pair.partition(":")
        if None in (language_of(source), language_of(target)):
            raise ValueError(f"Expected --pair {name}=source:target, two codes such as en:fr, got {pair!r}.")
        languages = (source, target)
    return Served(name, getattr(kt, kind).from_preset(preset), languages)
