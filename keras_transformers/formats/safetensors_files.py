"""Safetensors files: checked when they are opened, and each tensor read on access; and written.

model.safetensors                    all tensors of a folder
model.safetensors.index.json         or the file of each tensor, if there are several files
"""

import collections.abc
import json
import os
import pathlib
import struct
import typing

from keras_transformers.files.reading import is_plain
from keras_transformers.formats import preset

if typing.TYPE_CHECKING:
    import numpy as np


def read_tensors(folder: str | os.PathLike[str]) -> "Tensors":
    """Open the weights of a preset without reading them.

    Reads `model.safetensors`, or all the files that `model.safetensors.index.json` names. Every header is checked
    against the length of its file, and the index against the headers, before anything is returned.

    Args:
        folder: the preset's folder, or one `.safetensors` file.

    Returns:
        `Tensors`, a mapping of names to numpy arrays that reads each array on access.

    Raises:
        FileNotFoundError: if there are no weights, or files that the index names are missing.
        ValueError: for a truncated or malformed file, or an index that leads out of the folder or contradicts its
            files.

    Example:
        >>> write_tensors("w.safetensors", {"kernel": np.ones((2, 3), "float32")})
        >>> read_tensors("w.safetensors")["kernel"].shape
        (2, 3)
    """
    folder = pathlib.Path(folder)
    if folder.is_dir() and is_plain(folder / preset.INDEX) and not is_plain(folder / preset.WEIGHTS):
        return Tensors(_open_all(folder))
    path = (
        preset.existing(folder, preset.WEIGHTS)
        if folder.is_dir() or not folder.exists()
        else preset.existing(folder.parent, folder.name)
    )
    file = _open(path)
    return Tensors(dict.fromkeys(file.keys(), file))


class Tensors(collections.abc.Mapping):
    """The arrays of one or more safetensors files by name, each read on access.

    bfloat16 arrays have the dtype of `ml_dtypes`. Made by `read_tensors`.
    """

    def __init__(self, files: collections.abc.Mapping[str, typing.Any]) -> None:
        self._files = files  # tensor name → the open file that holds it

    def __getitem__(self, name: str) -> "np.ndarray":
        file = self._files[name]
        try:
            return file.get_tensor(name)
        except AttributeError as error:  # safetensors looks the dtype up in numpy, which may lack it
            dtype = file.get_slice(name).get_dtype()
            raise ValueError(
                f"Expected a dtype that numpy or bfloat16 covers, got {dtype} in {name!r}. "
                "Convert it to F16 or BF16 first."
            ) from error

    def __contains__(self, name: object) -> bool:  # without reading the array
        return name in self._files

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple, without reading the array."""
        return tuple(self._files[name].get_slice(name).get_shape())

    def dtype(self, name: str) -> str:
        """Return the safetensors dtype of one array, such as `"F32"` or `"BF16"`, without reading the array."""
        return self._files[name].get_slice(name).get_dtype()


def write_tensors(
    path: str | os.PathLike[str], tensors: collections.abc.Mapping[str, typing.Any], dtype: str | None = None
) -> None:
    """Write arrays into one safetensors file. The write is not atomic; `save_folder` makes it so.

    Args:
        path: the path of the file.
        tensors: name → array, anything that `numpy.asarray` takes.
        dtype: the dtype to store floating-point arrays as, such as `"float16"`; None keeps the dtype of each. Other
            arrays are not converted.

    Raises:
        ValueError: if a finite value does not fit in `dtype`.

    Example:
        >>> save_folder("mine", {WEIGHTS: lambda path: write_tensors(path, {"kernel": kernel}, dtype="float16")})
    """
    import ml_dtypes
    import numpy as np
    import safetensors.numpy

    floating = (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)
    stored = {}
    for name, tensor in tensors.items():
        array = np.asarray(tensor)
        if dtype is not None and array.dtype in floating:
            array = _narrow(name, array, np.dtype(getattr(ml_dtypes, dtype, dtype)))
        # safetensors writes the memory and ignores the strides. (ascontiguousarray would make a scalar a vector.)
        stored[name] = array if array.flags.c_contiguous else array.copy(order="C")
    # transformers opens a file only if its metadata names a framework.
    safetensors.numpy.save_file(stored, os.fspath(path), metadata={"format": "pt"})


def _narrow(name: str, array: "np.ndarray", dtype: "np.dtype") -> "np.ndarray":
    import numpy as np

    with np.errstate(over="ignore"):
        narrow = array.astype(dtype)
    lost = np.isfinite(array) & ~np.isfinite(narrow)
    if lost.any():
        largest = np.abs(array[lost].astype("float64")).max()
        raise ValueError(
            f"Expected values that fit in {dtype}, got {largest:.6g} in {name!r}. Save with dtype=None or 'bfloat16'."
        )
    return narrow


def _open(path: pathlib.Path) -> typing.Any:
    """Open a safetensors file and check its header against the file's length."""
    import ml_dtypes  # noqa: F401  registers bfloat16 with numpy
    import safetensors

    try:
        return safetensors.safe_open(os.fspath(path), framework="np")
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(
            f"Expected a whole safetensors file, got {path} of {path.stat().st_size} bytes{_claimed(path)} ({error}). "
            "Download or save it again."
        ) from error


