"""The reader of users' data: any container → named columns, or rows without names → lists of values.

    frames        pandas, polars, pyarrow, Hugging Face datasets, dictionaries of columns,      ─► columns by name
                  lists of dictionaries, structured arrays
    one column    lists, tuples, NumPy arrays, series, chunked arrays, tensors                  ─► rows
    streams       tf.data, PyDataset, DataLoader, generators, zip, csv readers, open files      ─► either, item by item

Only NumPy is imported: objects of other libraries are recognised by their methods. `Source` gathers rows in blocks.
`choose` selects columns by name, and refuses to guess if the choice is ambiguous.

`N` rows.
"""

import dataclasses
import io
import itertools
import os
import sys
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_transformers.spelling import did_you_mean

Texts: typing.TypeAlias = Any
"""Whatever holds texts: a string, or a list, array, series, data frame, data set or stream of strings."""

ROWS = 4096  # in a block of a stream
_TO_LISTS = ("to_pylist", "to_list", "tolist")  # pyarrow's; of pandas, polars and ragged tensors; of arrays
_COMPUTE = ("collect", "compute", "read_all", "to_table")  # methods of lazy data in polars, dask and pyarrow


class Block(typing.NamedTuple):
    """Some rows of a source.

    Attributes:
        inputs: columns by name, or a list of values without names.
        labels, weights: the labels and weights, one for each row, or None.
    """

    inputs: dict[str, Any] | list[Any]
    labels: list[Any] | None = None
    weights: list[Any] | None = None


class Form(typing.NamedTuple):
    """The form of a task's examples, by which one example is told from a batch.

    Attributes:
        labelled: whether examples have labels: `(input, label)`. Otherwise two strings are a pair.
        words: whether a list of strings is one text, split into words.
        pairs: whether an input is two texts: "may", "must" or "never".
        parts: the words for the input and its label in messages.
    """

    labelled: bool = True
    words: bool = False
    pairs: str = "may"
    parts: tuple[str, str] = "text", "label"


class Source:
    """Rows of any container, read once, from the first to the last.

    Args:
        x: inputs, or inputs with their labels and weights.
        y: labels, one for each row, if `x` holds none.
        sample_weight: the weight of each row.
        form: a `Form`.

    Attributes:
        has_labels: whether labels were given beside `x`.
        holds_ids: whether the rows are token ids, not texts.

    Raises:
        TypeError: for a value that holds no rows: a string, a number, a set, a path, a function.
        ValueError: for a stream without end, several data sets at once, and items with different columns.
    """

    def __init__(self, x: Any, y: Any = None, sample_weight: Any = None, form: Form | None = None) -> None:
        self.form, self.has_labels = form or Form(), y is not None
        self._blocks = _blocks(x, y, sample_weight, self.form)
        self._first = next(self._blocks, None)

    @property
    def names(self) -> list[str]:
        """The names of the columns; none for rows without names."""
        inputs = None if self._first is None else self._first.inputs
        return list(map(str, inputs)) if isinstance(inputs, Mapping) else []

    @property
    def holds_ids(self) -> bool:
        return not {"token_ids", "input_ids"}.isdisjoint(self.names)

    def blocks(self) -> Iterator[Block]:
        """Yield the rows in blocks."""
        first, self._first = self._first, None
        return self._blocks if first is None else itertools.chain([first], self._blocks)

    def whole(self) -> Block:
        """Return all rows as one block."""
        blocks = list(self.blocks())
        if len(blocks) < 2:
            return blocks[0] if blocks else Block([])
        gathered = _Rows()
        for number, block in enumerate(blocks):
            gathered.add(block, number)
        return gathered.block()


