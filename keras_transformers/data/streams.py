"""Streams as iterables of items: tf.data, PyDataset, DataLoader, generators, open files. Endless ones are refused."""

import io
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from keras_transformers.data.containers import as_text, rows, short


def items(source: Any) -> Iterable[Any]:
    """Return an iterable over a finite stream.

    Raises:
        TypeError: for a value that is not a stream.
        ValueError: for a stream without end.
    """
    _check_end(source)
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(source, keras.utils.PyDataset):
        return (source[index] for index in range(source.num_batches))
    if hasattr(source, "as_numpy_iterator"):  # tf.data.Dataset
        return source.as_numpy_iterator()
    if (collates := _collates(source)) is not None:
        return (row for item in source for row in collates(item))
    if isinstance(source, (io.TextIOBase, io.BufferedIOBase, io.RawIOBase)):
        return _lines(source)
    if isinstance(source, (set, frozenset, os.PathLike, str, bytes, type)):
        raise _no_stream(source)
    if hasattr(source, "__iter__"):
        return source
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        return (source[index] for index in range(len(source)))  # a torch dataset
    raise _no_stream(source)


def _check_end(source: Any) -> None:
    """Refuse streams that are known to be endless."""
    without = ""
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(source, keras.utils.PyDataset) and source.num_batches is None:
        without = "a PyDataset without __len__. Define it, or cut the source."
    elif hasattr(source, "as_numpy_iterator") and int(source.cardinality()) == -1:
        without = "a tf.data.Dataset that repeats without end. Leave out repeat(): epochs are counted here."
    elif isinstance(source, (itertools.cycle, itertools.count)):
        without = f"{type(source).__name__} of itertools, which has none."
    if without:
        raise ValueError(f"Expected a source that comes to an end, got {without}")


def _no_stream(source: Any) -> TypeError:
    """Return the error for a source that is not a stream, with advice."""
    if isinstance(source, (set, frozenset)):
        return TypeError("Expected rows in an order of their own, got a set, which has none. Give a list.")
    if isinstance(source, os.PathLike):
        return TypeError(
            f"Expected texts, got a path, {str(source)!r}. Read the file first: path.read_text().splitlines()."
        )
    advice = " Call it: pass what it returns." if callable(source) else ""
    return TypeError(
        "Expected lists of strings, columns by name, a data frame, or a stream of examples (tf.data, PyDataset, "
        f"DataLoader, generator), got {short(source)}.{advice}"
    )


def _collates(source: Any) -> Callable[[Any], list[Any]] | None:
    """Return a function that undoes torch's own `collate_fn`, if a DataLoader uses one; None for others."""
    torch: Any = sys.modules.get("torch.utils.data")
    collate = None if torch is None else getattr(source, "collate_fn", None)
    if collate is None:
        return None
    if collate is torch.default_collate:
        return _uncollated
    if collate is torch.default_convert:  # it turns tuples into lists
        first = source.dataset[0] if hasattr(source.dataset, "__getitem__") and len(source.dataset) else None
        return lambda row: [tuple(row) if isinstance(row, list) and not isinstance(first, list) else row]
    return None


def _uncollated(batch: Any) -> list[Any]:
    """Return the rows of a batch that `default_collate` made."""
    if isinstance(batch, Mapping):
        columns = {name: _uncollated(each) for name, each in batch.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if isinstance(batch, (list, tuple)) and not all(isinstance(each, (str, bytes)) for each in batch):
        sides = zip(*map(_uncollated, batch), strict=True)
        return [type(batch)(*row) for row in sides] if hasattr(batch, "_fields") else list(sides)
    return list(batch) if isinstance(batch, (list, tuple)) else rows(batch)


def _lines(file: Any) -> Iterator[str]:
    """Yield the lines of an open file, without line ends and without a byte-order mark."""
    for number, line in enumerate(file):
        text = as_text(line, f"line {number + 1}")
        yield (text.removeprefix("\ufeff") if number == 0 else text).rstrip("\r\n")
