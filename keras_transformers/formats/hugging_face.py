"""Hugging Face checkpoints: `config.json` and tensors, read and written through a family's tables.

    config.json ─────────► Family ─────► ModelConfig
    model.safetensors ───► WeightMap ──► weights          Origin: the rest of the files' content, so
    pytorch_model.bin ──┘                                 that an unchanged model is saved byte for
                                                          byte

No code of a folder is executed: `pytorch_model.bin` goes through torch's weights-only loader.
"""

import collections.abc
import dataclasses
import json
import pathlib
import struct
import typing
import zipfile

import numpy as np

from keras_transformers.families.family import Family, Head
from keras_transformers.families.naming import naming_of
from keras_transformers.families.registry import family_of
from keras_transformers.files.reading import is_plain
from keras_transformers.formats import computed, foreign, preset, task_adapters
from keras_transformers.formats.own import TASK_VALUES
from keras_transformers.formats.ties import settle

TORCH_WEIGHTS, TORCH_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
# The safetensors dtypes of weights.
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32"}


@dataclasses.dataclass(frozen=True)
class Origin:
    """What the files hold besides the weights, kept so that saving can reproduce them.

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
        headers, index = headers_of(self.folder)
        return Origin(
            self.family,
            self.head(self.task),
            self.values,
            self.text,
            {name: dtype_of(self.tensors, name) for name in self.tensors},
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
    tensors, architectures, text = open_tensors(folder), values.get("architectures"), where.read_bytes()
    values, tensors, told = task_adapters.merge(values, tensors, adapter, folder)
    text = text if adapter is None else preset.json_bytes(values)
    foreign.refuse_quantized(tensors, folder)
    own = family.task(architectures)
    settled = settle(family, config, family.head(own if task is None else task, architectures), tensors, folder)
    notes = (*told, *settled.notes, *computed.check(settled.config, tensors, folder))
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
        arrays = as_stored(arrays, {} if of_family is None else of_family.dtypes)
    stored = dtype or next(array.dtype.name for array in arrays.values() if array.dtype.kind not in "iub")
    written = family.write(config)
    told = {"architectures": [head.architecture], **(values or {})}
    if of_family is None:
        told = {**written, **told, "torch_dtype": stored}
        config_file = preset.json_bytes({"model_type": family.written_type or family.model_type, **told})
    else:
        config_file = _changed_config(of_family, config, written, told, of_task is not None, stored)
    return {
        "config.json": config_file,
        **tensor_files(arrays, *((of_task.headers, of_task.index) if of_task else ({}, None)), dtype),
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
    told: dict[str, typing.Any],
    same_task: bool,
    stored: str | None,
) -> bytes:
    """Return the bytes of the origin's `config.json` with all changes since."""
    values = origin.values
    changes = {} if origin.config == config else dict(written)
    if same_task:
        told = {name: value for name, value in told.items() if name != "architectures"}
    if set(told) & TASK_VALUES:  # replaced all at once: old values that stayed would contradict new ones
        values = {name: value for name, value in values.items() if name not in (*TASK_VALUES, "num_labels")}
    changes |= told
    for name in {"dtype", "torch_dtype"} & set(values):
        changes[name] = stored if values[name] not in (None, "auto") else values[name]
    values = {**values, **changes}
    return origin.text if values == origin.values else preset.json_bytes(values)


def as_stored(arrays: dict[str, np.ndarray], dtypes: collections.abc.Mapping[str, str]) -> dict[str, np.ndarray]:
    """Convert the arrays to the dtypes of a file if no value is lost; otherwise return them unchanged."""
    import ml_dtypes

    stored = {}
    for name, array in arrays.items():
        wanted = dtypes.get(name, array.dtype.name)
        if array.dtype.kind not in "iub" and array.dtype.name != wanted:
            with np.errstate(over="ignore"):
                narrow = array.astype(getattr(ml_dtypes, wanted, wanted))
            if not np.array_equal(narrow.astype(array.dtype), array, equal_nan=True):
                return arrays
            array = narrow
        stored[name] = array
    return stored


def tensor_files(
    arrays: dict[str, np.ndarray], headers: dict[str, bytes], index: bytes | None, dtype: str | None
) -> dict[str, typing.Any]:
    """Return the files of tensors, as for `preset.save_folder`: with the headers of the files that they come from, if
    these describe the same tensors.

    Args:
        arrays: the tensors by name.
        headers, index: as `headers_of` returns them.
        dtype: the dtype to store weights as; None for their own.
    """
    if dtype is None and headers:
        layouts = {name: _layout(header) for name, header in headers.items()}
        described = {
            tensor: (entry["dtype"], tuple(entry["shape"])) for each in layouts.values() for tensor, entry in each
        }
        names = {ours: theirs for theirs, ours in _DTYPES.items()}
        if described == {name: (names.get(array.dtype.name), array.shape) for name, array in arrays.items()}:
            files = {name: _writer(header, layouts[name], arrays) for name, header in headers.items()}
            return files if index is None else {**files, preset.INDEX: index}
    return {preset.WEIGHTS: lambda path: preset.write_tensors(path, arrays, dtype=dtype)}


