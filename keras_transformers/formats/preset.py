"""The preset folder in the Hugging Face layout: atomic saving and checked reading.

    config.json                      the model's configuration
    model.safetensors                its weights; or several such files and model.safetensors.index.json,
                                     which names the file of each tensor
    tokenizer.json, tokenizer_config.json, generation_config.json

**Saving is atomic.** All files are written into `.<name>.partial` beside the folder and forced to disk. Then the two
folders change places in one step (`files/replacement.py`). If the program stops at any point, the folder is the
complete old preset or the complete new one.
"""

import collections.abc
import errno
import json
import os
import pathlib
import shutil
import struct
import typing

from keras_transformers.files import manifest, replacement
from keras_transformers.files.reading import is_plain, read_object
from keras_transformers.formats import foreign

if typing.TYPE_CHECKING:
    import numpy as np

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

# Files that a save writes, and so may delete if it replaces a preset. Other files (a model card, a picture) belong to
# the user and stay.
_OWN_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "target_tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates",
    "special_tokens_map.json",
    "vocab.json",
    "target_vocab.json",
    "source.spm",
    "target.spm",
    "sentencepiece.bpe.model",
    "modules.json",
    *("*_Pooling", "*_Dense", "*_LayerNorm", "*_Normalize", "*_SpladePooling", "*_MultiVectorMask"),
    *("router_config.json", "query_[0-9]*_*", "document_[0-9]*_*"),
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    WEIGHTS,
    INDEX,
    "model-*-of-*.safetensors",
    manifest.MANIFEST,
)


