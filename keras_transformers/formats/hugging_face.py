"""Hugging Face's checkpoints: `config.json` and tensors through a family's table, there and back.

    config.json ─────────► Family ─────► ModelConfig
    model.safetensors ───► WeightMap ──► weights          Origin: what else the files held, so that
    pytorch_model.bin ──┘                                 a model that is only passed through comes
                                                          back byte for byte

Nothing of a folder is executed: `pytorch_model.bin` goes through torch's weights-only loader.
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
from keras_transformers.formats import computed, foreign, preset
from keras_transformers.formats.own import TASK_VALUES
from keras_transformers.formats.ties import settle

TORCH_WEIGHTS, TORCH_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
# Of safetensors' dtypes, those that weights come in.
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32"}


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a checkpoint's files held beyond configuration and weights.

    Attributes:
        family, head: what it was; `head` is None where its architecture belongs to no task.
        values, text: `config.json`, read and as it was.
        names: of all its tensors.
        dtypes: of its tensors, by name, numpy's names.
        kept: tensors that hold nothing of ours, by name.
        headers: by file name, the raw header of each safetensors file.
        index: the index of several files, as it was, or None.
        generation: `generation_config.json` as it was, or None.
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
    def task(self):
        """The task that it was made for, or None."""
        return self.head and self.head.task


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """An opened folder. `config` is its `ModelConfig`, `tensors` its arrays by their own names, read when asked for;
    `values` and `text` are its `config.json`, read and as it was. `apart` is as in `Family.table`; `notes` are
    sentences that a user should read; of one that is `closed`, no tensor may lie outside of the body.

    `own.Checkpoint` and `keras_hub.Checkpoint` have the same names: `config`, `task`, `labelled`, `read`, `origin`.
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
    def task(self):
        """The task that the checkpoint was made for, by its architecture, or None."""
        return self.family.task(self.values.get("architectures"))

    def head(self, task):
        """The family's `Head` for a task of ours."""
        return self.family.head(task, self.values.get("architectures"))

    def labelled(self, task):
        """`config.json`, with what is known of the classes of a head of `task` where no configuration names them."""
        return labelled(self.values, self.head(task))

    def read(self, weights, task=None):
        """The tensors under our names, as `WeightMap.read` gives them.

        Args:
            weights: ours by name.
            task: whose head is among them; None for the body alone.
        """
        table = self.family.table(self.config, self.head(task) if task else None, self.apart)
        return table.read(self.tensors, weights, self.closed)

    def origin(self, read=None):
        """What saving is to reproduce. `read` is what `read` returned, for a model of the same task: tensors of no use
        to it are kept."""
        unused = () if read is None else (*read.ignored, *read.heads, *read.outside)
        headers, index = _headers(self.folder)
        return Origin(
            self.family,
            self.head(self.task),
            self.values,
            self.text,
            {name: _dtype(self.tensors, name) for name in self.tensors},
            {name: self.tensors[name] for name in unused},
            headers,
            index,
            generation.read_bytes() if is_plain(generation := self.folder / "generation_config.json") else None,
            self.config,
            self.apart,
        )


def labelled(values, head):
    """A `config.json`, with what a `Head` knows of its classes where no configuration names or counts them."""
    if head is None:
        return values
    if head.num_classes is not None and values.get("id2label") is None:
        values = {"num_labels": head.num_classes} | values
    return values | ({"id2label": dict(enumerate(head.labels))} if head.labels else {})


def read(folder, values, task=None):
    """Open a checkpoint's folder: its configuration is understood, its tensors are not read yet.

    Args:
        folder: the folder.
        values: its `config.json`, read.
        task: the task that is to compute with it; by default the one that it was made for.

    Raises:
        FileNotFoundError, ValueError: for a model_type that no family has, keys that are refused, and weights that are
            missing or damaged.
    """
    folder = pathlib.Path(folder)
    where = folder / "config.json"
    family = family_of(values, where)
    try:
        config = family.config(values, task, where)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    tensors, architectures = open_tensors(folder), values.get("architectures")
    foreign.refuse_quantized(tensors, folder)
    own = family.task(architectures)
    settled = settle(family, config, family.head(own if task is None else task, architectures), tensors, folder)
    notes = (*settled.notes, *computed.check(settled.config, tensors, folder))
    return Checkpoint(folder, values, where.read_bytes(), family, settled.config, tensors, settled.apart, notes)


def write(config, weights, task, origin=None, values=None, dtype=None):
    """The files of a checkpoint that transformers opens, or None where no family describes the model.

    Args:
        config: a `ModelConfig`.
        weights: Keras variables by name.
        task: the name of the task's class.
        origin: an `Origin`. What was there and still holds is kept: the spelling of names, dtypes where no value is
            lost by them, other tensors, keys, and the very bytes where nothing changed.
        values: keys of `config.json` that the task adds, such as `id2label`, where they are not the origin's.
        dtype: what to store weights as; None for the origin's, or as they are.

    Returns: a dictionary as for `preset.save_folder`.
    """
    naming = naming_of(config, task, origin)
    if naming is None:
        return None
    family, head = naming
    same_family = origin is not None and origin.family is family
    same_task = same_family and origin.head is head
    like = origin.dtypes if same_task else None if head.entries else ()
    arrays = family.table(config, head, origin.apart if same_task else ()).write(weights, like)
    if same_task:
        arrays |= {name: array for name, array in origin.kept.items() if name not in arrays}
    if dtype is None:
        arrays = _as_stored(arrays, origin.dtypes if same_family else {})
    stored = dtype or next(array.dtype.name for array in arrays.values() if array.dtype.kind not in "iub")
    written = family.write(config)
    told = {"architectures": [head.architecture], **(values or {})}
    if not same_family:
        config_file = preset.json_bytes({"model_type": family.model_type, **written, **told, "torch_dtype": stored})
    else:
        config_file = _changed_config(origin, config, written, told, same_task, stored)
    return {
        "config.json": config_file,
        **_tensor_files(arrays, origin if same_task else None, dtype),
    }


