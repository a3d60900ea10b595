"""Git LFS pointers: a clone made without Git LFS has small text files in place of large ones.

version https://git-lfs.github.com/spec/v1
oid sha256:4d7a…
size 267967963
"""

import os
import pathlib

_BEGINNING = b"version https://git-lfs.github.com/spec/"
_LONGEST = 1024  # bytes; a pointer is shorter by its specification
# The files of a preset that may be read. Weights in PyTorch's format are read only if there are no others.
_FILES = ("*.json", "model*.safetensors", "*.weights.h5", "*.model", "*.spm", "*.txt", "*.jinja")


def is_pointer(path: pathlib.Path) -> bool:
    """Return whether a file is a Git LFS pointer."""
    if not path.is_file() or path.stat().st_size > _LONGEST:
        return False
    with open(path, "rb") as file:
        return file.read(len(_BEGINNING)) == _BEGINNING


def refuse_pointers(path: str | os.PathLike) -> None:
    """Raise an error if files of a preset are Git LFS pointers.

    Args:
        path: a folder, or one file.

    Raises:
        ValueError: naming the pointers.
    """
    path = pathlib.Path(path)
    patterns = _FILES if any(path.glob("*.safetensors")) else (*_FILES, "pytorch_model*.bin")
    found = [each for pattern in patterns for each in path.glob(pattern)] if path.is_dir() else [path]
    pointers = sorted(each for each in found if is_pointer(each))
    if pointers:
        where = path if path.is_dir() else path.parent
        raise ValueError(
            f"Expected the content of {', '.join(each.name for each in pointers)} in {where}, got Git LFS pointers, "
            f"which only name it. Install Git LFS, and run `git lfs pull` in {where}."
        )