def save_folder(
    folder: str | os.PathLike[str], files: collections.abc.Mapping[str, typing.Any], marker: str = "config.json"
) -> None:
    """Write a preset folder atomically: after a kill or an error, the complete old content or the new one is there.

    `SHA256SUMS` beside the files lists their sizes and hashes. Files of the old folder that are not part of a preset,
    such as a `README.md`, are carried over. Concurrent saves of one folder wait for each other, if the file system has
    locks.

    Args:
        folder: the folder to write. It may be absent, empty, or a preset (with a `config.json`), which is replaced.
        files: file name → its `bytes`, or a function that takes a path and writes the file there.
        marker: the file whose presence allows replacing a folder. With another marker than a preset's, only files with
            the names in `files` are replaced.

    Raises:
        FileExistsError: if something else is there. Nothing is changed.
        OSError: if the disk is full. The old content is unchanged.
        ValueError: for a file name that leads out of the folder.

    Example:
        >>> save_folder("mine", {"config.json": json_bytes({"model_type": "keras_transformers"})})
    """
    # A link stays; its target is replaced.
    folder = pathlib.Path(folder).expanduser().resolve()
    for name in files:
        _check_plain_name(name, f"the files to save in {folder}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacement.locked(folder.parent):
        replacement.put_back(folder)
        check_replaceable(folder, marker)
        partial, old = replacement.beside(folder)
        for leftover in (partial, old):
            if leftover.exists():
                shutil.rmtree(leftover)
        partial.mkdir()
        try:
            for name, content in files.items():
                _write(partial / name, content)
            entries = manifest.of_files(partial, files)
            replacement.carry_over(folder, partial, _OWN_FILES if marker == "config.json" else (manifest.MANIFEST,))
            entries = _kept_entries(folder, partial) | entries
            _write(partial / manifest.MANIFEST, manifest.to_bytes(entries))
            for inner, _, _ in os.walk(partial):
                replacement.sync(pathlib.Path(inner))
            replacement.put_in_place(partial, folder, old)
            replacement.sync(folder.parent)
        except BaseException as error:
            replacement.put_back(folder)
            shutil.rmtree(partial, ignore_errors=True)
            if (number := _failure(error)) is not None:
                raise OSError(
                    number,
                    f"Expected room to save {folder}, got: {os.strerror(number)}. The old folder is whole; make "
                    "room, or save elsewhere",
                ) from error
            raise
        for replaced in (partial, old):
            shutil.rmtree(replaced, ignore_errors=True)


def _failure(error: BaseException) -> int | None:
    """Return the number of an error about a full disk, from the system or from safetensors; None for other errors."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError):
        return error.errno if error.errno in full else None
    if type(error).__name__ == "SafetensorError":
        return next((number for number in full if f"os error {number}" in str(error)), None)
    return None


def check_replaceable(folder: str | os.PathLike[str], marker: str = "config.json") -> None:
    """Raise `FileExistsError` if `save_folder` would, so that a long run fails before it starts.

    Args:
        folder: the folder to save to later.
        marker: as for `save_folder`.
    """
    folder = pathlib.Path(folder).expanduser()
    if pathlib.Path.cwd().is_relative_to(folder.resolve()):
        raise FileExistsError(
            f"Expected a folder to replace, got {folder}, which this program works in. Name a folder inside it."
        )
    markers = (marker, "modules.json") if marker == "config.json" else (marker,)
    is_preset = folder.is_dir() and any((folder / each).is_file() for each in markers)
    if not folder.exists() or is_preset or (folder.is_dir() and not any(folder.iterdir())):
        return
    found = f"a folder without {marker}" if folder.is_dir() else "a file"
    raise FileExistsError(
        f"Expected {folder} to be absent, empty, or a preset to replace, found {found}. "
        "Choose another place, or clear it first."
    )


def json_bytes(value: typing.Any) -> bytes:
    """Return the bytes of a JSON file: indented, keys in the given order, UTF-8, one newline at the end."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def read_json(folder: str | os.PathLike[str], name: str) -> dict[str, typing.Any]:
    """Read one JSON file of a preset.

    Args:
        folder: the preset's folder.
        name: the file, such as `"config.json"`.

    Returns:
        `dict`.

    Raises:
        FileNotFoundError: if the folder or the file is missing; the message lists the files that are there.
        ValueError: if the file is not plain, not UTF-8, not JSON, or its value is not an object.

    Example:
        >>> read_json("mine", "config.json")
        {'model_type': 'keras_transformers'}
    """
    return read_object(_existing(pathlib.Path(folder), name))


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
    if folder.is_dir() and is_plain(folder / INDEX) and not is_plain(folder / WEIGHTS):
        return Tensors(_open_all(folder))
    path = (
        _existing(folder, WEIGHTS) if folder.is_dir() or not folder.exists() else _existing(folder.parent, folder.name)
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


def indexed_files(folder: pathlib.Path, index: str = INDEX, ending: str = ".safetensors") -> list[pathlib.Path]:
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
        _check_plain_name(name, path)
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
    weight_map = read_json(path.parent, path.name).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise ValueError(
            f"Expected 'weight_map' in {path} to give a file name for each tensor, got {weight_map!r:.80}. "
            "Download or save it again."
        )
    return weight_map


def _open_all(folder: pathlib.Path) -> dict[str, typing.Any]:
    """Open a preset's weights in several files: tensor name → the open file that holds it."""
    path = folder / INDEX
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


def _existing(folder: pathlib.Path, name: str) -> pathlib.Path:
    path = folder / name
    if is_plain(path):
        return path
    if not folder.is_dir():
        found = f"{foreign.way_on(folder) or 'found a file there.'} Give a folder" if folder.exists() else None
        raise FileNotFoundError(
            f"Expected a preset folder at {folder}, {found or 'found nothing there. Check the path'}."
        )
    if other := foreign.way_on(folder):
        raise FileNotFoundError(f"Expected {name} in {folder}, {other}")
    there = ", ".join(sorted(item.name for item in folder.iterdir())[:20]) or "nothing"
    raise FileNotFoundError(
        f"Expected {name} in {folder}, found {there}. Check that this is a preset and that it was copied as a whole."
    )


def _check_plain_name(name: str, where: object) -> None:
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part or ":" in part or "\0" in part for part in parts):
        raise ValueError(
            f"Expected file names inside the preset's folder, got {name!r} in {where}. "
            "Give a relative name without '..'."
        )


def _write(path: pathlib.Path, content: typing.Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    replacement.sync(path)


def _kept_entries(folder: pathlib.Path, partial: pathlib.Path) -> dict[str, typing.Any]:
    """Return the entries of the old manifest whose files were carried over; none if the manifest is damaged."""
    try:
        entries = manifest.read(folder) or {}
    except ValueError:
        return {}
    return {name: entry for name, entry in entries.items() if (partial / name).is_file()}