def _claimed(path: pathlib.Path) -> str:
    """Return the length that the file's header claims, as part of a message; "" if the header cannot be read."""
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length + 8 > path.stat().st_size:
                return f", whose header alone claims {length} bytes"
            entries = json.loads(file.read(length))
        end = max(entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__")
        return f", whose header claims {8 + length + end} bytes"
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return ""


def indexed_files(folder: pathlib.Path, index: str = preset.INDEX, ending: str = ".safetensors") -> list[pathlib.Path]:
    """Return the paths of the files that an index names, sorted.

    Args:
        folder: the folder of the index and the files.
        index: the index's file name: JSON with a `weight_map`, tensor name → file name.
        ending: the ending of the files' names.

    Raises:
        FileNotFoundError, ValueError: for missing files, or an index that names files outside of its folder.
    """
    path = folder / index
    names = sorted(set(_weight_map(path).values()))
    for name in names:
        preset.check_plain_name(name, path)
        if "/" in name or not name.endswith(ending):
            raise ValueError(
                f"Expected names of {ending} files beside {path}, got {name!r}. Download or save it again."
            )
    missing = [name for name in names if not is_plain(folder / name)]
    if missing:
        raise FileNotFoundError(
            f"Expected all {len(names)} files that {path} names, missing: {', '.join(missing)}. "
            "Download them, or save again."
        )
    return [folder / name for name in names]


def _weight_map(path: pathlib.Path) -> dict[str, str]:
    weight_map = preset.read_json(path.parent, path.name).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise ValueError(
            f"Expected 'weight_map' in {path} to give a file name for each tensor, got {weight_map!r:.80}. "
            "Download or save it again."
        )
    return weight_map


def _open_all(folder: pathlib.Path) -> dict[str, typing.Any]:
    """Open a preset's weights in several files: tensor name → the open file that holds it."""
    path = folder / preset.INDEX
    weight_map = _weight_map(path)
    files = {each.name: _open(each) for each in indexed_files(folder)}
    held = {name: set(file.keys()) for name, file in files.items()}
    astray = [tensor for tensor, name in weight_map.items() if tensor not in held[name]]
    if astray:
        raise ValueError(
            f"Expected each tensor in the file that {path} names for it, "
            f"got {len(astray)} that are not there: {', '.join(astray[:5])}"
            f"{', …' if len(astray) > 5 else ''}. Download or save the preset again."
        )
    return {tensor: files[name] for tensor, name in weight_map.items()}