def texts_of(x: Any, *, inputs: Sequence[tuple[str, ...]] | None = None, what: str = "text") -> tuple[list[str], bool]:
    """Return `(list of texts, whether x is one string)`.

    Args:
        x: a string, or any container or stream of strings. If it has named columns, `choose` selects one.
        inputs: the names to look for, as for `choose`.
        what: the word for a text in messages.

    Raises:
        TypeError: for a value without texts, pairs of texts, and missing values, naming the row.
        ValueError: for an ambiguous choice of columns, bytes that are not UTF-8, and lone surrogates.
    """
    if isinstance(x, str):
        return [as_text(x, f"the {what}")], True
    source = x if isinstance(x, Source) else Source(x, form=Form(labelled=False))
    texts = source.whole().inputs
    if isinstance(texts, Mapping):
        chosen = choose(texts, inputs or TEXTS)
        if len(chosen) > 1:
            raise TypeError(f"Expected texts, got pairs of them: the columns {' and '.join(chosen)}. Pass one column.")
        (texts,) = chosen.values()
    return [as_text(text, f"{what} {row}") for row, text in enumerate(texts)], False


# Names of columns. `columns=` uses the first name of the first alternative.
TEXTS = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "context"),
    ("query", "passage"),
    *((name,) for name in ("text", "sentence", "question", "query", "prompt", "tokens", "words")),
)
SINGLE = (("text",), ("sentence",))
LABELS = ("label", "labels", "score", "ner_tags", "tags")
WEIGHT = "sample_weight"


def choose(
    table: Mapping[str, Any],
    inputs: Sequence[tuple[str, ...]],
    *,
    columns: Mapping[str, str] | None = None,
    words: bool = False,
    beside: Sequence[str | None] = (),
) -> dict[str, list[Any]]:
    """Return the columns that a task reads, as lists, by their names in the table.

    If the table has no known name and one column is enough, the only column that holds texts is taken.

    Args:
        table: columns by name.
        inputs: alternatives, each the names of columns that belong together.
        columns: the user's mapping from the names here to names in the table.
        words: whether a list of words is a text.
        beside: columns that are read for another use.

    Raises:
        ValueError: if no column fits, or the choice is ambiguous; all columns are listed.
    """
    if asked := tuple(name for name in inputs[0] if name in (columns or ())):
        inputs = [asked]
    found = _most_complete([names for names in inputs if set(names) <= set(table)])
    if not found and min(map(len, inputs)) == 1:
        rest = {name: column for name, column in table.items() if name not in (*beside, WEIGHT)}
        found = [(name,) for name, column in rest.items() if holds_texts(column, words)]
    if len(found) != 1:
        raise _open_choice(table, inputs, columns, found)
    return {name: rows(table[name]) for name in found[0]}


