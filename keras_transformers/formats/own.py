"""Presets of a model that no family describes: a `config.json` with our own `model_type`, and weights by our names."""

import collections.abc
import dataclasses

from keras_transformers.formats import preset
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.weights import is_head
from keras_transformers.records import from_json

MODEL_TYPE = "keras_transformers"
TASK_VALUES = {"id2label", "label2id", "problem_type"}  # what tasks add to `config.json`


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened folder of ours; see `hugging_face.Checkpoint`."""

    values: dict
    config: ModelConfig
    tensors: collections.abc.Mapping
    notes: tuple[str, ...] = ()

    @property
    def task(self):
        """The task that it was saved by."""
        return self.values["task"]

    def labelled(self, task):
        """`config.json`, which names all classes."""
        return self.values

    def read(self, weights, task=None):
        """The tensors, by our names as they are; without a task those of the body alone."""
        if task:
            return self.tensors
        return {name: self.tensors[name] for name in self.tensors if not is_head(name)}

    def origin(self, read=None):
        """Nothing: a model says all that its preset holds."""
        return None


def read(folder, values):
    """Open a preset of ours.

    Args:
        folder: the folder, a path.
        values: its `config.json`, read.

    Raises:
        FileNotFoundError, ValueError: for keys that are missing or unknown, a configuration that contradicts itself,
            and weights that are missing or damaged.
    """
    where = folder / "config.json"
    known = {"model_type", "task", "dtype", "config", "keras_transformers_version", "transforms", *TASK_VALUES}
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
    return Checkpoint(values, config, preset.read_tensors(folder))
