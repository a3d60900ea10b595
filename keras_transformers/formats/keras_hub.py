"""KerasHub presets: configuration and weights, read through the Hugging Face family that describes the same model.

    config.json                        class and sizes of a backbone ─► Family ─► ModelConfig
    model.weights.h5                   its weights; or several such files and model.weights.json
    task.json, task.weights.h5         class, options and weights of a head
    tokenizer.json, assets/tokenizer   see `tokenizers/convert/keras_hub.py`

So a model loaded from KerasHub is saved as a folder that transformers opens. `keras_hub_models.py` is the table of
KerasHub's models, and says how they differ.

No code of a folder is executed: the classes that it names are looked up in a table here, and h5 files hold numbers.

Source: keras_hub/src/utils/preset_utils.py of KerasHub 0.32, https://github.com/keras-team/keras-hub
"""

import collections.abc
import dataclasses
import functools
import os
import pathlib
import typing

import numpy as np

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.fields import Fields
from keras_transformers.families.registry import family
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.files.reading import is_plain
from keras_transformers.formats import preset
from keras_transformers.formats.keras_hub_models import MASKED_LM, MODELS, Model, dense
from keras_transformers.formats.keras_weights import Dataset, datasets, weight_files
from keras_transformers.models.config import ModelConfig
from keras_transformers.tokenizers.convert.keras_hub import class_name, is_keras_hub
from keras_transformers.tokenizers.tokenizer import Tokenizer

TASK_WEIGHTS = "task.weights.h5"

_FLOATS = ("float32", "float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")


# Endings of KerasHub's task classes after the model's name, and this library's tasks.
_TASKS = {
    "TextClassifier": "TextClassifier",
    "Classifier": "TextClassifier",
    "MaskedLM": "MaskedLM",
    "ProteinClassifier": "TextClassifier",
    "MaskedPLM": "MaskedLM",
    "TextEmbedder": "TextEmbedder",
}
_POOLINGS = {"cls": "first", "mean": "mean", "max": "max"}


def is_preset(values: dict[str, typing.Any]) -> bool:
    """Return whether a `config.json` is from KerasHub: it names a class and has no `model_type`."""
    return "model_type" not in values and is_keras_hub(values)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened preset; see `hugging_face.Checkpoint`.

    Attributes:
        folder: the preset's folder.
        model: the preset's row of the table.
        config: a `ModelConfig`, with KerasHub's head for a masked language model if that task was asked for.
        task: the task whose head the preset holds, or None.
        values: the number of classes, as `num_labels`.
    """

    folder: pathlib.Path
    model: Model
    config: ModelConfig
    task: str | None
    values: dict
    notes: tuple[str, ...] = ()

    def labelled(self, task: str | None) -> dict[str, typing.Any]:
        """Return the classes as a `config.json` has them: their number, since KerasHub has no names."""
        return self.values

    @functools.cached_property
    def tensors(self) -> "_Tensors":
        """The preset's arrays by their names in the files, read on access."""
        return _Tensors(datasets(self.folder, weight_files(self.folder), "model"), {}, self.config.hidden_dim)

    def read(
        self, weights: collections.abc.Mapping[str, typing.Any], task: str | None = None
    ) -> collections.abc.Mapping[str, np.ndarray]:
        """Return the tensors by this library's names: with a task's head, or the body alone."""
        config, fields = self.config, Fields(self.config)
        head: tuple[Entry, ...] = ()
        tensors = self.tensors.datasets
        if task is not None and task == self.task:
            head = {"TextClassifier": self.model.text, "MaskedLM": MASKED_LM}.get(task, ())
            if head:
                tensors = tensors | datasets(self.folder, [TASK_WEIGHTS], "task")
        tables = self.model.embeddings
        zero_rows = {}
        if self.model.rows_before:
            zero_rows[f"{tables['position']}.weight"] = fields("embeddings.positions.offset")
            zero_rows[f"{tables['segment']}.weight"] = config.embeddings.num_segments
        heads = fields("encoder.block.attention.num_heads")
        entries = (
            *(dense(f"embedding.{ours}", theirs) for ours, theirs in tables.items()),
            *self.model.block.entries(heads),
            *self.model.more,
            *self.model.pooler,
            *head,
        )
        unused = (*self.model.unused, *(entry.theirs for entry in self.model.pooler))
        ignored = tuple(f"{name}.{{leaf}}" for name in unused)
        return WeightMap(entries, ignored).read(_Tensors(tensors, zero_rows, config.hidden_dim), weights)

    def origin(self, read: typing.Any = None) -> None:
        """Return None: saving reproduces nothing of a KerasHub preset."""
        return None


