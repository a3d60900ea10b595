"""Marian's model files: named tensors in a `.bin` of version 1, or in an `.npz`.

    .bin    version, count ─► a head for each tensor ─► names ─► shapes ─► padding ─► data
            heads: lengths of name, shape and data, and the type        little-endian, data in steps of 256 bytes

    float32     the numbers
    int8        as intgemm takes them: a matrix [in, out] as [out, in] (a table of embeddings as it is), then one
                float32, the multiplier: number = int8 / multiplier
    .npz        the same names; float32 alone

`special:model.yml` holds the configuration, as characters. `…_QuantMultA` are multipliers of activations, which only
the engine of the file's makers needs.

Every length is checked against the file's size before it is used.

Source: https://github.com/browsermt/marian-dev, src/common/binary.cpp and src/tensors/cpu/expression_graph_packable.h
"""

import collections.abc
import dataclasses
import io
import math
import pathlib
import struct
import tokenize
import zipfile

import numpy as np

from keras_transformers.files.reading import is_plain

YAML = "special:model.yml"
FLOAT32, INT8, CHARACTERS = 0x404, 0x4101, 0x101
_TYPES = {FLOAT32: "float32", INT8: "int8 of intgemm", CHARACTERS: "characters"}
_OTHER_TYPES = {0x402: "float16", 0x4102: "int16 of intgemm", 0x102: "int16", 0x104: "int32", 0x408: "float64"}
_ALIGNMENT = 256
_MOST_AXES, _MOST_NAME, _MOST_ITEMS = 4, 4096, 2**16
# What `zipfile` raises about damaged archives; a ValueError is about their names.
BROKEN_ARCHIVE = (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, UnicodeDecodeError)
_AGAIN = "Download it again."


@dataclasses.dataclass(frozen=True)
class Item:
    """A tensor as it lies in a file.

    Attributes:
        name: its name.
        kind: `FLOAT32`, `INT8` or `CHARACTERS`.
        shape: its shape.
        data: its bytes, with all that follows the numbers.
    """

    name: str
    kind: int
    shape: tuple[int, ...]
    data: bytes | np.ndarray

    @property
    def count(self) -> int:
        """The number of its numbers."""
        return math.prod(self.shape)

    @property
    def is_weight(self) -> bool:
        """Whether it is a parameter, and neither the configuration nor a multiplier of activations."""
        return self.kind != CHARACTERS and not self.name.endswith("_QuantMultA")

    @property
    def multiplier(self) -> np.float32:
        """The multiplier of int8 numbers."""
        return np.frombuffer(self.data, "<f4", 1, self.count)[0]

    @property
    def rest(self) -> bytes:
        """The bytes after the numbers, and after the multiplier."""
        used = self.count + 4 if self.kind == INT8 else self.count * (4 if self.kind == FLOAT32 else 1)
        return bytes(self.data[used:])

    def array(self) -> np.ndarray:
        """The numbers as float32, of the shape."""
        if self.kind == FLOAT32:
            return np.frombuffer(self.data, "<f4", self.count).reshape(self.shape)
        numbers = np.frombuffer(self.data, "i1", self.count)
        if is_table(self.name) or len(self.shape) != 2:
            numbers = numbers.reshape(self.shape)
        else:
            numbers = numbers.reshape(self.shape[::-1]).T
        return numbers.astype("float32") / self.multiplier


def is_table(name: str) -> bool:
    """Whether a tensor is a table of embeddings, whose int8 numbers are not transposed."""
    return "Wemb" in name


class MarianItems(collections.abc.Mapping):
    """The parameters of a Marian model by name, float32 arrays, each made on access.

    Args:
        path: a `.bin` or `.npz` file.

    Attributes:
        path: the file.
        items_by_name: all tensors as they lie in the file, the configuration and multipliers included.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: for a file that is truncated, of another version or kind, or claims more than it holds.

    Example:
        >>> MarianItems("model.enpt.intgemm.alphas.bin").shape("Wemb")  # doctest: +SKIP
        (32000, 256)
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = pathlib.Path(path)
        if not is_plain(self.path):
            raise FileNotFoundError(f"Expected a model of Marian at {self.path}, found nothing. Check the folder.")
        read = _read_npz if self.path.suffix == ".npz" else _read_bin
        self.items_by_name = {item.name: item for item in read(self.path)}
        self._weights = [name for name, item in self.items_by_name.items() if item.is_weight]

    @property
    def yaml(self) -> bytes | None:
        """The text of the configuration inside of the file, or None."""
        item = self.items_by_name.get(YAML)
        return None if item is None else bytes(item.data).split(b"\0")[0]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.items_by_name[name].array()

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array, a tuple, without making the array."""
        return self.items_by_name[name].shape

    def __contains__(self, name: object) -> bool:
        return name in self._weights

    def __iter__(self) -> collections.abc.Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


