"""Hugging Face checkpoints: `config.json` and tensors, read and written through a family's tables.

    config.json ─────────► Family ─────► ModelConfig
    model.safetensors ───► WeightMap ──► weights          Origin: the rest of the files' content, so
    pytorch_model.bin ──┘                                 that an unchanged model is saved byte for
                                                          byte

No code of a folder is executed. `tensor_files.py` opens and writes the files of tensors.
"""

import collections.abc
import dataclasses
import pathlib
import typing

import numpy as np

from keras_transformers.families.family import Family, Head
from keras_transformers.families.naming import naming_of
from keras_transformers.families.registry import family_of
from keras_transformers.files.reading import is_plain
from keras_transformers.formats import computed, foreign, preset, task_adapters, tensor_files
from keras_transformers.formats.own import TASK_VALUES
from keras_transformers.formats.ties import settle


@dataclasses.dataclass(frozen=True)
class Origin:
    """The content of the files besides the weights, kept so that saving can reproduce them.

    Attributes:
        family, head: the checkpoint's family and head; `head` is None if the architecture belongs to no task.
        values, text: the content of `config.json`, parsed and as bytes.
        dtypes: the dtypes of all tensors, by name, as numpy names them.
        kept: tensors that the model does not use, by name.
        headers: the raw header of each safetensors file, by file name.
        index: the bytes of the index of several weight files, or None.
        generation: the bytes of `generation_config.json`, or None.
        config: the `ModelConfig` that configuration and tensors describe.
        apart: see `Family.table`.
    """

    family: Family
    head: Head | None
    values: dict
    text: bytes
    dtypes: dict[str, str]
    kept: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    headers: dict[str, bytes] = dataclasses.field(default_factory=dict)
    index: bytes | None = None
    generation: bytes | None = None
    config: typing.Any = None
    apart: tuple[str, ...] = ()

    @property
    def task(self) -> str | None:
        """The task that the checkpoint was made for, or None."""
        return None if self.head is None else self.head.task


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened folder.

    Attributes:
        folder: the path of the folder.
        values, text: the content of `config.json`, parsed and as bytes.
        family: the `Family`.
        config: the `ModelConfig`.
        tensors: the arrays by their names in the files, read on access.
        apart: see `Family.table`.
        notes: sentences for the user.
        closed: whether tensors outside of the body are refused.

    `own.Checkpoint` and `keras_hub.Checkpoint` have `config`, `task`, `labelled`, `read` and `origin` too.
    """

    folder: pathlib.Path
    values: dict
    text: bytes
    family: Family
    config: typing.Any
    tensors: collections.abc.Mapping
    apart: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    closed: bool = False

    @property
    def task(self) -> str | None:
        """The task that the checkpoint's architecture was made for, or None."""
        return self.family.task(self.values.get("architectures"))

    def head(self, task: str | None) -> Head | None:
        """Return the family's `Head` for a task."""
        return self.family.head(task, self.values.get("architectures"))

    def labelled(self, task: str | None) -> dict[str, typing.Any]:
        """Return `config.json`; if it does not name the classes, with the default classes of the task's head."""
        return labelled(self.values, self.head(task))

    def read(self, weights: collections.abc.Mapping[str, typing.Any], task: str | None = None) -> typing.Any:
        """Return the tensors by this library's names. See `WeightMap.read`.

        Args:
            weights: the model's weights by name.
            task: the task whose head is among the weights; None for the body alone.
        """
        table = self.family.table(self.config, self.head(task) if task else None, self.apart)
        return table.read(self.tensors, weights, self.closed)

    def origin(self, read: typing.Any = None) -> Origin:
        """Return the `Origin`, which saving reproduces. With `read`, the result of `read` for a model of the same task,
        tensors that the model does not use are kept."""
        unused = () if read is None else (*read.ignored, *read.heads, *read.outside)
        headers, index = tensor_files.headers_of(self.folder)
        return Origin(
            self.family,
            self.head(self.task),
            self.values,
            self.text,
            {name: tensor_files.dtype_of(self.tensors, name) for name in self.tensors},
            {name: self.tensors[name] for name in unused},
            headers,
            index,
            generation.read_bytes() if is_plain(generation := self.folder / "generation_config.json") else None,
            self.config,
            self.apart,
        )


def labelled(values: dict[str, typing.Any], head: Head | None) -> dict[str, typing.Any]:
    """Return a `config.json`; if it neither names nor counts the classes, with the head's defaults."""
    if head is None:
        return values
    if head.num_classes is not None and values.get("id2label") is None:
        values = {"num_labels": head.num_classes} | values
    return values | ({"id2label": dict(enumerate(head.labels))} if head.labels else {})


