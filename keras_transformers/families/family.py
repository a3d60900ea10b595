"""A family of published models: reading and writing its `config.json`, and the names of its tensors.

    config.json ── Family.keys ──► ModelConfig          tensors ── Family.table ──► weights
                ◄─             ──                               ◄──              ──

A family is data. It holds no layer, and no code depends on its name. `bert.py` and its neighbours register records
(`registry.py`); functions that use the records are here and in `formats/hugging_face.py`.
"""

import collections.abc
import dataclasses
import typing
import warnings

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.fields import Inexpressible
from keras_transformers.families.keys import Keys
from keras_transformers.families.registry import named_by
from keras_transformers.families.unknown_keys import INERT, hint, sort_unknown
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.models.config import ModelConfig

Names = collections.abc.Iterable[str] | None


@dataclasses.dataclass(frozen=True)
class Head:
    """The head of one task: its architecture in transformers, and its tensors.

    Attributes:
        task: the name of the task that has this head.
        architecture: the name of the class in transformers.
        entries: the tensors of the head, besides those of the body.
        others: other architectures that hold this head, with more besides.
        labels: names of the classes, if no configuration names them.
        prefix: the prefix of the body's tensors, if it differs from that of the family's other heads.
        num_classes: the number of classes if no configuration has it; None for two, as for nearly all heads.
    """

    task: str
    architecture: str
    entries: tuple[Entry, ...] = ()
    others: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    prefix: str | None = None
    num_classes: int | None = None


@dataclasses.dataclass(frozen=True)
class Family:
    """A family: one Hugging Face `model_type`.

    Attributes:
        model_type: as in `config.json`.
        keys: the rows of `config.json`.
        weights: the table of the body, or, if heads are fused or names depend on the model, a function that makes the
            table from a `ModelConfig`. A tensor without a weight in the model, such as a pooler, is ignored only if the
            table says so.
        heads: the heads. If one task has several, the first is written unless the file had another. The body alone is
            a "TextEmbedder".
        links: the files that define configuration and model, in transformers or where they were published.
        written_type: the `model_type` that files have, if that is another family's (`registry.FORMS`).
        own_code: whether published folders have code of their own, which `auto_map` names, for the model of this
            family.
    """

    model_type: str
    keys: Keys
    weights: WeightMap | collections.abc.Callable[[ModelConfig], WeightMap]
    heads: tuple[Head, ...]
    links: tuple[str, ...]
    written_type: str | None = None
    own_code: bool = False

    @property
    def inert(self) -> tuple[str, ...]:
        """Keys that change nothing, besides `INERT`."""
        return self.keys.inert

    @property
    def aliases(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a second name of a key, and the name that is written."""
        return self.keys.aliases

    def write(self, config: ModelConfig) -> dict[str, typing.Any]:
        """Return the keys of a `config.json` for `config`; they are complete if `describes(config)`.

        Raises:
            Inexpressible: if `config` lacks the field of a key.
        """
        return self.keys.write(config)

    def config(
        self, values: dict[str, typing.Any], task: str | None = None, where: object = "config.json"
    ) -> ModelConfig:
        """Return the `ModelConfig` that a `config.json` of this family describes.

        Args:
            values: the content of the file, a dictionary.
            task: the task that uses the configuration; by default the task that the file was made for.
            where: the file's name in warnings.

        Raises:
            ValueError: listing every key whose value this library does not compute.

        Warns:
            UserWarning: once for all keys that neither this library nor transformers knows, once for those that change
                only how transformers trains, and once for an `auto_map`.
        """
        config, reader = self.reading(values, task)
        if reader.passing:
            known = (INERT | self.keys.known).difference(reader.passing)
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
        code = None if self.own_code else values.get("auto_map")
        if isinstance(code, dict) and (code := [each for name, each in code.items() if name.startswith("AutoModel")]):
            warnings.warn(
                f"{where}: auto_map names the folder's own code ({code[0]!s:.80}), which is not executed: the model is "
                f"computed as transformers' {self.model_type!r}. If that code computes something else, such as "
                "attention to both sides, the results differ from it.",
                stacklevel=2,
            )
        return config

    def reading(self, values: dict[str, typing.Any], task: str | None = None) -> tuple[ModelConfig, ConfigReader]:
        """Return the `ModelConfig`, as `config` but without warnings, and the `ConfigReader` that read it."""
        architectures = values.get("architectures")
        reader = ConfigReader(values, task or self.task(architectures), self.aliases)
        try:
            config = self.keys.read(reader)
        except (TypeError, ValueError) as error:
            reader.problems.append(str(error))
            reader.finish(values.keys())  # the keys that it would have read are not known
        known = INERT | self.keys.known
        problems, passing = sort_unknown(values, known, decodes=config.decoder is not None)
        reader.passing += passing
        reader.problems += problems
        if reader.problems and (others := named_by(architectures).keys() - {self.model_type}):
            owners = " or ".join(map(repr, sorted(others)))
            reader.problems.append(f"architectures: {architectures} belongs to model_type {owners}")
        reader.finish(values.keys())
        return config, reader

    def describes(self, config: ModelConfig) -> bool:
        """Return whether `write(config)` describes `config` completely."""
        try:
            values = self.write(config)
        except Inexpressible:
            return False
        try:
            return self.reading(values)[0] == config  # without warnings
        except ValueError as error:
            if isinstance(error.__context__, TypeError):  # a mistake in a row: `write` wrote these values
                raise
            return False

    def head(self, task: str | None, architectures: Names = ()) -> Head | None:
        """Return the `Head` of a task, preferably one that `architectures` name; None for a task without a head."""
        heads = [head for head in self.heads if head.task == task]
        named = [head for head in heads if {head.architecture, *head.others} & set(architectures or ())]
        return next(iter((*named, *heads)), None)

    def task(self, architectures: Names) -> str | None:
        """Return the task of the first head that `architectures` name, or None."""
        named = [head for head in self.heads if {head.architecture, *head.others} & set(architectures or ())]
        return named[0].task if named else None

    def table(self, config: ModelConfig, head: Head | None = None, apart: tuple[str, ...] = ()) -> WeightMap:
        """Return the `WeightMap` of a model's body, with one head or none.

        Args:
            config: a `ModelConfig`.
            head: a `Head`, or None.
            apart: names of copies of the head's bias that differ from it in a file; the head uses these copies.
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
            other_prefixes=tuple(dict.fromkeys(each for each in (*prefixes, *body.other_prefixes) if each != prefix)),
        )


_SOURCE = "https://github.com/huggingface/transformers/blob/v5.0.0/src/transformers/models"


def links(name: str) -> tuple[str, ...]:
    """Return the files of transformers that define configuration and model, given the name of their folder."""
    return tuple(f"{_SOURCE}/{name}/{kind}_{name}.py" for kind in ("configuration", "modeling"))
