"""Checks for damage in the files of a folder: hashes, headers, and finite numbers.

SHA256SUMS       each file's size and hash      a folder that this library saved
headers, JSON    each file, whatever wrote it
weights          no NaN and no infinity
"""

import os
import pathlib
import typing
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from keras_transformers.files import manifest
from keras_transformers.files.gguf import GGUF, GGUFFile
from keras_transformers.files.reading import is_plain, parse, read_text
from keras_transformers.formats import keras_weights, preset, safetensors_files, sources, tensor_files

# Files that are read when a folder is opened; a manifest must list them.
_READ = ("*.json", "*.safetensors", "*.bin", "*.h5", "*.model", "*.spm", "*.txt", "*.jinja")
_AT_ONCE = 2**24  # numbers checked at a time


class Verified(typing.NamedTuple):
    """The result of `verify`.

    Attributes:
        path: the folder, or the GGUF file.
        hashed: the number of files with the size and hash in the manifest; 0 if there is no manifest.
        files: the number of files that were read besides: JSON and weights.
        tensors: the number of arrays, all of whose numbers are finite.
        size: the size of the weights, in bytes.
    """

    path: pathlib.Path
    hashed: int
    files: int
    tensors: int
    size: int


def verify(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Verified:
    """Check the files of a preset, of adapters, or of training checkpoints: hashes, headers, finite values.

    No model is built, and no code of the folder is executed. A folder that this library did not save has no
    `SHA256SUMS`: its files are read, and `hashed` is 0.

    Args:
        name: a name or path as for `from_preset`, a folder of `kt.training.Checkpoint`, or one checkpoint in it.
        revision: the revision on a hub.
        progress: a function called with the number of bytes read so far, and the number of all bytes.

    Returns: `Verified`, its counts summed over all checkpoints.

    Raises:
        FileNotFoundError: if nothing has that name, or it holds nothing to check.
        ValueError: listing all damage.

    Example:
        >>> kt.verify("english-french").hashed
        5
    """
    path = pathlib.Path(sources.resolve(name, revision))
    folders = _folders(path)
    total = sum(file.stat().st_size * (1 + _is_weights(file)) for each in folders for file in _files(each))
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(min(done, total), total)

    problems: list[str] = []
    hashed = files = tensors = size = 0
    for folder in folders:
        found = _Folder(folder, tell)
        label = "" if folder == path else f"{folder.relative_to(path)}: "
        problems += [f"{label}{problem}" for problem in found.problems]
        hashed, files, tensors = hashed + found.hashed, files + found.files, tensors + found.tensors
        size += sum(file.stat().st_size for file in _files(folder) if _is_weights(file))
    if problems:
        shown = "\n  ".join(problems[:20])
        more = f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ValueError(f"{path} is damaged:\n  {shown}{more}\nDownload or save it again.")
    if progress is not None:
        progress(total, total)
    return Verified(path, hashed, files, tensors, size)


def _folders(path: pathlib.Path) -> list[pathlib.Path]:
    """Return the folders to check one by one: the path itself, or the checkpoints in it and a run's preset."""
    if not path.is_dir() or any(_files(path)):
        return [path]
    inner = [*path.glob("step-*"), *path.glob("checkpoints/step-*"), path / "preset"]
    folders = sorted(each for each in inner if each.is_dir() and "damaged" not in each.name and any(_files(each)))
    if not folders:
        raise FileNotFoundError(
            f"Expected a preset, adapters or checkpoints in {path}, found none of their files. Check the path."
        )
    return folders


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    """Return the files that opening a folder, or one file, would read."""
    if not path.is_dir():
        return [path]
    found = {file for pattern in (*_READ, manifest.MANIFEST) for file in path.glob(pattern)}
    return sorted(file for file in found if file.is_file())


def _is_weights(path: pathlib.Path) -> bool:
    return path.suffix in (".safetensors", ".bin", ".h5", GGUF)


class _Folder:
    """The findings in one folder or file: problems in words, and counts."""

    def __init__(self, path: pathlib.Path, tell: Callable[[int], None]) -> None:
        self.path, self._tell = path, tell
        self.problems: list[str] = []
        self.hashed = self.files = self.tensors = 0
        if path.is_dir():
            self._attempt(self._hashes)
            for file in sorted(path.rglob("*.json")):
                self._attempt(self._json, file)
        for opened in self._weights():
            self._numbers(opened)

    def _attempt(self, check: Callable[..., typing.Any], *arguments: typing.Any) -> typing.Any:
        try:
            return check(*arguments)
        except (OSError, ValueError) as error:
            self.problems.append(str(error))
            return None

    def _hashes(self) -> None:
        entries = manifest.read(self.path)
        if entries is None:
            return
        self.problems += manifest.differences(self.path, entries, self._tell)
        self.hashed = len(entries)
        there = {file.name for file in _files(self.path)} - {manifest.MANIFEST}
        self.problems += [f"{name} is not in {manifest.MANIFEST}" for name in sorted(there - entries.keys())]

    def _json(self, path: pathlib.Path) -> None:
        parse(read_text(path), path)
        self.files += 1

    def _weights(self) -> Iterator[Mapping[str, typing.Any]]:
        """Open and yield each set of tensors in the folder."""
        path = self.path
        if not path.is_dir():
            opened = self._attempt(GGUFFile, path)
            return iter([opened] if opened is not None else [])
        openers: list[Callable[[], Mapping[str, typing.Any]]] = []
        names = {file.name for file in path.iterdir()}
        if {preset.WEIGHTS, preset.INDEX, tensor_files.TORCH_WEIGHTS, tensor_files.TORCH_INDEX} & names:
            openers.append(lambda: tensor_files.open_tensors(path))
        if "adapter_model.safetensors" in names:
            openers.append(lambda: safetensors_files.read_tensors(path / "adapter_model.safetensors"))
        if {keras_weights.WEIGHTS, keras_weights.INDEX} & names:
            openers.append(lambda: keras_weights.Arrays(path, keras_weights.weight_files(path), "model"))
        if "task.weights.h5" in names and is_plain(path / "task.weights.h5"):
            openers.append(lambda: keras_weights.Arrays(path, ["task.weights.h5"], "task"))
        return filter(None, map(self._attempt, openers))

    def _numbers(self, tensors: Mapping[str, typing.Any]) -> None:
        self.files += 1
        odd = []
        for name in tensors:
            array = self._attempt(lambda name=name: np.asarray(tensors[name]))
            if array is None:
                continue
            if not _is_finite(array):
                odd.append(name)
            self._tell(array.nbytes)
            self.tensors += 1
        if odd:
            more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
            self.problems.append(f"NaN or infinity in {', '.join(odd[:5])}{more}")


def _is_finite(array: np.ndarray) -> bool:
    if array.dtype.kind in "iub":
        return True
    flat = array.reshape(-1)
    with np.errstate(all="ignore"):
        return all(np.isfinite(flat[at : at + _AT_ONCE]).all() for at in range(0, flat.size, _AT_ONCE))