def read(
    folder: pathlib.Path, values: dict[str, typing.Any], task: str | None = None, adapter: str | None = None
) -> Checkpoint:
    """Open a checkpoint's folder and interpret its configuration, without reading its tensors.

    Args:
        folder: the folder.
        values: the parsed `config.json`.
        task: the task that uses the checkpoint; by default the task that the checkpoint was made for.
        adapter: the adapter to merge, for a folder that holds several (`task_adapters`).

    Raises:
        FileNotFoundError, ValueError: for an unknown model_type, refused keys, missing or damaged weights, and an
            unknown adapter.
    """
    folder = pathlib.Path(folder)
    where = folder / "config.json"
    family = family_of(values, where)
    try:
        config = family.config(values, task, where)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    tensors, architectures, text = tensor_files.open_tensors(folder), values.get("architectures"), where.read_bytes()
    values, tensors, notes = task_adapters.merge(values, tensors, adapter, folder)
    text = text if adapter is None else preset.json_bytes(values)
    foreign.refuse_quantized(tensors, folder)
    own = family.task(architectures)
    settled = settle(family, config, family.head(own if task is None else task, architectures), tensors, folder)
    notes = (*notes, *settled.notes, *computed.check(settled.config, tensors, folder))
    return Checkpoint(folder, values, text, family, settled.config, tensors, settled.apart, notes)


def write(
    config: typing.Any,
    weights: collections.abc.Mapping[str, typing.Any],
    task: str,
    origin: Origin | None = None,
    values: collections.abc.Mapping[str, typing.Any] | None = None,
    dtype: str | None = None,
) -> dict[str, typing.Any] | None:
    """Return the files of a checkpoint that transformers opens, or None if no family describes the model.

    Args:
        config: a `ModelConfig`.
        weights: Keras variables by name.
        task: the name of the task's class.
        origin: an `Origin`. All that is still valid in it is kept: the spelling of names, dtypes if they lose no value,
            other tensors, keys, and the exact bytes of unchanged files.
        values: keys of `config.json` that the task adds, such as `id2label`, if they differ from the origin's.
        dtype: the dtype to store weights as; None for the origin's dtypes or, without an origin, the weights' own.

    Returns: a dictionary as for `preset.save_folder`.
    """
    naming = naming_of(config, task, origin)
    if naming is None:
        return None
    family, head = naming
    of_family = origin if origin is not None and origin.family is family else None
    of_task = of_family if of_family is not None and of_family.head is head else None
    arrays = _arrays(config, weights, family, head, of_task)
    if dtype is None:
        arrays = tensor_files.as_stored(arrays, {} if of_family is None else of_family.dtypes)
    stored = dtype or next(array.dtype.name for array in arrays.values() if array.dtype.kind not in "iub")
    written = family.write(config)
    added = {"architectures": [head.architecture], **(values or {})}
    if of_family is None:
        added = {**written, **added, "torch_dtype": stored}
        config_file = preset.json_bytes({"model_type": family.written_type or family.model_type, **added})
    else:
        config_file = _changed_config(of_family, config, written, added, of_task is not None, stored)
    return {
        "config.json": config_file,
        **tensor_files.files_of(arrays, *((of_task.headers, of_task.index) if of_task else ({}, None)), dtype),
    }


def _arrays(
    config: typing.Any,
    weights: collections.abc.Mapping[str, typing.Any],
    family: Family,
    head: Head,
    origin: Origin | None,
) -> dict[str, np.ndarray]:
    """Return the arrays by their names in the file, spelled as in the origin, with the tensors that it kept."""
    if origin is None:
        return family.table(config, head, ()).write(weights, None if head.entries else ())
    arrays = family.table(config, head, origin.apart).write(weights, origin.dtypes)
    return arrays | {name: array for name, array in origin.kept.items() if name not in arrays}


def _changed_config(
    origin: Origin,
    config: typing.Any,
    written: dict[str, typing.Any],
    added: dict[str, typing.Any],
    same_task: bool,
    stored: str | None,
) -> bytes:
    """Return the bytes of the origin's `config.json` with all changes since."""
    values = origin.values
    changes = {} if origin.config == config else dict(written)
    if same_task:
        added = {name: value for name, value in added.items() if name != "architectures"}
    if set(added) & TASK_VALUES:  # replaced all at once: old values that stayed would contradict new ones
        values = {name: value for name, value in values.items() if name not in (*TASK_VALUES, "num_labels")}
    changes |= added
    for name in {"dtype", "torch_dtype"} & set(values):
        changes[name] = stored if values[name] not in (None, "auto") else values[name]
    values = {**values, **changes}
    return origin.text if values == origin.values else preset.json_bytes(values)
