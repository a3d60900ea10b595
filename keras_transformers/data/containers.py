"""Containers of any library: which kind they are, their columns by name, and the values of a column.

    named(x)       frames, dictionaries of columns, lists of dictionaries, structured arrays    ─► columns by name
    rows(column)   lists, tuples, NumPy arrays, series, chunked arrays, tensors                 ─► a list of values
    as_text(value) strings of pyarrow, NumPy and TensorFlow, bytes                              ─► `str`

Only NumPy is imported: objects of other libraries are recognised by their methods.
"""

import dataclasses
import itertools
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

_TO_LISTS = ("to_pylist", "to_list", "tolist")  # of pyarrow; of pandas, polars and ragged tensors; of arrays
_COMPUTE = ("collect", "compute", "read_all", "to_table")  # methods of lazy data in polars, dask and pyarrow


def named(x: Any) -> dict[str, Any] | None:
    """Return the named columns of any container, unchanged; None if it has none.

    Raises:
        ValueError: for several data sets at once, dictionaries with different keys, and two columns of one name.
    """
    if isinstance(x, np.ndarray):
        return {name: x[name] for name in x.dtype.names} if x.dtype.names else None
    if isinstance(x, (list, tuple)) and not hasattr(x, "_fields"):
        return _of_records(x)
    table = _table(x)
    if table and all(not isinstance(each, Mapping) and column_names(each) is not None for each in table.values()):
        raise ValueError(
            f"Expected one data set, got several by name: {', '.join(map(str, table))}. Give one, such as "
            f"x[{next(iter(table))!r}]."
        )
    return table


def _table(x: Any) -> dict[str, Any] | None:
    """Return the columns of a mapping, a frame, a named tuple or a dataclass; None for others."""
    if isinstance(x, Mapping):
        return dict(x)
    if is_series(x):
        return None
    if hasattr(x, "__getitem__") and (names := column_names(x)) is not None:
        if len(set(names)) < len(names):
            raise ValueError(f"Expected columns of different names, got {', '.join(map(str, names))}.")
        return {name: x[name] for name in names}
    if hasattr(x, "_fields") and isinstance(x, tuple):
        return dict(zip(typing.cast(Any, x)._fields, x, strict=True))
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return {field.name: getattr(x, field.name) for field in dataclasses.fields(x)}
    return None


def rows(column: Any) -> list[Any]:
    """Return the values of one column as Python values; numeric arrays of several axes give an array for each row.

    If the column consists of columns, each row is a dictionary, or the value if there is only one column.

    Raises:
        TypeError: for a value that holds no rows.
    """
    if isinstance(column, list):
        return column
    if not is_series(column) and (table := named(column)) is not None and not isinstance(column, tuple):
        return _dictionaries(table)
    array = as_array(column)
    if array is not None and array.ndim > 1 and array.dtype.kind in "biuf":
        return list(array)
    if array is not None and array.ndim > 0:
        return array.tolist()
    for method in _TO_LISTS:
        if callable(convert := getattr(column, method, None)) and getattr(column, "ndim", 1) != 0:
            return convert()
    if isinstance(column, (str, bytes, int, float, set, frozenset)) or not isinstance(column, Iterable):
        raise TypeError(f"Expected a list, array or series with a value for each row, got {short(column)}.")
    return list(column)


def _dictionaries(table: Mapping[str, Any]) -> list[Any]:
    """Return the rows of columns, a dictionary each; if there is one column, its values."""
    lists = {name: rows(each) for name, each in table.items()}
    if len(lists) == 1:
        return next(iter(lists.values()))
    return [dict(zip(lists, each, strict=True)) for each in zip(*lists.values(), strict=True)]


def holds_many(value: Any) -> bool:
    """Return whether a value holds several values: a list, an array, a series, but no string and no dictionary."""
    if isinstance(value, (str, bytes, bytearray, Mapping)):
        return False
    return isinstance(value, Sequence) or bool(getattr(value, "ndim", 0)) or is_series(value)


