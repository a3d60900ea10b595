"""The files of a folder's tensors: safetensors and PyTorch files read, safetensors files written.

Files are written with the headers of the files that the tensors came from, so that unchanged tensors give the same
bytes. No code of a folder is executed: `pytorch_model.bin` goes through torch's weights-only loader.
"""

import collections.abc
import json
import pathlib
import struct
import typing
import zipfile

import numpy as np

from keras_transformers.files.reading import is_plain
from keras_transformers.formats import preset, safetensors_files

TORCH_WEIGHTS, TORCH_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
# The safetensors dtypes of weights.
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32"}


# Reading


def open_tensors(folder: pathlib.Path) -> collections.abc.Mapping[str, np.ndarray]:
    """Open the arrays of a folder's safetensors or PyTorch files by name, each read on access."""
    torch_files = [folder / name for name in (TORCH_WEIGHTS, TORCH_INDEX) if is_plain(folder / name)]
    if any(is_plain(folder / name) for name in (preset.WEIGHTS, preset.INDEX)) or not torch_files:
        return safetensors_files.read_tensors(folder)
    path = torch_files[0]
    paths = [path] if path.name == TORCH_WEIGHTS else safetensors_files.indexed_files(folder, TORCH_INDEX, ".bin")
    tensors: dict[str, typing.Any] = {}
    for path in paths:
        tensors |= _checked(_load(path), path)
    return TorchTensors(tensors)


def open_lightning(path: pathlib.Path) -> tuple["TorchTensors", dict[str, typing.Any]]:
    """Open a checkpoint of PyTorch Lightning: its tensors by name, each read on access, and its settings.

    Raises:
        ImportError: if PyTorch is not installed.
        ValueError: for another file, and for objects that the weights-only loader refuses.
    """
    content = _load(path)
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise ValueError(f"Expected a checkpoint of PyTorch Lightning with a state_dict in {path}, got another file.")
    settings = content.get("hyper_parameters")
    return TorchTensors(_checked(dict(content["state_dict"]), path)), settings if isinstance(settings, dict) else {}


def _load(path: pathlib.Path) -> typing.Any:
    """The content of a file of PyTorch, by its weights-only loader."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path} is PyTorch's own format, and PyTorch is not installed: `pip install torch`, or convert the file "
            "to safetensors."
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a pickle can fail in any way
        problem = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"Expected tensors and nothing else in {path}, got a file that torch's weights-only loader refuses "
            f"({problem:.200}). Nothing was executed. Download it again, or convert it to "
            "safetensors where you trust it."
        ) from None


def _checked(part: typing.Any, path: pathlib.Path) -> dict[str, typing.Any]:
    """A file's content, after refusing all but tensors by name, which the file holds whole."""
    import torch

    if not isinstance(part, dict) or not all(isinstance(each, torch.Tensor) for each in part.values()):
        raise ValueError(f"Expected a dictionary of tensors in {path}, got {type(part).__name__}.")
    _check_storage(part, path)
    return part


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


# Writing


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


def files_of(
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
    return {preset.WEIGHTS: lambda path: safetensors_files.write_tensors(path, arrays, dtype=dtype)}


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
