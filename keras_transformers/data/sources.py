"""The reader of users' data: any container → named columns, or rows without names → blocks of rows.

    containers.py   frames and columns of any library       ─► columns by name, or rows
    streams.py      tf.data, DataLoader, generators, files  ─► items, each an example or a batch of examples
    columns.py      columns by name                         ─► those that a task reads

`Source` gathers rows in blocks. A stream's items are read one by one, and `Form` tells an example from a batch.

`N` rows.
"""

import itertools
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keras_transformers.data.columns import TEXTS, choose
from keras_transformers.data.containers import (
    are_parts,
    are_strings,
    are_texts,
    are_words,
    array_or_self,
    as_array,
    as_text,
    computed,
    flat_texts,
    holds_many,
    is_chat,
    is_series,
    named,
    rows,
    short,
)
from keras_transformers.data.streams import items

Texts: typing.TypeAlias = Any
"""Whatever holds texts: a string, or a list, array, series, data frame, data set or stream of strings."""

ROWS = 4096  # in a block of a stream


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


def _blocks(x: Any, y: Any, sample_weight: Any, form: Form) -> Iterator[Block]:
    _check_no_string(x)
    x, y, sample_weight = _taken_apart(x, y, sample_weight, form)
    x = computed(x)
    _check_no_string(x)
    weights = None if sample_weight is None else _flat(sample_weight)
    labels = None if y is None else rows(computed(y))
    table = named(x)
    if table is None:
        table, x = _of_array(x, form)
    if table is not None:
        yield Block(table, labels, weights)
    elif isinstance(x, (list, tuple)) and not _is_parted(x, form, labels) or is_series(x):
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
    array = as_array(x)
    if array is None or array.ndim != 2:
        return None, x
    if array.dtype.kind in "iu":
        return {"token_ids": array}, x
    texts = flat_texts(array)
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
    item = flat_texts(item)
    pair = isinstance(item, tuple) and len(item) == 2 and are_strings(item)
    return Block(_rows_of(item) if not pair and _is_batch(item, None, form) else [item])


def _are_examples(item: Any) -> bool:
    """Return whether an item is a list of examples `(text, label)`, as a DataLoader's `collate_fn` may return them."""
    return isinstance(item, list) and all(
        isinstance(each, tuple)
        and 2 <= len(each) <= 3
        and isinstance(each[0], (str, bytes, tuple))
        and not isinstance(each[1], (str, bytes, tuple))
        for each in item
    )


def _is_example(item: Any, form: Form) -> bool:
    """Return whether an item is an input with its label and weight, or a batch of them."""
    if not isinstance(item, (tuple, list)) or not 2 <= len(item) <= 3 or is_chat(item):
        return False
    return form.labelled or isinstance(item, tuple) and not are_strings(item)


def _example(item: Any, form: Form, number: int) -> Block:
    x, label, *weight = (array_or_self(each) for each in item)
    x = flat_texts(x)
    if (table := None if is_chat(x) else named(x)) is not None:
        inputs: Any = _row_or_columns(x, table, form)
        batched = inputs is table
    elif not form.labelled and form.pairs != "never" and not weight and are_texts(x) and are_texts(label):
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
    if not len(x) or not are_strings(x):
        return bool(len(x))
    if form.pairs == "never":
        return True
    if form.pairs == "must":
        return len(x) != 2
    if form.words:
        return holds_many(label) and len(label) > 0 and holds_many(label[0]) or label is None and not are_words(x)
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
    words = form.words and any(map(are_words, values))
    return words or any(map(is_chat, values)) or not table.keys().isdisjoint(("token_ids", "input_ids"))


def _innermost(table: dict[str, Any]) -> list[Any]:
    """Return the values of columns, including those of nested columns."""
    values = [array_or_self(value) for value in table.values()]
    values += [inner for value in values if isinstance(value, Mapping) for inner in value.values()]
    return [value for value in values if not isinstance(value, Mapping)]


def _is_parted(x: Any, form: Form, labels: Any) -> bool:
    """Return whether a list holds examples of several parts, not only inputs."""
    return len(x) > 0 and labels is None and (form.labelled or isinstance(x[0], tuple))


def _flat(weights: Any) -> list[Any]:
    weights = rows(computed(weights))
    flat = all(holds_many(each) and len(each) == 1 for each in weights)
    return [each[0] for each in weights] if flat else weights