def _changed_config(origin, config, written, told, same_task, stored):
    """The bytes of `config.json` with what is no longer as it was in `origin`."""
    values = origin.values
    changes = {} if origin.config == config else dict(written)
    if same_task:
        told = {name: value for name, value in told.items() if name != "architectures"}
    if set(told) & TASK_VALUES:  # all of them are told at once: what is left of the old ones would contradict
        values = {name: value for name, value in values.items() if name not in (*TASK_VALUES, "num_labels")}
    changes |= told
    for name in {"dtype", "torch_dtype"} & set(values):
        changes[name] = stored if values[name] not in (None, "auto") else values[name]
    values = {**values, **changes}
    return origin.text if values == origin.values else preset.json_bytes(values)


def _as_stored(arrays, dtypes):
    """The arrays in the dtypes that a file had, if no value of any is lost by it; else as they are."""
    import ml_dtypes

    stored = {}
    for name, array in arrays.items():
        wanted = dtypes.get(name, array.dtype.name)
        if array.dtype.kind not in "iub" and array.dtype.name != wanted:
            wanted = np.dtype(getattr(ml_dtypes, wanted, wanted))
            with np.errstate(over="ignore"):
                narrow = array.astype(wanted)
            if not np.array_equal(narrow.astype(array.dtype), array, equal_nan=True):
                return arrays
            array = narrow
        stored[name] = array
    return stored


def _tensor_files(arrays, origin, dtype):
    if dtype is None and origin is not None and origin.headers:
        layouts = {name: _layout(header) for name, header in origin.headers.items()}
        described = {
            tensor: (entry["dtype"], tuple(entry["shape"])) for each in layouts.values() for tensor, entry in each
        }
        names = {ours: theirs for theirs, ours in _DTYPES.items()}
        if described == {name: (names.get(array.dtype.name), array.shape) for name, array in arrays.items()}:
            files = {name: _writer(header, layouts[name], arrays) for name, header in origin.headers.items()}
            return files if origin.index is None else {**files, preset.INDEX: origin.index}
    return {preset.WEIGHTS: lambda path: preset.write_tensors(path, arrays, dtype=dtype)}


def _writer(header, layout, arrays):
    """A function that writes one safetensors file with a header that is there already."""

    def write(path):
        with open(path, "wb") as file:
            file.write(header)
            for name, _ in layout:
                file.write(np.ascontiguousarray(arrays[name]).tobytes())

    return write


def _layout(header):
    """[(name, entry)] of a raw header, as the tensors lie in the file."""
    entries = json.loads(header[8:])
    entries.pop("__metadata__", None)
    return sorted(entries.items(), key=lambda item: item[1]["data_offsets"])


def _headers(folder):
    """The raw headers of a folder's safetensors files by file name, and the index's bytes; none for other weights."""
    index = folder / preset.INDEX
    if is_plain(folder / preset.WEIGHTS):
        names, index = [preset.WEIGHTS], None
    elif is_plain(index):
        index = index.read_bytes()
        names = sorted(set(json.loads(index)["weight_map"].values()))
    else:
        return {}, None
    headers = {}
    for name in names:
        with open(folder / name, "rb") as file:
            length = file.read(8)
            headers[name] = length + file.read(struct.unpack("<Q", length)[0])
    return headers, index


def open_tensors(folder):
    """The arrays of a folder by their own names, of safetensors or PyTorch's files, each read when it is asked for."""
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


def _check_storage(tensors, path):
    """Refuse tensors that the file does not hold: with strides of 0, a few numbers are gigabytes."""
    import torch

    def is_whole(name, tensor):
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
    """The tensors of a `pytorch_model.bin` as numpy arrays, each made when it is asked for."""

    def __init__(self, tensors):
        self._tensors = tensors

    def __getitem__(self, name):
        import torch

        tensor = self._tensors[name].detach()
        if tensor.dtype == torch.bfloat16:
            import ml_dtypes

            return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return tensor.numpy()

    def __iter__(self):
        return iter(self._tensors)

    def __len__(self):
        return len(self._tensors)

    def shape(self, name):
        """The shape of one array, as a tuple."""
        return tuple(self._tensors[name].shape)

    def dtype(self, name):
        """The dtype of one array, as numpy names it."""
        return str(self._tensors[name].dtype).removeprefix("torch.")


def _dtype(tensors, name):
    dtype = tensors.dtype(name)
    return _DTYPES.get(dtype, dtype)