def _most_complete(alternatives: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the alternatives that are not part of another one."""
    return [names for names in alternatives if not any(set(names) < set(other) for other in alternatives)]


def _open_choice(
    table: Mapping[str, Any],
    inputs: Sequence[tuple[str, ...]],
    columns: Mapping[str, str] | None,
    found: Sequence[tuple[str, ...]],
) -> ValueError:
    """Return the error of `choose` if the table has none of the alternatives, or several."""
    listed = ", ".join(map(str, table)) or "none"
    which = f": {' or '.join(' and '.join(map(str, names)) for names in found)} could be meant" if found else ""
    names = list(dict.fromkeys(" and ".join(each) for each in sorted(inputs, key=len)))[:3]
    example = ", ".join(f"{name!r}: …" for name in inputs[0])
    advice = "Pass the column itself." if columns is None else f"Say which: columns={{{example}}}."
    return ValueError(
        f"Expected {'a column' if min(map(len, inputs)) == 1 else 'columns'} of texts, called "
        f"{' or '.join(names)}, got the columns {listed}{which}. {advice}"
    )


def renamed(table: Mapping[str, Any], columns: Mapping[str, str] | None) -> dict[str, Any]:
    """Rename a table's columns to the names here, by `columns`: `{name here: name in the table}`.

    Raises:
        ValueError: for a column that the table lacks.
    """
    if not columns:
        return dict(table)
    for ours, theirs in columns.items():
        if theirs not in table:
            raise ValueError(
                f"Expected columns={{{ours!r}: …}} to name one of the columns {', '.join(map(str, table))}, got "
                f"{theirs!r}{did_you_mean(theirs, map(str, table))}."
            )
    rest = {name: column for name, column in table.items() if name not in columns and name not in columns.values()}
    return {**rest, **{ours: table[theirs] for ours, theirs in columns.items()}}


def one_of(
    table: Mapping[str, Any], names: Sequence[str], what: str, columns: Mapping[str, str] | None = None
) -> str | None:
    """Return the one of these names that a table has, or None. If it has several, `columns` decides.

    Raises:
        ValueError: if the table has several and `columns` does not decide.
    """
    found = [name for name in names if name in (columns or ())] or [name for name in names if name in table]
    if len(found) > 1:
        raise ValueError(
            f"Expected one column of {what}, got {' and '.join(found)} among {', '.join(map(str, table))}. Say which: "
            f"columns={{{names[0]!r}: …}}."
        )
    return found[0] if found else None


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
    if table and all(not isinstance(each, Mapping) and _names(each) is not None for each in table.values()):
        raise ValueError(
            f"Expected one data set, got several by name: {', '.join(map(str, table))}. Give one, such as "
            f"x[{next(iter(table))!r}]."
        )
    return table


def _table(x: Any) -> dict[str, Any] | None:
    """Return the columns of a mapping, a frame, a named tuple or a dataclass; None for others."""
    if isinstance(x, Mapping):
        return dict(x)
    if _is_series(x):
        return None
    if hasattr(x, "__getitem__") and (names := _names(x)) is not None:
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
    if not _is_series(column) and (table := named(column)) is not None and not isinstance(column, tuple):
        return _dictionaries(table)
    array = _array(column)
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
    return isinstance(value, Sequence) or bool(getattr(value, "ndim", 0)) or _is_series(value)


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


# --- from a container to blocks ---


def _blocks(x: Any, y: Any, sample_weight: Any, form: Form) -> Iterator[Block]:
    _check_no_string(x)
    x, y, sample_weight = _taken_apart(x, y, sample_weight, form)
    x = _computed(x)
    _check_no_string(x)
    weights = None if sample_weight is None else _flat(sample_weight)
    labels = None if y is None else rows(_computed(y))
    table = named(x)
    if table is None:
        table, x = _of_array(x, form)
    if table is not None:
        yield Block(table, labels, weights)
    elif isinstance(x, (list, tuple)) and not _is_parted(x, form, labels) or _is_series(x):
        values = rows(x)
        table = None if isinstance(x, (list, tuple)) else named(values)  # a series of structures
        yield Block(values if table is None else table, labels, weights)
    elif labels is not None or weights is not None:
        inputs = Source(x, form=form._replace(labelled=labels is None)).whole()
        labels = _once("labels", inputs.labels, labels)
        yield Block(inputs.inputs, labels, _once("weights", inputs.weights, weights))
    else:
        yield from _streamed(x, form)


def _check_no_string(x: Any) -> None:
    if isinstance(x, (str, bytes)):
        raise TypeError(f"Expected a list of texts, got one string, {x[:40]!r}. Put it in a list.")


def _taken_apart(x: Any, y: Any, sample_weight: Any, form: Form) -> tuple[Any, Any, Any]:
    """Return inputs, labels and weights; they are taken from `x` if it is a tuple of them."""
    if not (y is None and form.labelled and isinstance(x, tuple) and are_parts(x)):
        return x, y, sample_weight
    if len(x) == 3 and sample_weight is not None:
        raise ValueError("Expected one sample_weight, got one in a tuple (x, y, sample_weight) and another beside it.")
    return (*x, sample_weight)[:3]


def _of_array(x: Any, form: Form) -> tuple[dict[str, Any] | None, Any]:
    """Return `(table, x)`: a table of token ids if `x` is an integer array `[N, T]`; otherwise None, and the texts or
    pairs of an array."""
    array = _array(x)
    if array is None or array.ndim != 2:
        return None, x
    if array.dtype.kind in "iu":
        return {"token_ids": array}, x
    texts = _flat_texts(array)
    if texts.ndim == 2 and array.dtype.kind in "OUSTV" and not form.words:
        return None, [tuple(row) for row in array.tolist()]
    return None, texts


def _once(what: str, within: Any, beside: Any) -> Any:
    """Return the labels, or weights, from the source or from beside it; refuse both at once."""
    if within is not None and beside is not None:
        raise ValueError(f"Expected {what} once, got some in x and others beside it. Leave one of the two out.")
    return within if beside is None else beside


def _streamed(x: Any, form: Form) -> Iterator[Block]:
    gathered = _Rows()
    for number, item in enumerate(items(x)):
        for each in item if _are_examples(item) else (item,):
            gathered.add(_item(each, form, number), number)
        if len(gathered) >= ROWS:
            yield gathered.block()
            gathered = _Rows(gathered)
    if len(gathered):
        yield gathered.block()


class _Rows:
    """Blocks that are joined to one. All must have the same columns, and all or none have labels."""

    def __init__(self, before: "_Rows | None" = None) -> None:
        self._has: Any = None if before is None else before._has  # column names; if labels and weights exist
        self._inputs: Any = [] if before is None or before._has[0] is None else {name: [] for name in before._has[0]}
        self._beside: tuple[list[Any], list[Any]] = [], []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, block: Block, number: int) -> None:
        """Append a block that begins with item `number`."""
        inputs, *beside = block
        has: tuple[Any, ...] = (
            tuple(inputs) if isinstance(inputs, dict) else None,
            *(each is not None for each in beside),
        )
        if self._has is None:
            self._has, self._inputs = has, [] if has[0] is None else {name: [] for name in has[0]}
        elif (has[0] is None) != (self._has[0] is None) or has[0] is not None and set(has[0]) != set(self._has[0]):
            raise ValueError(
                f"Expected dictionaries of the same keys, got {_said(self._has)} first and {_said(has)} as item "
                f"{number}."
            )
        elif has[1:] != self._has[1:]:
            raise ValueError(f"Expected a label, or weight, for each, or for none, got the other as item {number}.")
        if isinstance(inputs, dict):
            lists = {name: rows(column) for name, column in inputs.items()}
            for name, each in lists.items():
                self._inputs[name] += each
            self._count += len(next(iter(lists.values()), ()))
        else:
            self._inputs += inputs
            self._count += len(inputs)
        for whole, part in zip(self._beside, beside, strict=True):
            whole += part or []

    def block(self) -> Block:
        labels, weights = (each if has else None for each, has in zip(self._beside, self._has[1:], strict=True))
        return Block(self._inputs, labels, weights)


def _said(has: tuple[Any, ...]) -> str:
    return ", ".join(map(str, has[0])) if has[0] is not None else "no dictionary"


def _item(item: Any, form: Form, number: int) -> Block:
    """Return the rows of one item of a stream: an example, or a batch of examples."""
    if not is_chat(item) and (table := named(item)) is not None:
        return Block(_row_or_columns(item, table, form))
    if _is_example(item, form):
        return _example(item, form, number)
    if form.labelled:
        example = ", ".join(form.parts)
        raise TypeError(
            f"Expected ({example}) or ({example}, weight), or batches of them, got {short(item)} as item {number}. If "
            "the two sides are apart, pass y too."
        )
    item = _flat_texts(item)
    pair = isinstance(item, tuple) and len(item) == 2 and _are_strings(item)
    return Block(_rows_of(item) if not pair and _is_batch(item, None, form) else [item])


def _is_example(item: Any, form: Form) -> bool:
    """Return whether an item is an input with its label and weight, or a batch of them."""
    if not isinstance(item, (tuple, list)) or not 2 <= len(item) <= 3 or is_chat(item):
        return False
    return form.labelled or isinstance(item, tuple) and not _are_strings(item)


def _example(item: Any, form: Form, number: int) -> Block:
    x, label, *weight = (_array_or_self(each) for each in item)
    x = _flat_texts(x)
    if (table := None if is_chat(x) else named(x)) is not None:
        inputs: Any = _row_or_columns(x, table, form)
        batched = inputs is table
    elif not form.labelled and form.pairs != "never" and not weight and _are_texts(x) and _are_texts(label):
        return Block(list(zip(rows(x), rows(label), strict=True)))  # a batch of pairs as two batches
    else:
        batched = _is_batch(x, label, form)
        inputs = [x]
    beside = [rows(each) if batched else [each] for each in (label, *weight)]
    if batched and inputs is not table:
        inputs = _rows_of(x, len(beside[0]))
    _check_batch(inputs, beside, number)
    return Block(inputs, *beside)


def _check_batch(inputs: Any, beside: list[Any], number: int) -> None:
    """Refuse unequal numbers of inputs and labels, or inputs and weights."""
    count = len(inputs) if isinstance(inputs, list) else len(next(iter(inputs.values()), ()))
    for what, each in zip(("labels", "weights"), beside, strict=False):
        if len(each) != count:
            raise ValueError(
                f"Expected as many {what} as inputs, got a batch of {count} inputs and {len(each)} {what} as item "
                f"{number}. Each input needs its own."
            )


def _is_batch(x: Any, label: Any, form: Form) -> bool:
    """Return whether a value in the place of an input is a batch of inputs.

    If words are read, a list of strings is one input, unless each string has a list of labels, or a string is not a
    word. Two strings beside one label, or beside a list of more or fewer than two labels, are one pair.
    """
    if not holds_many(x) or is_chat(x):
        return False
    if not len(x) or not _are_strings(x):
        return bool(len(x))
    if form.pairs == "never":
        return True
    if form.pairs == "must":
        return len(x) != 2
    if form.words:
        return holds_many(label) and len(label) > 0 and holds_many(label[0]) or label is None and not _are_words(x)
    return label is None or holds_many(label) and not (isinstance(x, tuple) and len(x) == 2 != len(label))


def _rows_of(x: Any, count: int | None = None) -> list[Any]:
    """Return the inputs of a batch; a pair of batches is converted to a batch of pairs."""
    inputs = list(x) if isinstance(x, tuple) else rows(x)
    sides = isinstance(x, tuple) and len(inputs) == 2 and all(map(holds_many, inputs))
    if sides and len(inputs[0]) == len(inputs[1]) == (count or len(inputs[0])):
        if len(inputs[0]) != 2 or not all(isinstance(side, tuple) for side in inputs):
            return list(zip(*map(rows, inputs), strict=True))
    return inputs


def _row_or_columns(item: Any, table: dict[str, Any], form: Form) -> dict[str, Any]:
    """Return the columns of an item with named values, which may be one row or several."""
    return {name: [value] for name, value in table.items()} if _is_row(item, table, form) else table


def _is_row(item: Any, table: dict[str, Any], form: Form) -> bool:
    if isinstance(item, (list, tuple)) and not hasattr(item, "_fields"):
        return False  # a list of dictionaries
    if hasattr(item, "columns") or hasattr(item, "column_names"):
        return False  # a frame
    values = _innermost(table)
    if not all(map(holds_many, values)):
        return True
    if any(len(value) and (holds_many(value[0]) or is_chat(value[0])) for value in values):
        return False
    words = form.words and any(map(_are_words, values))
    return words or any(map(is_chat, values)) or not table.keys().isdisjoint(("token_ids", "input_ids"))


def _innermost(table: dict[str, Any]) -> list[Any]:
    """Return the values of columns, including those of nested columns."""
    values = [_array_or_self(value) for value in table.values()]
    values += [inner for value in values if isinstance(value, Mapping) for inner in value.values()]
    return [value for value in values if not isinstance(value, Mapping)]


# --- recognising the kind of a container ---


def are_parts(data: Any) -> bool:
    """Return whether a tuple or list is `(x, y)` or `(x, y, sample_weight)`, not several examples."""
    if not isinstance(data, (tuple, list)) or not 2 <= len(data) <= 3 or hasattr(data, "_fields"):
        return False
    parts = [part for place, part in enumerate(data) if part is not None or place == 0]
    if not all(map(_holds_rows, parts)) or any(map(is_chat, parts)):
        return False
    return not all(isinstance(part, tuple) and 2 <= len(part) <= 3 or isinstance(part, Mapping) for part in parts)


def _holds_rows(part: Any) -> bool:
    return holds_many(part) or _names(part) is not None or isinstance(part, Mapping)


def _is_parted(x: Any, form: Form, labels: Any) -> bool:
    """Return whether a list holds examples of several parts, not only inputs."""
    return len(x) > 0 and labels is None and (form.labelled or isinstance(x[0], tuple))


def _flat(weights: Any) -> list[Any]:
    weights = rows(_computed(weights))
    flat = all(holds_many(each) and len(each) == 1 for each in weights)
    return [each[0] for each in weights] if flat else weights


def _computed(x: Any) -> Any:
    """Compute a lazy frame or a chunked array; return other values unchanged."""
    if isinstance(x, Mapping) or _is_series(x):
        return x
    for method in _COMPUTE:
        if callable(getattr(x, method, None)) and not isinstance(x, type):
            return getattr(x, method)()
    array = _array(x)
    return x if array is None or array.ndim else array.item()


def _names(x: Any) -> list[Any] | None:
    """Return the names of a frame's columns; None for other values."""
    if _is_series(x) or isinstance(x, (Mapping, type)):
        return None
    for attribute in ("column_names", "columns"):
        names = getattr(x, attribute, None)
        if names is not None and not callable(names):
            return list(names)
    if callable(getattr(x, "keys", None)) and hasattr(x, "__getitem__"):
        return list(x.keys())
    return None


def _is_series(x: Any) -> bool:
    """Return whether a value is one column of another library: a series, an array, a tensor."""
    if isinstance(x, np.ndarray):
        return x.ndim > 0 and not x.dtype.names
    if isinstance(x, type) or getattr(x, "ndim", 1) == 0 or hasattr(x, "column_names"):
        return False
    return any(callable(getattr(x, method, None)) for method in _TO_LISTS) or bool(getattr(x, "ndim", 0) == 1)


def _array(x: Any) -> np.ndarray | None:
    """Return an array, or a tensor of TensorFlow, JAX or PyTorch, as a NumPy array; None for other values."""
    if isinstance(x, np.ndarray):
        return x
    if hasattr(x, "toarray"):  # a sparse matrix
        return x.toarray()
    module = type(x).__module__.partition(".")[0]
    if module in ("tensorflow", "torch", "jax", "jaxlib") and hasattr(x, "__array__") and hasattr(x, "shape"):
        return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)
    return None


