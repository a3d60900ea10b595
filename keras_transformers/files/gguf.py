"""Reading of a GGUF file, or all parts of one: its metadata, and the place of each tensor.

    "GGUF", version, two counts      checked against the file's size, as is every length after them
    metadata                         names and values: numbers, strings, lists of either
    tensors                          name, shape, kind and place of each
    ─── aligned ───
    data                             mapped into memory; each tensor is dequantized on access

A large model is split into parts named NAME-00001-of-00003.gguf and so on. Each part has its own header and tensors;
the first has the metadata of all.

The header is read here, not by the `gguf` package, whose reader trusts each count: a file that claims 2⁶⁰ numbers keeps
it busy until the memory is full. The `gguf` package only dequantizes.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import collections.abc
import functools
import math
import os
import pathlib
import re
import struct
import typing

import numpy as np

from keras_transformers.extras import require
from keras_transformers.files.reading import is_plain

GGUF = ".gguf"  # the ending of the file names
NO_TOKEN = 2**32 - 1  # -1 as an unsigned number: the file has no such token
# The supported kinds of tensors: the numbers in a block of each, and the bytes of a block.
KINDS = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q8_0": (32, 34),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
}
# Types of metadata by number, in the notation of `struct` and numpy.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _LIST = 8, 9
_MOST_AXES = 4
_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")


def part_names(name: str) -> list[str]:
    """Return the names of all files of a model, in order, given one of them. A file not named as a part is alone.

    Example:
        >>> part_names("large-00002-of-00002.gguf")
        ['large-00001-of-00002.gguf', 'large-00002-of-00002.gguf']
    """
    match = _PART.fullmatch(name)
    if match is None or not 1 <= int(match[2]) <= int(match[3]):
        return [name]
    return [f"{match[1]}-{number:05d}-of-{match[3]}.gguf" for number in range(1, int(match[3]) + 1)]


class GGUFFile(collections.abc.Mapping):
    """The arrays of a GGUF file by name, as float32, each dequantized on access.

    Args:
        path: the file, or any of its parts; the other parts must be in the same folder.

    Attributes:
        metadata: the values by name: numbers, strings, lists of strings, and numpy arrays of numbers.

    Raises:
        ImportError: if the `gguf` package is missing.
        FileNotFoundError: if the file, or a part of it, does not exist.
        ValueError: if the file is not GGUF, is truncated, or claims more than it holds; for parts that do not belong
            together, and tensors of an unsupported kind.

    Example:
        >>> file = GGUFFile("SmolLM2-135M-Instruct.Q4_1.gguf")  # doctest: +SKIP
        >>> file.metadata["general.architecture"], file["blk.0.attn_q.weight"].shape  # doctest: +SKIP
        ('llama', (576, 576))
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        require("gguf", gguf=True)
        self.path = pathlib.Path(path)
        files = [self.path.with_name(name) for name in part_names(self.path.name)]
        missing = [file.name for file in files if not is_plain(file)]
        if missing and len(files) == 1:
            raise FileNotFoundError(f"Expected a GGUF file at {self.path}, found none. Check the path.")
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise FileNotFoundError(
                f"Expected all {len(files)} parts of a GGUF file in {self.path.parent}, found no "
                f"{', '.join(missing[:5])}{more}. Download them to the same folder."
            )
        self._bytes = [_mapped(file) for file in files]
        status = [(file, file.stat()) for file in files]
        self.metadata, self._places = _headers(
            tuple((file.absolute(), each.st_size, each.st_mtime_ns) for file, each in status)
        )

    def __getitem__(self, name: str) -> np.ndarray:
        return self.part(name)

    def part(self, name: str, index: int | None = None) -> np.ndarray:
        """Return one array, or the part at `index` of its first axis."""
        import gguf

        place = self._places[name]
        numbers, size = KINDS[place.kind]
        data = self._data(place).reshape(*place.shape[:-1], place.shape[-1] // numbers * size)
        # float32 arrays are not copied.
        return gguf.dequantize(data if index is None else data[index], gguf.GGMLQuantizationType[place.kind])

    def _data(self, place: "_Place") -> np.ndarray:
        return self._bytes[place.file][place.start : place.stop]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple, without reading the array."""
        return self._places[name].shape

    def kind(self, name: str) -> str:
        """Return the kind of one array, a key of `KINDS`."""
        return self._places[name].kind

    def same(self, first: str, second: str) -> bool:
        """Return whether two arrays are the same, byte for byte."""
        one, other = self._places[first], self._places[second]
        same_form = (one.shape, one.kind) == (other.shape, other.kind)
        return same_form and np.array_equal(self._data(one), self._data(other))

    def __contains__(self, name: object) -> bool:  # without reading the array
        return name in self._places

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class _Place(typing.NamedTuple):
    """The place of a tensor: its shape and kind, and its bytes `start:stop` in the file of the given number."""

    shape: tuple[int, ...]
    kind: str
    start: int
    stop: int
    file: int = 0


@functools.lru_cache(maxsize=1)
def _headers(files: tuple[tuple[pathlib.Path, int, int], ...]) -> tuple[dict[str, typing.Any], dict[str, _Place]]:
    """Return the metadata and the tensors' places of a model. `files` holds the path, size and time of each file; these
    are the cache's key, since the model, its tokenizer and its settings each read the headers."""
    first: dict[str, typing.Any] = {}
    places: dict[str, _Place] = {}
    for number, (path, _, _) in enumerate(files):
        metadata, here = _Header(path, _mapped(path)).read()
        split = metadata.get("split.no", 0), metadata.get("split.count", 0) or 1
        if split != (number, len(files)):
            raise ValueError(
                f"Expected part {number + 1} of {len(files)} in {path}, as its name says, got split.no={split[0]!r}, "
                f"counted from 0, of split.count={split[1]!r}. Name the parts NAME-00001-of-0000N.gguf and so on, as "
                "they were made, in one folder."
            )
        first = first or metadata
        if twice := next((name for name in here if name in places), None):
            raise ValueError(f"Expected each tensor in one part, got {twice!r} again in {path}. Download it again.")
        places |= {name: place._replace(file=number) for name, place in here.items()}
    count = first.get("split.tensors.count", len(places))
    if count != len(places):
        raise ValueError(
            f"Expected split.tensors.count={count!r} tensors in {files[0][0]} and its parts, got {len(places)}. "
            "Download them again, all of one version."
        )
    return first, places


def _mapped(path: pathlib.Path) -> np.ndarray:
    """Map the bytes of a file into memory; an empty file, which cannot be mapped, gives empty bytes."""
    return np.asarray(np.memmap(path, "uint8", "r")) if path.stat().st_size else np.zeros(0, "uint8")


class _Header:
    """A reader of a header, which never reads past the end of the file."""

    def __init__(self, path: pathlib.Path, data: np.ndarray) -> None:
        self._path = path
        self._data = data.data
        self._at = 0

    def read(self) -> tuple[dict[str, typing.Any], dict[str, _Place]]:
        """Return `(metadata, places)`, with the `_Place` of each tensor."""
        magic = bytes(self._data[:4])
        if magic != b"GGUF":
            raise ValueError(
                f"Expected a GGUF file at {self._path}, got one that starts with {magic!r}. Check the path, or "
                "download the file again."
            )
        self._at = 4
        version = self._number("I")
        if version not in (2, 3):
            big = " (is it for big-endian machines?)" if version and version % 65536 == 0 else ""
            raise ValueError(
                f"Expected version 2 or 3 of GGUF in {self._path}, got {version}{big}. Convert the model again with a "
                "current llama.cpp."
            )
        num_tensors, num_values = self._number("Q"), self._number("Q")
        metadata = {}
        for _ in range(self._checked(num_values, 13)):
            name = self._string()
            if name in metadata:
                self._refuse(f"{name!r} twice")
            metadata[name] = self._value(self._number("I"))
        tensors = [self._tensor() for _ in range(self._checked(num_tensors, 24))]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            self._refuse(f"general.alignment={alignment!r}")
        return metadata, self._places(tensors, -(-self._at // alignment) * alignment)

    def _places(
        self, tensors: collections.abc.Iterable[tuple[str, tuple[int, ...], str, int]], start: int
    ) -> dict[str, _Place]:
        places, others = {}, []
        for name, shape, kind, offset in tensors:
            if name in places:
                self._refuse(f"two tensors {name!r}")
            numbers, size = KINDS.get(kind, (1, 0))
            if kind not in KINDS:
                others.append(f"{name} ({kind})")
            elif shape[-1] % numbers:
                self._refuse(f"rows of {shape[-1]} numbers in {name!r}, of which {kind} has {numbers} in a block")
            stop = start + offset + math.prod(shape) // numbers * size
            if stop > len(self._data):
                self._refuse(f"{name!r}, which would end at byte {stop}")
            places[name] = _Place(shape, kind, start + offset, stop)
        if others:
            more = f" and {len(others) - 5} more" if len(others) > 5 else ""
            raise ValueError(
                f"Expected tensors of the kinds {', '.join(KINDS)} in {self._path}, got {', '.join(others[:5])}{more}. "
                "Take another quantization of the model."
            )
        return places

    def _tensor(self) -> tuple[str, tuple[int, ...], str, int]:
        name, axes = self._string(), self._number("I")
        if not 1 <= axes <= _MOST_AXES:
            self._refuse(f"a tensor {name!r} of {axes} axes")
        shape = tuple(self._number("Q") for _ in range(axes))[::-1]  # GGUF lists the last axis first
        if 0 in shape:
            self._refuse(f"a tensor {name!r} of shape {list(shape)}")
        return name, shape, _kind_name(self._number("I")), self._number("Q")

    def _value(self, kind: int) -> typing.Any:
        if kind in _NUMBERS:
            return self._number(_NUMBERS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _LIST:
            self._refuse(f"a value of type {kind}")
        kind, count = self._number("I"), self._number("Q")
        if kind == _STRING:
            return [self._string() for _ in range(self._checked(count, 8))]
        if kind not in _NUMBERS:
            self._refuse(f"a list of type {kind}")
        dtype = np.dtype(_NUMBERS[kind]).newbyteorder("<")
        return np.frombuffer(self._take(count * dtype.itemsize), dtype).copy()

    def _number(self, kind: str) -> typing.Any:
        (number,) = struct.unpack(f"<{kind}", self._take(struct.calcsize(f"<{kind}")))
        # The decimal that was meant: 1e-05, not float32's 9.999999747378752e-06.
        return float(str(np.float32(number))) if kind == "f" else number

    def _string(self) -> str:
        text = self._take(self._number("Q"))
        try:
            return str(text, "utf-8")
        except UnicodeDecodeError:
            self._refuse(f"text that is not UTF-8 before byte {self._at}")

    def _checked(self, count: int, size: int) -> int:
        """Return a count of items after checking that the file has room for it, at `size` bytes or more an item."""
        if count * size > len(self._data) - self._at:
            self._refuse(f"{count} entries after byte {self._at}")
        return count

    def _take(self, size: int) -> memoryview:
        start = self._at
        self._at += size
        if self._at > len(self._data):
            self._refuse(f"{size} bytes of header after byte {start}")
        return self._data[start : self._at]

    def _refuse(self, claim: str) -> typing.NoReturn:
        raise ValueError(
            f"Expected a whole GGUF file, got {self._path} of {len(self._data)} bytes, which claims to hold {claim}. "
            "Download it again."
        )


def _kind_name(number: int) -> str:
    import gguf

    try:
        return gguf.GGMLQuantizationType(number).name
    except ValueError:
        return f"kind {number}"
