"""A family of published models: how its `config.json` is read and written, and what its tensors are called.

    config.json ── Family.read ──► ModelConfig          tensors ── Family.table ──► weights
                ◄─ Family.write ──                              ◄───────────────

A family is data. It holds no layer, and nothing anywhere asks for its name: `bert.py` and its neighbours register
records, and what there is to do with a family is done here and in `formats/hugging_face.py`.
"""

import collections.abc
import dataclasses
import typing
import warnings

from keras_transformers.families.config_reader import (  # noqa: F401  for the families that read without rows
    HUGGING_FACE_ACTIVATIONS,
    ConfigReader,
    activation_name,
)
from keras_transformers.families.keys import Inexpressible, Keys
from keras_transformers.families.unknown_keys import INERT, hint, sort_unknown
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.files.reading import shown
from keras_transformers.models.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class Head:
    """What a task adds to a body: the architecture that transformers calls it by, and its tensors.

    Attributes:
        task: which of our tasks computes it.
        architecture: transformers' class.
        entries: its tensors, besides those of the body.
        others: other architectures that hold this head, with more besides.
        labels: of its classes, where no configuration names them.
        prefix: what stands before the body's tensors, where that is another than for the family's other heads.
        num_classes: how many it has where a configuration does not say; None for two, as nearly all have.
    """

    task: str
    architecture: str
    entries: tuple[Entry, ...] = ()
    others: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    prefix: str | None = None
    num_classes: int | None = None


@dataclasses.dataclass(frozen=True)
class Functions:
    """A `config.json` that two functions read and write, instead of rows."""

    read: collections.abc.Callable[[ConfigReader], ModelConfig]
    writing: collections.abc.Callable[[ModelConfig], dict[str, typing.Any]]
    inert: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()

    @property
    def known(self) -> frozenset[str]:
        """The keys that change nothing."""
        return frozenset(self.inert)

    def write(self, config: ModelConfig) -> dict[str, typing.Any]:
        """The keys of a file."""
        try:
            return self.writing(config)
        except (TypeError, AttributeError, LookupError) as error:  # which may be a mistake: rows can tell
            raise Inexpressible(str(error)) from error


def by_functions(model_type, read, write, weights, heads, links, inert=(), aliases=()):
    """A family without rows."""
    return Family(model_type, Functions(read, write, inert, aliases), weights, heads, links)


