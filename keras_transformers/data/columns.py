"""The choice of a table's columns by name. It refuses to guess if the choice is ambiguous."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_transformers.data.containers import holds_texts, rows
from keras_transformers.spelling import did_you_mean

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
