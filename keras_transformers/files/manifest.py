"""The manifest of a saved folder: `SHA256SUMS`, the size and SHA-256 of each file, in the format of coreutils.

    # Sizes in bytes:
    #        312  config.json
    #   86732104  model.safetensors
    # SHA-256, for `keras-transformers verify .` or `sha256sum --check SHA256SUMS`:
    5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef  config.json
    0263829989b6fd954f72baaf2fc64bc2e2f01d692d4de72986ea808f6e99813f  model.safetensors

A manifest detects damage, not malice: whoever can change a file can change the manifest too.
"""

import hashlib
import pathlib
import re
import typing
from collections.abc import Callable, Iterable

from keras_transformers.files.reading import is_plain, read_text

MANIFEST = "SHA256SUMS"
_CHUNK = 2**22
_SIZE = re.compile(r"# +(\d+)  (.+)")
_HASH = re.compile(r"([0-9a-f]{64})  (.+)")
_HEADINGS = (
    "# Sizes in bytes:",
    "# SHA-256, for `keras-transformers verify .` or `sha256sum --check SHA256SUMS`:",
)


class Entry(typing.NamedTuple):
    """The entry of a file in a manifest."""

    size: int
    sha256: str


def digest(path: pathlib.Path, progress: Callable[[int], object] | None = None) -> str:
    """Compute the SHA-256 of a file, in hexadecimal digits; `progress` is called with the bytes of each read."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
            if progress is not None:
                progress(len(chunk))
    return found.hexdigest()


def of_files(folder: pathlib.Path, names: Iterable[str]) -> dict[str, Entry]:
    """Compute the entries of files in a folder, by name."""
    return {name: Entry((folder / name).stat().st_size, digest(folder / name)) for name in sorted(names)}


def to_bytes(entries: dict[str, Entry]) -> bytes:
    """Return the content of a manifest."""
    sizes = [f"# {entry.size:>12}  {name}" for name, entry in entries.items()]
    hashes = [f"{entry.sha256}  {name}" for name, entry in entries.items()]
    return "\n".join([_HEADINGS[0], *sizes, _HEADINGS[1], *hashes, ""]).encode("utf-8")


def read(folder: pathlib.Path) -> dict[str, Entry] | None:
    """Read the entries of a folder's manifest, by name; None for a folder without one.

    Raises:
        ValueError: if the manifest is damaged, or names files outside the folder.
    """
    path = folder / MANIFEST
    if not is_plain(path):
        return None
    sizes: dict[str, int] = {}
    hashes: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        size, sha256 = _SIZE.fullmatch(line), _HASH.fullmatch(line)
        if size is not None and len(size[1]) < 20:
            sizes[size[2]] = int(size[1])
        elif sha256 is not None:
            hashes[sha256[2]] = sha256[1]
        elif line not in _HEADINGS:
            raise ValueError(f"Expected a size, a hash or a heading in line {number} of {path}, got {line!r:.80}.")
    odd = [name for name in {**sizes, **hashes} if {"", ".", ".."} & set(name.split("/"))]
    if odd or sizes.keys() != hashes.keys() or not sizes:
        unlike = sorted(odd or sizes.keys() ^ hashes.keys())
        raise ValueError(
            f"Expected a size and a hash of each file of the folder in {path}, got "
            f"{', '.join(unlike[:5]) or 'none at all'} otherwise. Download or save the folder again."
        )
    return {name: Entry(sizes[name], hashes[name]) for name in sizes}


def differences(
    folder: pathlib.Path, entries: dict[str, Entry], progress: Callable[[int], object] | None = None
) -> list[str]:
    """Return the differences between a folder and its manifest, in a few words a file; `progress` as for `digest`."""
    problems = []
    for name, entry in entries.items():
        path = folder / name
        if not is_plain(path):
            problems.append(f"{name} is missing")
        elif (size := path.stat().st_size) != entry.size:
            problems.append(f"{name} has {size:,} bytes, where {MANIFEST} says {entry.size:,}")
        elif (found := digest(path, progress)) != entry.sha256:
            problems.append(f"{name} has the SHA-256 {found[:12]}…, where {MANIFEST} says {entry.sha256[:12]}…")
    return problems