class _Bytes:
    """The bytes of a `.bin` file, taken from its beginning to its end."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path, self._at = path, 0
        self._content = np.memmap(path, "u1", "r") if path.stat().st_size else np.zeros(0, "u1")

    def wrong(self, what: str) -> ValueError:
        """The error about a file that is not as expected."""
        return ValueError(f"Expected a model of Marian in {self.path}, got {what}. {_AGAIN}")

    def take(self, length: int, of: str) -> np.ndarray:
        """The next bytes."""
        end, size = self._at + length, len(self._content)
        if end > size:
            raise self.wrong(f"a truncated file: {of} would end at byte {end}, and the file has {size}")
        self._at = end
        return self._content[end - length : end]

    def unpack(self, form: str, of: str) -> tuple[int, ...]:
        """The next numbers, in the notation of `struct`."""
        return struct.unpack(form, self.take(struct.calcsize(form), of).tobytes())

    def name(self, length: int) -> str:
        """The next name, which a zero ends."""
        text = self.take(length, "a name").tobytes() if length <= _MOST_NAME else b""
        if not text.endswith(b"\0") or text.count(b"\0") != 1:
            raise self.wrong(f"a name of {length} bytes that does not end in a zero")
        try:
            return text[:-1].decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong(f"the name {text[:-1]!r:.80}, which is no UTF-8") from None

    def finish(self) -> None:
        """Refuse further bytes."""
        if self._at != len(self._content):
            raise self.wrong(f"{len(self._content) - self._at} bytes after the last tensor")


def _read_bin(path: pathlib.Path) -> list[Item]:
    file = _Bytes(path)
    version, count = file.unpack("<2Q", "the beginning")
    if version != 1:
        raise file.wrong(f"version {version}, where only 1 is supported")
    if count > _MOST_ITEMS:
        raise file.wrong(f"{count} tensors")
    heads = [file.unpack("<4Q", "the table of tensors") for _ in range(count)]
    names = [file.name(length) for length, *_ in heads]
    if len(set(names)) != len(names):
        raise file.wrong(f"two tensors {next(name for name in names if names.count(name) > 1)!r}")
    shapes = []
    for name, (_, _, axes, _) in zip(names, heads, strict=True):
        if axes > _MOST_AXES:
            raise file.wrong(f"{axes} axes of {name}")
        shapes.append(file.unpack(f"<{axes}i", f"the shape of {name}"))
    (padding,) = file.unpack("<Q", "the padding")
    file.take(padding, "the padding")
    items = []
    for name, shape, (_, kind, _, length) in zip(names, shapes, heads, strict=True):
        _check_item(file, name, shape, kind, length)
        items.append(Item(name, kind, shape, file.take(length, name)))
        if kind == INT8 and items[-1].is_weight and not 0 < items[-1].multiplier < math.inf:
            raise file.wrong(f"the multiplier {items[-1].multiplier} of {name}, where a number above 0 is expected")
    file.finish()
    return items


def _check_item(file: _Bytes, name: str, shape: tuple[int, ...], kind: int, length: int) -> None:
    """Refuse a tensor of another type, and one with fewer bytes than its shape needs."""
    numbers = math.prod(shape)
    if kind not in _TYPES:
        raise file.wrong(
            f"{name} of type {kind:#x} ({_OTHER_TYPES.get(kind, 'unknown')}), where float32 and int8 are supported. "
            "Take the float32 model, or convert that by marian-conv --gemm-type intgemm8"
        )
    needed = {FLOAT32: 4 * numbers, INT8: numbers + 4, CHARACTERS: numbers}[kind]
    if min(shape, default=1) < 1 or length < needed:
        raise file.wrong(f"{length} bytes for {name}, whose shape {list(shape)} needs {needed}")


def _read_npz(path: pathlib.Path) -> list[Item]:
    def wrong(what: str) -> ValueError:
        return ValueError(f"Expected a model of Marian in {path}, got {what}. {_AGAIN}")

    contents: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(info.file_size for info in members) > path.stat().st_size:
                raise wrong("members that are larger than the file")
            for info in members:
                if info.compress_type != zipfile.ZIP_STORED or not info.filename.endswith(".npy"):
                    raise wrong(f"the member {info.filename!r:.80}, which is compressed or no .npy")
                if info.filename in contents:
                    raise wrong(f"two members {info.filename!r:.80}")
                contents[info.filename] = archive.read(info)
    except BROKEN_ARCHIVE as error:
        raise wrong(f"a broken or truncated archive ({error})") from None
    items = []
    for member, content in contents.items():
        name = member.removesuffix(".npy")
        try:
            array = _npy(name, content)
        except ValueError as error:
            raise wrong(str(error)) from None
        kind = FLOAT32 if array.dtype == "<f4" else CHARACTERS
        if (kind == CHARACTERS) != name.startswith("special:"):
            raise wrong(f"{name} of {array.dtype}, where float32 is supported")
        items.append(Item(name, kind, array.shape, np.ascontiguousarray(array).reshape(-1).view("u1")))
    return items


def _npy(name: str, content: bytes) -> np.ndarray:
    """The array of an `.npy` file, of version 1.0 as Marian reads and writes it. Nothing is allocated for it."""
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file) if version == (1, 0) else ((), False, None)
    except (ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as error:
        raise ValueError(f"{name!r:.80} with a broken head ({error})") from None
    if dtype is None or dtype.str not in ("<f4", "|i1", "|u1"):
        raise ValueError(f"{name} of {dtype or f'version {version}'}, where float32, little-endian, is supported")
    needed, size = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if min(shape, default=1) < 1 or needed != size:
        raise ValueError(f"{size} bytes for {name}, whose shape {list(shape)} needs {needed}")
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if by_columns else "C")


# Writing


def characters(text: bytes) -> Item:
    """The item of a configuration."""
    return Item(YAML, CHARACTERS, (len(text) + 1,), text + b"\0")


def float32(name: str, array: np.ndarray, rest: bytes | None = None) -> Item:
    """The item of float32 numbers. `rest` follows them; by default zeros to the next multiple of 256 bytes."""
    numbers = np.ascontiguousarray(array, "<f4").tobytes()
    return Item(name, FLOAT32, array.shape, numbers + (_zeros(numbers) if rest is None else rest))


def int8(name: str, array: np.ndarray, multiplier: np.float32 | None = None, rest: bytes | None = None) -> Item:
    """The item of a matrix as int8, by the rule of intgemm.

    Args:
        name: the name; tables of embeddings are not transposed.
        array: the matrix, float32.
        multiplier: the multiplier, if these numbers came from int8 ones by it; otherwise 127 / the largest number.
        rest: the bytes that follow; by default zeros to the next multiple of 256 bytes.

    Raises:
        ValueError: for numbers that are not finite, which int8 cannot hold.
    """
    if not np.isfinite(array).all():
        raise ValueError(
            f"Expected finite numbers in {name} for int8, got infinite ones or NaN: training diverged. Export an "
            "earlier checkpoint."
        )
    if multiplier is None or not _reproduces(array, multiplier):
        largest = np.abs(array).max(initial=0.0)
        multiplier = np.float32(127.0) / np.float32(largest) if largest > 0 else np.float32(1.0)
    numbers = _quantized(array, multiplier)
    data = np.ascontiguousarray(numbers if is_table(name) else numbers.T).tobytes()
    data += np.array([multiplier], "<f4").tobytes()
    return Item(name, INT8, array.shape, data + (_zeros(data) if rest is None else rest))


def _quantized(array: np.ndarray, multiplier: np.float32) -> np.ndarray:
    return np.clip(np.rint(array * multiplier), -127, 127).astype("i1")


def _reproduces(array: np.ndarray, multiplier: np.float32) -> bool:
    return bool(np.array_equal(_quantized(array, multiplier).astype("float32") / multiplier, array))


def _zeros(data: bytes) -> bytes:
    return bytes(-len(data) % _ALIGNMENT)


def write_bin(path: pathlib.Path, items: collections.abc.Sequence[Item]) -> None:
    """Write a `.bin` file of version 1."""
    names = [item.name.encode() + b"\0" for item in items]
    begin = struct.pack("<2Q", 1, len(items))
    for name, item in zip(names, items, strict=True):
        begin += struct.pack("<4Q", len(name), item.kind, len(item.shape), len(item.data))
    begin += b"".join(names) + b"".join(struct.pack(f"<{len(item.shape)}i", *item.shape) for item in items)
    end = len(begin) + 8
    padding = (end // _ALIGNMENT + 1) * _ALIGNMENT - end
    with open(path, "wb") as file:
        file.write(begin + struct.pack("<Q", padding) + bytes(padding))
        for item in items:
            file.write(bytes(item.data))


def write_npz(path: pathlib.Path, items: collections.abc.Sequence[Item]) -> None:
    """Write an `.npz` file. Its members have plain heads: the reader of Marian knows no 64-bit sizes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for item in items:
            kind = {FLOAT32: "<f4", CHARACTERS: "i1"}[item.kind]
            buffer = io.BytesIO()
            np.lib.format.write_array(
                buffer, np.frombuffer(item.data, kind, item.count).reshape(item.shape), version=(1, 0)
            )
            archive.writestr(zipfile.ZipInfo(f"{item.name}.npy"), buffer.getvalue())
