"""Vectors in files: `.npy` (NumPy) and `.parquet` (a column of lists), read and written in blocks.

`M` vectors, `D` width.
"""

import os
import pathlib
import typing
from collections.abc import Iterator

import numpy as np

from keras_transformers.extras import require

COLUMN = "embedding"  # the column of vectors in a Parquet file that is written here
HEADER = 128  # bytes before the numbers of a .npy file that is written here


class Rows(typing.NamedTuple):
    """Vectors that are read block by block.

    Attributes:
        number, width, dtype: their number, their width and their type.
        blocks: a function from the most vectors of a block to an iterator of `(number of its first vector, block)`.
    """

    number: int
    width: int
    dtype: np.dtype
    blocks: typing.Callable[[int], Iterator[tuple[int, np.ndarray]]]


def open_vectors(source: typing.Any, what: str) -> Rows:
    """Open vectors `[M, D]`.

    Args:
        source: an array, or the path of a `.npy` or `.parquet` file.
        what: the word for the vectors in messages.

    Raises:
        ValueError: for no vectors at all, and a file of another kind.
        TypeError: for a value that is not a table of numbers.
    """
    if isinstance(source, (str, os.PathLike)):
        path = pathlib.Path(source)
        if path.suffix == ".parquet":
            return _checked(_parquet(path), what)
        if path.suffix != ".npy":
            raise ValueError(f"Expected {what} in a .npy or .parquet file, got {path}. Convert it first.")
        source = _npy(path, what)
    array = np.asanyarray(source)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        if array.ndim == 1 and not array.size:
            array = array.reshape(0, 0)
        else:
            raise TypeError(
                f"Expected {what} to be vectors [M, D], got {array.dtype} {array.shape}. Texts are made vectors by "
                "embedder.embed(texts)."
            )

    def blocks(size: int) -> Iterator[tuple[int, np.ndarray]]:
        for begin in range(0, len(array), size):
            yield begin, array[begin : begin + size]

    return _checked(Rows(array.shape[0], array.shape[1], array.dtype, blocks), what)


def _npy(path: pathlib.Path, what: str) -> np.ndarray:
    """The array of a `.npy` file, mapped into memory."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"Expected {what} at {path}, found nothing. Check the path.") from None
    except (ValueError, EOFError) as error:  # cut off, or no array
        raise ValueError(
            f"Expected {what} in {path} as a whole array, got one that NumPy does not read ({error}). Write it again."
        ) from None


def _checked(rows: Rows, what: str) -> Rows:
    if not rows.number or not rows.width:
        raise ValueError(f"Expected at least one vector in {what}, got none. Is the list of texts empty?")
    return rows


def _parquet(path: pathlib.Path) -> Rows:
    """The vectors of the column of lists of a Parquet file."""
    require("parquet", pyarrow=True)
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path)
    lists = [field.name for field in file.schema_arrow if hasattr(field.type, "value_type")]
    if COLUMN in lists:
        lists = [COLUMN]
    if len(lists) != 1:
        raise ValueError(
            f"Expected one column of vectors in {path}, called {COLUMN} if there are several, got "
            f"{', '.join(lists) or 'none'} among {', '.join(file.schema_arrow.names)}."
        )
    first = next(file.iter_batches(1, columns=lists), None)
    width = 0 if first is None else len(first.column(0)[0])
    dtype = np.dtype(file.schema_arrow.field(lists[0]).type.value_type.to_pandas_dtype())

    def blocks(size: int) -> Iterator[tuple[int, np.ndarray]]:
        begin = 0
        for batch in file.iter_batches(size, columns=lists):
            column = batch.column(0)
            flat = column.flatten().to_numpy(zero_copy_only=False)
            if len(flat) != len(batch) * width:
                raise ValueError(f"Expected vectors of width {width} in {path}, got others from row {begin} on.")
            yield begin, flat.reshape(len(batch), width)
            begin += len(batch)

    return Rows(file.metadata.num_rows, width, dtype, blocks)


def npy_header(count: int, width: int, dtype: np.dtype) -> bytes:
    """The first `HEADER` bytes of a `.npy` file. They are as many for any number of vectors, so that they can be
    written when it is known."""
    values = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': ({count}, {width}), }}".encode()
    magic = b"\x93NUMPY\x01\x00"
    length = HEADER - len(magic) - 2
    return magic + length.to_bytes(2, "little") + values.ljust(length - 1) + b"\n"


def npy_to_parquet(source: pathlib.Path, output: pathlib.Path, rows: int = 65536) -> None:
    """Write the vectors of a `.npy` file as a column of a Parquet file, in constant memory."""
    require("parquet", pyarrow=True)
    import pyarrow
    import pyarrow.parquet

    array = np.load(source, mmap_mode="r", allow_pickle=False)
    kind = pyarrow.list_(pyarrow.from_numpy_dtype(array.dtype), array.shape[1])
    schema = pyarrow.schema([(COLUMN, kind)])
    with pyarrow.parquet.ParquetWriter(output, schema) as writer:
        for begin in range(0, len(array), rows):
            flat = pyarrow.array(np.ascontiguousarray(array[begin : begin + rows]).reshape(-1))
            column = pyarrow.FixedSizeListArray.from_arrays(flat, array.shape[1])
            writer.write_table(pyarrow.Table.from_arrays([column], schema=schema), row_group_size=rows)