def read(folder: str | os.PathLike[str], values: dict[str, typing.Any], task: str | None) -> Checkpoint:
    """Open a preset and interpret its configuration, without reading its weights.

    Args:
        folder: the folder.
        values: the parsed `config.json`.
        task: the name of the task that uses the preset. Options of other tasks in `task.json` are ignored.

    Raises:
        FileNotFoundError, ValueError: for a class that is not in the table, keys that are missing, unknown or ask for a
            computation that this library lacks, and damaged files.

    Example:
        >>> read("bert_tiny", preset.read_json("bert_tiny", "config.json"), "MaskedLM").config.hidden_dim
        128
    """
    folder = pathlib.Path(folder)
    where, name = folder / "config.json", class_name(values)
    prefix = name.removesuffix("Backbone")
    if prefix not in MODELS or not name.endswith("Backbone"):
        known = ", ".join(f"{each}Backbone" for each in MODELS)
        raise ValueError(
            f"Expected one of KerasHub's classes {known} in {where}, got {name!r}. Load it with KerasHub, or take a "
            "Hugging Face checkpoint of the same model."
        )
    model = MODELS[prefix]
    file_task, options = _task_of(folder, prefix) or (None, {})
    theirs = _read_body(values, model, folder, where)
    labels: dict[str, typing.Any] = {}
    if file_task == task:
        theirs |= _read_task(options, task, model, values["config"]["hidden_dim"], folder / "task.json", labels)
    try:
        config = family(model.model_type).config(theirs)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if model.change is not None:
        config = model.change(config, values["config"])
    if file_task == task == "MaskedLM" and model.masked is not None:
        config = dataclasses.replace(config, head=dataclasses.replace(config.head, transform=model.masked))
    return Checkpoint(folder, model, config, file_task, labels)


def pooling(folder: pathlib.Path) -> dict[str, typing.Any]:
    """Return the pooling of a KerasHub text embedder's preset, by `TextEmbedder`'s arguments; empty for other presets.

    Args:
        folder: the preset's folder.

    Raises:
        ValueError: for an unknown pooling.
    """
    path = pathlib.Path(folder) / "task.json"
    if not is_plain(path):
        return {}
    values = preset.read_json(folder, "task.json")
    if not is_keras_hub(values) or not class_name(values).endswith("TextEmbedder"):
        return {}
    options = _config_of(values, path)
    mode = options.get("pooling_mode", "mean")
    if mode not in _POOLINGS:
        raise ValueError(f"Expected pooling_mode in {path} to be one of {', '.join(_POOLINGS)}, got {mode!r}.")
    return {"pooling": _POOLINGS[mode], "normalize": bool(options.get("normalize", True))}


def _read_body(
    values: dict[str, typing.Any], model: Model, folder: pathlib.Path, where: pathlib.Path
) -> dict[str, typing.Any]:
    """Return the Hugging Face `config.json` that is equivalent to the `config.json` of KerasHub."""
    given = _config_of(values, where)
    read = ConfigReader(given)
    converted = dict(model.values)
    for row in model.keys:
        row.read(read, converted)
    read.problems += [f"no {name}" for name in model.sizes if name not in given]
    _expect_floats(read)
    _finish(read, {"name", "trainable"}, where)
    padding_id = Tokenizer.load(folder).padding_id if is_plain(folder / "tokenizer.json") else None
    if padding_id is not None and "pad_token_id" not in converted:
        converted["pad_token_id"] = padding_id
    if model.rows_before:
        converted["max_position_embeddings"] += (1 if padding_id is None else padding_id) + 1
    return converted