def as_text(value: Any, name: str) -> str:
    """Convert a library's string to `str`.

    Args:
        value: the value to convert.
        name: the value's description in messages, with its row.

    Raises:
        TypeError: for a value that is not a string, such as a missing value.
        ValueError: for bytes that are not UTF-8, and for a lone surrogate.
    """
    if hasattr(value, "as_py"):  # a pyarrow scalar
        value = value.as_py()
    elif getattr(value, "ndim", None) == 0 and not isinstance(value, (str, bytes)):
        value = value.numpy() if hasattr(value, "numpy") else value
        value = value.item() if hasattr(value, "item") else value
    if isinstance(value, (bytes, bytearray)):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"Expected {name} in UTF-8, got {short(value)}: {error}. Convert the file first."
            ) from None
    if not isinstance(value, str):
        advice = "Leave it out, or give it a text."
        if is_missing(value):
            advice = "The value is missing: leave the row out, or give it a text."
        elif holds_many(value) and len(value) and isinstance(rows(value)[0], (int, np.integer)):
            advice = "Token ids are read by name: {'token_ids': …}."
        elif holds_many(value):
            advice = "These are several in the place of one."
        raise TypeError(f"Expected {name} to be a string, got {short(value)}. {advice}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"Expected Unicode text, got a lone surrogate {value[error.start]!r} at character {error.start} of {name}. "
            "Repair it where it was read, as with text.encode('utf-8', 'replace').decode()."
        ) from None
    return str(value)


def is_missing(value: Any) -> bool:
    """Return whether a value is missing: None, NaN, or pandas's NA and NaT."""
    return (
        value is None
        or (isinstance(value, (float, np.floating)) and bool(value != value))
        or type(value).__name__ in ("NAType", "NaTType")
    )


def is_empty(x: Any) -> bool:
    """Return whether a container with a length is empty."""
    return holds_many(x) and len(x) == 0


def short(value: Any) -> str:
    """Return a value and its type for a message."""
    text = repr(value)
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({type(value).__name__})"


def one_number(value: Any, what: str) -> float:
    """Return a finite number, which may be in a list of one.

    Raises:
        ValueError: for anything else.
    """
    if holds_many(value) and len(value) == 1:
        value = rows(value)[0]
    try:
        if is_missing(value) or not np.isfinite(float(value)):
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(f"Expected a finite number as {what}, got {short(value)}.") from None
    return float(value)


def is_chat(value: Any) -> bool:
    """Return whether a value is a list of messages."""
    messages = isinstance(value, (list, tuple, np.ndarray)) and len(value) > 0
    return messages and all(isinstance(each, Mapping) and "role" in each for each in value)


def are_parts(data: Any) -> bool:
    """Return whether a tuple or list is `(x, y)` or `(x, y, sample_weight)`, not several examples."""
    if not isinstance(data, (tuple, list)) or not 2 <= len(data) <= 3 or hasattr(data, "_fields"):
        return False
    parts = [part for place, part in enumerate(data) if part is not None or place == 0]
    if not all(map(_holds_rows, parts)) or any(map(is_chat, parts)):
        return False
    return not all(isinstance(part, tuple) and 2 <= len(part) <= 3 or isinstance(part, Mapping) for part in parts)


def _holds_rows(part: Any) -> bool:
    return holds_many(part) or column_names(part) is not None or isinstance(part, Mapping)


def computed(x: Any) -> Any:
    """Compute a lazy frame or a chunked array; return other values unchanged."""
    if isinstance(x, Mapping) or is_series(x):
        return x
    for method in _COMPUTE:
        if callable(getattr(x, method, None)) and not isinstance(x, type):
            return getattr(x, method)()
    array = as_array(x)
    return x if array is None or array.ndim else array.item()


