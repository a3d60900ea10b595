"""The preset folder in the Hugging Face layout: atomic saving and checked reading.

    config.json                      the model's configuration
    model.safetensors                its weights; or several such files and model.safetensors.index.json,
                                     which names the file of each tensor
    tokenizer.json, tokenizer_config.json, generation_config.json

**Saving is atomic.** All files are written into `.<name>.partial` beside the folder and forced to disk. Then the two
folders change places in one step (`files/replacement.py`). If the program stops at any point, the folder is the
complete old preset or the complete new one. `safetensors_files.py` reads and writes the tensors.
"""

import collections.abc
import errno
import json
import os
import pathlib
import shutil
import typing

from keras_transformers.files import manifest, replacement
from keras_transformers.files.reading import is_plain, read_object
from keras_transformers.formats import foreign

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

# Files that a save writes, and so may delete if it replaces a preset. Other files (a model card, a picture) belong to
# the user and stay.
_OWN_FILES = (
    "config.json",
    "gliner_config.json",
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
        check_plain_name(name, f"the files to save in {folder}")
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
    markers = (marker, "modules.json", "gliner_config.json") if marker == "config.json" else (marker,)
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
    return read_object(existing(pathlib.Path(folder), name))


def existing(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The path of a file of a folder.

    Raises:
        FileNotFoundError: if it is missing. The error says what is there instead.
    """
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


def check_plain_name(name: str, where: object) -> None:
    """Refuse a file name that leads out of the folder of `where`."""
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