def _expect_floats(read: ConfigReader) -> None:
    """Refuse dtype policies of quantized weights."""
    policy = read("dtype", None)
    if isinstance(policy, dict):
        policy = (policy.get("config") or {}).get("name") if policy.get("class_name") == "DTypePolicy" else policy
    if policy is not None and policy not in _FLOATS:
        read.problems.append(f"dtype: only {', '.join(_FLOATS)} are supported, got {policy!r:.80}")


def _task_of(folder: pathlib.Path, prefix: str) -> tuple[str, dict[str, typing.Any]] | None:
    """Return `(task, options)` of a preset's `task.json`, or None if it holds no head that this library has."""
    path = folder / "task.json"
    if not is_plain(path):
        return None
    values = preset.read_json(folder, "task.json")
    name = class_name(values)
    task = _TASKS.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
    if task is None or task != "TextEmbedder" and not is_plain(folder / TASK_WEIGHTS):
        return None
    return task, _config_of(values, path)


def _read_task(
    options: dict[str, typing.Any],
    task: str | None,
    model: Model,
    hidden_dim: typing.Any,
    where: pathlib.Path,
    labels: dict[str, typing.Any],
) -> dict[str, typing.Any]:
    """Return the keys that a task's options add to the `config.json`, and add the number of classes to `labels`."""
    read, found = ConfigReader(options), {}
    inert = {"backbone", "preprocessor", "name", "trainable", "dtype"}
    if task == "TextClassifier":
        labels["num_labels"] = read("num_classes", 0)
        if labels["num_labels"] < 1:
            read.problems.append(f"num_classes: expected at least 1, got {labels['num_labels']}")
        # The task turns logits into scores, whatever activation KerasHub put after them.
        read.expect("activation", "linear", None, "softmax")
        read.expect("hidden_dim", None, hidden_dim)
        if "dropout" in options:
            found[model.classifier_dropout] = read("dropout", 0.1)
    elif task == "TextEmbedder":
        inert |= {"pooling_mode", "normalize"}
    _finish(read, inert, where)
    return found


def _finish(read: ConfigReader, inert: typing.Any, where: object) -> None:
    try:
        read.finish(inert)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _config_of(values: collections.abc.Mapping[str, typing.Any], where: object) -> dict[str, typing.Any]:
    config = values.get("config")
    if not isinstance(config, dict):
        raise ValueError(
            f"Expected a JSON object as 'config' in {where}, got {config!r:.80}. Download or save the preset again."
        )
    return config


class _Tensors(collections.abc.Mapping):
    """Arrays by name, each read on access.

    `zero_rows` maps names of tables to numbers of rows of zeros, which are put before the stored rows, if any.
    """

    def __init__(self, datasets: dict[str, Dataset], zero_rows: dict[str, int], width: int) -> None:
        self.datasets = datasets
        self._zero_rows = zero_rows
        self._width = width

    def __getitem__(self, name: str) -> np.ndarray:
        rows = self._zero_rows.get(name)
        if rows is None:
            return self.datasets[name].read()
        zeros = np.zeros((rows, self._width), "float32")
        return np.concatenate([zeros, self.datasets[name].read()]) if name in self.datasets else zeros

    def __contains__(self, name: object) -> bool:
        return name in self.datasets or name in self._zero_rows

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(dict.fromkeys([*self.datasets, *self._zero_rows]))

    def __len__(self) -> int:
        return len({*self.datasets, *self._zero_rows})

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple, without reading the array."""
        rows = self._zero_rows.get(name)
        if rows is None:
            return self.datasets[name].shape
        length, width = self.datasets[name].shape if name in self.datasets else (0, self._width)
        return (rows + length, width)