def _writer(
    header: bytes, layout: list[tuple[str, dict[str, typing.Any]]], arrays: collections.abc.Mapping[str, np.ndarray]
) -> collections.abc.Callable[[pathlib.Path], None]:
    """Return a function that writes one safetensors file with an existing header."""

    def write(path: pathlib.Path) -> None:
        with open(path, "wb") as file:
            file.write(header)
            for name, _ in layout:
                file.write(np.ascontiguousarray(arrays[name]).tobytes())

    return write


def _layout(header: bytes) -> list[tuple[str, dict[str, typing.Any]]]:
    """Return [(name, entry)] of a raw header, in the order of the tensors in the file."""
    entries = json.loads(header[8:])
    entries.pop("__metadata__", None)
    return sorted(entries.items(), key=lambda item: item[1]["data_offsets"])


def headers_of(folder: pathlib.Path) -> tuple[dict[str, bytes], bytes | None]:
    """Return the raw headers of a folder's safetensors files, by file name, and the index's bytes; empty and None for
    other weights."""
    index = None
    if is_plain(folder / preset.WEIGHTS):
        names = [preset.WEIGHTS]
    elif is_plain(folder / preset.INDEX):
        index = (folder / preset.INDEX).read_bytes()
        names = sorted(set(json.loads(index)["weight_map"].values()))
    else:
        return {}, None
    headers = {}
    for name in names:
        with open(folder / name, "rb") as file:
            length = file.read(8)
            headers[name] = length + file.read(struct.unpack("<Q", length)[0])
    return headers, index


def open_tensors(folder: pathlib.Path) -> collections.abc.Mapping[str, np.ndarray]:
    """Open the arrays of a folder's safetensors or PyTorch files by name, each read on access."""
    torch_files = [folder / name for name in (TORCH_WEIGHTS, TORCH_INDEX) if is_plain(folder / name)]
    if any(is_plain(folder / name) for name in (preset.WEIGHTS, preset.INDEX)) or not torch_files:
        return preset.read_tensors(folder)
    path = torch_files[0]
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path} is PyTorch's own format, and PyTorch is not installed: `pip install torch`, or convert the file "
            "to safetensors."
        ) from error
    paths = [path] if path.name == TORCH_WEIGHTS else preset.indexed_files(folder, TORCH_INDEX, ".bin")
    tensors: dict[str, typing.Any] = {}
    for path in paths:
        try:
            part = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except Exception as error:  # a pickle can fail in any way
            problem = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"Expected tensors and nothing else in {path}, got what torch's weights-only loader refuses "
                f"({problem:.200}). Nothing was executed. Download it again, or convert it to "
                "safetensors where you trust it."
            ) from None
        if not isinstance(part, dict) or not all(isinstance(each, torch.Tensor) for each in part.values()):
            raise ValueError(f"Expected a dictionary of tensors in {path}, got {type(part).__name__}.")
        _check_storage(part, path)
        tensors |= part
    return TorchTensors(tensors)


def _check_storage(tensors: collections.abc.Mapping[str, typing.Any], path: pathlib.Path) -> None:
    """Refuse tensors that are larger than their storage in the file: strides of 0 make gigabytes of a few numbers."""
    import torch

    def is_whole(name: str, tensor: typing.Any) -> bool:
        if not isinstance(name, str) or tensor.layout != torch.strided or tensor.device.type != "cpu":
            return False
        return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()

    odd = [f"{name!r} {list(tensor.shape)}" for name, tensor in tensors.items() if not is_whole(name, tensor)]
    held = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors.values()}
    if odd or sum(held.values()) > path.stat().st_size:
        raise ValueError(
            f"Expected tensors by name of which {path} holds every number, got others"
            f"{f', such as {odd[0]}' if odd else ''}. Convert the file to safetensors where you trust it."
        )


class TorchTensors(collections.abc.Mapping):
    """The tensors of a `pytorch_model.bin` as numpy arrays, each converted on access."""

    def __init__(self, tensors: collections.abc.Mapping[str, typing.Any]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> np.ndarray:
        import torch

        tensor = self._tensors[name].detach()
        if tensor.dtype == torch.bfloat16:
            import ml_dtypes

            return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return tensor.numpy()

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple."""
        return tuple(self._tensors[name].shape)

    def dtype(self, name: str) -> str:
        """Return the dtype of one array, as numpy names it."""
        return str(self._tensors[name].dtype).removeprefix("torch.")


def dtype_of(tensors: typing.Any, name: str) -> str:
    """Return the dtype of one of a folder's tensors, as numpy names it."""
    dtype = tensors.dtype(name)
    return _DTYPES.get(dtype, dtype)
