"""This library's own format, for models that no family describes: a `config.json` with its own `model_type`, and
weights by this library's names."""

import collections.abc
import dataclasses
import json
import pathlib
import typing

from keras_transformers.formats import safetensors_files
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.weights import is_head
from keras_transformers.records import from_json

MODEL_TYPE = "keras_transformers"
TASK_VALUES = {"id2label", "label2id", "problem_type"}  # keys that tasks add to `config.json`


def is_own_config(config: bytes | None) -> bool:
    """Whether the bytes of a `config.json` are of this format."""
    return config is not None and json.loads(config).get("model_type") == MODEL_TYPE


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened folder in this library's own format; see `hugging_face.Checkpoint`."""

    values: dict
    config: ModelConfig
    tensors: collections.abc.Mapping
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """The task that saved the preset."""
        return self.values["task"]

    def labelled(self, task: str | None) -> dict[str, typing.Any]:
        """Return `config.json`, which names all classes."""
        return self.values

    def read(
        self, weights: collections.abc.Mapping[str, typing.Any], task: str | None = None
    ) -> collections.abc.Mapping[str, typing.Any]:
        """Return the tensors, which have this library's names already; without a task, those of the body alone."""
        if task:
            return self.tensors
        return {name: self.tensors[name] for name in self.tensors if not is_head(name)}

    def origin(self, read: typing.Any = None) -> None:
        """Return None: the model holds all of its preset's content."""
        return None


def read(folder: pathlib.Path, values: dict[str, typing.Any]) -> Checkpoint:
    """Open a preset in this library's own format.

    Args:
        folder: the folder, a path.
        values: the parsed `config.json`.

    Raises:
        FileNotFoundError, ValueError: for missing or unknown keys, a configuration that contradicts itself, and missing
            or damaged weights.
    """
    where = folder / "config.json"
    known = {
        "model_type",
        "task",
        "dtype",
        "config",
        "keras_transformers_version",
        "transforms",
        "sentence_transformers",
        "gliner",
    }
    known |= TASK_VALUES
    problems = [f"unknown keys {sorted(set(values) - known)}"] if set(values) - known else []
    problems += [f"no {name}" for name in ("config", "task") if name not in values]
    if problems:
        raise ValueError(f"Expected a preset of this library in {where}, got {' and '.join(problems)}.")
    try:
        config = from_json(values["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None
    if not isinstance(config, ModelConfig):
        raise ValueError(f"Expected a ModelConfig as config in {where}, got {values['config']!r:.80}.")
    return Checkpoint(values, config, safetensors_files.read_tensors(folder))


def is_own(checkpoint: typing.Any) -> bool:
    """Return whether a checkpoint is in this library's own format, whose one file holds every weight."""
    return isinstance(checkpoint, Checkpoint)