def column_names(x: Any) -> list[Any] | None:
    """Return the names of a frame's columns; None for other values."""
    if is_series(x) or isinstance(x, (Mapping, type)):
        return None
    for attribute in ("column_names", "columns"):
        names = getattr(x, attribute, None)
        if names is not None and not callable(names):
            return list(names)
    if callable(getattr(x, "keys", None)) and hasattr(x, "__getitem__"):
        return list(x.keys())
    return None


def is_series(x: Any) -> bool:
    """Return whether a value is one column of another library: a series, an array, a tensor."""
    if isinstance(x, np.ndarray):
        return x.ndim > 0 and not x.dtype.names
    if isinstance(x, type) or getattr(x, "ndim", 1) == 0 or hasattr(x, "column_names"):
        return False
    return any(callable(getattr(x, method, None)) for method in _TO_LISTS) or bool(getattr(x, "ndim", 0) == 1)


def as_array(x: Any) -> np.ndarray | None:
    """Return an array, or a tensor of TensorFlow, JAX or PyTorch, as a NumPy array; None for other values."""
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "toarray"):  # a sparse matrix
        return x.toarray()
    module = type(x).__module__.partition(".")[0]
    if module in ("tensorflow", "torch", "jax", "jaxlib") and hasattr(x, "__array__") and hasattr(x, "shape"):
        return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)
    return None


def flat_texts(x: Any) -> Any:
    """Reshape strings of shape `(N, 1)` to `(N,)`."""
    array = as_array(x)
    if array is None or array.ndim != 2 or array.shape[1] != 1 or array.dtype.kind not in "OUSTV":
        return x
    return array[:, 0]


def array_or_self(x: Any) -> Any:
    """Return the NumPy array that a container holds, or the container itself if it holds none."""
    array = as_array(x)
    return x if array is None else array


def _of_records(x: Any) -> dict[str, list[Any]] | None:
    """Return the columns of a list of dictionaries, or of other rows with names."""
    if not len(x) or is_chat(x) or _is_string(x[0]) or not (_has_names(x[0]) or dataclasses.is_dataclass(x[0])):
        return None
    if _is_one_and_labels(x):
        return None
    records = list(map(_names_and_values, x))
    first = records[0] or {}
    for number, record in enumerate(records):
        if record is None or set(record) != set(first):
            got = short(x[number]) if record is None else ", ".join(map(str, record))
            raise ValueError(
                f"Expected dictionaries of the same keys, got {', '.join(map(str, first))} first and {got} "
                f"as item {number}."
            )
    return {name: [record[name] for record in records] for name in records[0]}  # type: ignore


def _names_and_values(row: Any) -> dict[str, Any] | None:
    return None if _is_string(row) else named(row)


def _is_one_and_labels(x: Any) -> bool:
    """Return whether a short list is inputs by name, with their labels and perhaps weights."""
    return len(x) <= 3 and (isinstance(x, tuple) or any(map(holds_many, x[1:]))) and not all(map(_has_names, x))


def _has_names(row: Any) -> bool:
    return isinstance(row, Mapping) or hasattr(row, "_fields")


def _is_string(value: Any) -> bool:
    return isinstance(value, (str, bytes))


def are_strings(values: Iterable[Any]) -> bool:
    """Return whether all values are strings or bytes."""
    return all(map(_is_string, values))


def are_words(x: Any) -> bool:
    """Return whether several strings can be the words of one text."""
    texts = [each.decode(errors="replace") if isinstance(each, bytes) else each for each in x]
    return all(isinstance(text, str) and len(text.split()) < 2 for text in texts)


def are_texts(x: Any) -> bool:
    """Return whether a container of at least one row begins with a string or bytes."""
    return holds_many(x) and len(x) > 0 and isinstance(rows(x)[0], (str, bytes))


def holds_texts(column: Any, words: bool = False) -> bool:
    """Return whether the first non-missing value of a column is a text."""
    first: Any = next((each for each in itertools.islice(rows(column), 100) if not is_missing(each)), None)
    if words and holds_many(first) and len(first):
        first = first[0]
    return isinstance(first, (str, bytes))