@dataclasses.dataclass(frozen=True)
class Family:
    """One `model_type` of Hugging Face's.

    Attributes:
        model_type: as in `config.json`.
        keys: the rows of its `config.json`.
        weights: the body's table, or a function that makes it of a `ModelConfig`, where heads are fused or names
            depend on what there is. What is in it and that a model has no weight for, such as a pooler, is ignored only
            where it says so.
        heads: for one task the first is written, unless a file had another. The body alone is a "TextEmbedder".
        links: where configuration and model are defined.
    """

    model_type: str
    keys: Keys | Functions
    weights: WeightMap | collections.abc.Callable[[ModelConfig], WeightMap]
    heads: tuple[Head, ...]
    links: tuple[str, ...]

    @property
    def inert(self) -> tuple[str, ...]:
        """Keys that change nothing, besides `INERT`."""
        return self.keys.inert

    @property
    def aliases(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a second name of a key, and the name that is written."""
        return self.keys.aliases

    def write(self, config: ModelConfig) -> dict[str, typing.Any]:
        """The keys of a `config.json` that says what `config` is, if `describes(config)`.

        Raises:
            Inexpressible: if `config` has no field that a key holds.
        """
        return self.keys.write(config)

    def config(self, values, task=None, where="config.json"):
        """The `ModelConfig` that a `config.json` of this family describes.

        Args:
            values: the file's content, a dictionary.
            task: the task that is to compute with it; by default the one that the file was made for.
            where: what to call the file in warnings.

        Raises:
            ValueError: listing every key that is set to what this library does not compute.

        Warns:
            UserWarning: once for all keys that neither this library nor transformers knows, once for those that change
                only how transformers trains, and once for an `auto_map`.
        """
        config, reader = self.reading(values, task)
        if reader.passing:
            known = (reader.seen | INERT | self.keys.known).difference(reader.passing)
            names = ", ".join(f"{name!r}{hint(name, known)}" for name in reader.passing)
            warnings.warn(
                f"{where}: neither this library nor transformers' {self.model_type!r} computes with {names}. Such keys "
                "change nothing, and stay in the file when the model is saved.",
                stacklevel=2,
            )
        if reader.in_training_only:
            warnings.warn(
                f"{where}: {' and '.join(reader.in_training_only)} changes how transformers trains the model, and not "
                "its outputs. `fit` trains without it.",
                stacklevel=2,
            )
        code = values.get("auto_map")
        if isinstance(code, dict) and (code := [each for name, each in code.items() if name.startswith("AutoModel")]):
            warnings.warn(
                f"{where}: auto_map names the folder's own code ({code[0]!s:.80}), which is not executed: the model is "
                f"computed as transformers' {self.model_type!r}. If that code computes something else, such as "
                "attention to both sides, the results differ from it.",
                stacklevel=2,
            )
        return config

    def reading(self, values, task=None):
        """As `config`, without warnings: the `ModelConfig`, and the `ConfigReader` that read it."""
        architectures = values.get("architectures")
        reader = ConfigReader(values, task or self.task(architectures), self.aliases)
        try:
            config = self.keys.read(reader)
        except (TypeError, ValueError) as error:
            reader.problems.append(str(error))
            reader.finish(values.keys())  # what else it would have read is not known
        known = reader.seen | INERT | self.keys.known
        problems, passing = sort_unknown(values, known, decodes=config.decoder is not None)
        reader.passing += passing
        reader.problems += problems
        if reader.problems and (others := _named(architectures).keys() - {self.model_type}):
            told = " or ".join(map(repr, sorted(others)))
            reader.problems.append(f"architectures: {architectures} belongs to model_type {told}")
        reader.finish(values.keys())
        return config, reader

    def describes(self, config):
        """Whether `write(config)` says all that `config` is."""
        try:
            return self.config(self.write(config)) == config
        except ValueError:
            return False

    def head(self, task, architectures=()):
        """The `Head` of a task, of those the one that a file's `architectures` name; None for a task without."""
        heads = [head for head in self.heads if head.task == task]
        named = [head for head in heads if {head.architecture, *head.others} & set(architectures or ())]
        return next(iter((*named, *heads)), None)

    def task(self, architectures):
        """The task that a file's `architectures` belong to, or None."""
        named = [head for head in self.heads if {head.architecture, *head.others} & set(architectures or ())]
        return named[0].task if named else None

    def table(self, config, head=None, apart=()):
        """The `WeightMap` of a model's body with a head, or without: other heads' tensors are of no use.

        Args:
            config: a `ModelConfig`.
            head: a `Head`, or None.
            apart: names of copies of the head's bias that hold other numbers in a file: the head has theirs.
        """
        body = self.weights if isinstance(self.weights, WeightMap) else self.weights(config)
        entries = () if head is None else head.entries
        others = dict.fromkeys(entry.name for each in self.heads for entry in each.entries)
        prefix = body.prefix if head is None or head.prefix is None else head.prefix
        prefixes = (body.prefix, *(each.prefix for each in self.heads if each.prefix is not None))
        copies = dict.fromkeys((*(body.scores if config.head.tied else ()), *body.copies))
        return dataclasses.replace(
            body,
            entries=(*(Entry("head.bias", name) for name in apart), *body.entries, *entries),
            copies=tuple(pair for pair in copies if pair[0] not in apart),
            ignored=(*body.ignored, *(original for copy, original in body.copies if copy in apart)),
            heads=tuple(others),
            prefix=prefix,
            other_prefixes=tuple(dict.fromkeys(each for each in prefixes if each != prefix)),
        )


_families: dict[str, Family] = {}

_SOURCE = "https://github.com/huggingface/transformers/blob/v5.0.0/src/transformers/models"


def links(name):
    """Where transformers defines configuration and model, by the name of the folder there."""
    return tuple(f"{_SOURCE}/{name}/{kind}_{name}.py" for kind in ("configuration", "modeling"))


def register(*families):
    """Make families known: to `from_preset`, to saving, and to the conformance suite."""
    for family in families:
        if family.model_type in _families:
            raise ValueError(f"Expected one family of each model_type, got two of {family.model_type!r}.")
        _families[family.model_type] = family


def families():
    """All registered families by their `model_type`."""
    from keras_transformers.families import bart, bert, gpt, llama, t5  # noqa: F401  they register their families

    return dict(_families)


def family_of(values, where):
    """The family of a `config.json`.

    Args:
        values: its content, a dictionary.
        where: what to call it in messages.

    Raises:
        ValueError: for no `model_type`, or an unknown one.
    """
    model_type, known = values.get("model_type"), families()
    architectures = values.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(each, str) for each in architectures):
        raise ValueError(f"Expected a list of names as architectures in {where}, got {shown(architectures)}.")
    if not isinstance(model_type, str | None):
        raise ValueError(f"Expected a name as model_type in {where}, got {shown(model_type)}.")
    if model_type is None:  # files of 2019 have none
        named = _named(values.get("architectures"))
        if len(named) == 1:
            return next(iter(named.values()))
    if model_type not in known:
        told = "none: pass model_type=" if model_type is None else repr(model_type)
        raise ValueError(
            f"Expected a model_type in {where} that this library knows ({', '.join(sorted(known))}), got {told}"
            f"{_spelled_otherwise(model_type, known)}{_part(values, known)}."
        )
    return known[model_type]