def _flat_texts(x: Any) -> Any:
    """Reshape strings of shape `(N, 1)` to `(N,)`."""
    array = _array(x)
    if array is None or array.ndim != 2 or array.shape[1] != 1 or array.dtype.kind not in "OUSTV":
        return x
    return array[:, 0]


def _array_or_self(x: Any) -> Any:
    array = _array(x)
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


def _are_strings(values: Iterable[Any]) -> bool:
    return all(map(_is_string, values))


def _are_examples(item: Any) -> bool:
    """Return whether an item is a list of examples `(text, label)`, as a DataLoader's `collate_fn` may return them."""
    return isinstance(item, list) and all(
        isinstance(each, tuple)
        and 2 <= len(each) <= 3
        and isinstance(each[0], (str, bytes, tuple))
        and not isinstance(each[1], (str, bytes, tuple))
        for each in item
    )


def _are_words(x: Any) -> bool:
    """Return whether several strings can be the words of one text."""
    texts = [each.decode(errors="replace") if isinstance(each, bytes) else each for each in x]
    return all(isinstance(text, str) and len(text.split()) < 2 for text in texts)


def _are_texts(x: Any) -> bool:
    return holds_many(x) and len(x) > 0 and isinstance(rows(x)[0], (str, bytes))


def holds_texts(column: Any, words: bool = False) -> bool:
    """Return whether the first non-missing value of a column is a text."""
    first: Any = next((each for each in itertools.islice(rows(column), 100) if not is_missing(each)), None)
    if words and holds_many(first) and len(first):
        first = first[0]
    return isinstance(first, (str, bytes))


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