def _named(architectures):
    """The families that have a class of these names, by their `model_type`."""
    named = set(architectures or ())
    heads = ((family, {head.architecture, *head.others}) for family in families().values() for head in family.heads)
    return {family.model_type: family for family, names in heads if names & named}


def _spelled_otherwise(name, known):
    """The known `model_type` that differs in hyphens and the like alone: another letter is another architecture."""

    def letters(text):
        return "".join(each for each in str(text).lower() if each.isalnum())

    same = [each for each in known if letters(each) == letters(name)]
    return f" (did you mean {same[0]!r}?)" if same else ""


def _part(values, known):
    """What a model of several parts, such as one of texts and images, holds that is known."""
    parts = {key: value.get("model_type") for key, value in values.items() if isinstance(value, dict)}
    parts = {
        key: model_type for key, model_type in parts.items() if isinstance(model_type, str) and model_type in known
    }
    if not parts:
        return ""
    told = " and ".join(f"a {model_type!r} in its {key}" for key, model_type in parts.items())
    return f", which holds {told}: this library reads such a part from a folder of its own"


def describing(config, preferred=None):
    """The family whose `config.json` can say all that a `ModelConfig` is, or None; `preferred` is tried first."""
    candidates = ([preferred] if preferred else []) + list(families().values())
    return next((family for family in candidates if family.describes(config)), None)


def expect_one_stack(read):
    """What every configuration may say of an encoder with a decoder, and that of one stack alone does not."""
    for name in ("is_encoder_decoder", "add_cross_attention"):
        read.expect(name, False)
    read.expect("cross_attention_hidden_size", None)
    read.expect("pruned_heads", {}, None)


def expect_two_stacks(read, is_encoder_decoder=(True,)):
    """The same of a model that has both, as all files say, or not all."""
    read.expect("is_encoder_decoder", *is_encoder_decoder)
    for name in ("is_decoder", "add_cross_attention"):
        read.expect(name, False)
    read.expect("cross_attention_hidden_size", None)
    read.expect("pruned_heads", {}, None)
