"""Texts that belong together, for the training of vectors: a text, its positive, its hard negatives, and their scores.

    text        positive     negative       negative_2     score
    a question  its answer   a wrong one    another one    4.5, or [4.5, 0.1, 0.3]

`N` rows, `K` scores of a row.
"""

import re
import typing
from collections.abc import Mapping

import numpy as np

from keras_transformers.data.columns import TEXTS, one_of, renamed
from keras_transformers.data.containers import as_text, holds_many, one_number, rows
from keras_transformers.data.examples import Columns, read_columns
from keras_transformers.data.sources import Source

# Columns of texts with the same meaning, besides those of pairs.
PAIRS = (("text", "positive"), ("anchor", "positive"), ("query", "positive"), ("question", "answer"), *TEXTS)
SCORES = ("score", "scores", "label", "labels")
NEGATIVE = re.compile(r"negative(_\d+)?")


class Groups(typing.NamedTuple):
    """The result of `read_groups`.

    Attributes:
        sides: the texts by their side: "", "positive_", "negative_", "negative_2_" and so on, `N` each.
        scores: float32 `[N]` or `[N, K]`, or None.
        sample_weight: float32 `[N]`.
    """

    sides: dict[str, list[str]]
    scores: np.ndarray | None
    sample_weight: np.ndarray


def read_groups(source: Source, scored: bool, columns: Mapping[str, str] | None = None) -> Groups:
    """Read a source of texts that belong together to its end.

    Args:
        source: pairs of texts; or single texts with their positives in `y`; or a table, which may have columns of hard
            negatives.
        scored: whether each row has scores: in `y`, or in a column.
        columns: the table's names of the columns, by the names here.

    Raises:
        TypeError: for a value that is not a text, naming the row.
        ValueError: for missing scores or positives, and for scores that nothing learns from.
    """
    inputs, labels, weights = source.whole()
    negatives: dict[str, list[str]] = {}
    if isinstance(inputs, Mapping):
        inputs = renamed(inputs, columns)
        both = set(PAIRS[0]) <= set(columns or ())
        columns = {name: name for name in columns or () if name in SCORES or both and name in PAIRS[0]}
        for name in sorted(filter(NEGATIVE.fullmatch, map(str, inputs)), key=_place):
            values = rows(inputs.pop(name))
            negatives[f"{name}_"] = [as_text(text, f"{name} {row}") for row, text in enumerate(values)]
        if scored and labels is None and (column := one_of(inputs, SCORES, "scores", columns)):
            labels = rows(inputs.pop(column))
            columns.pop(column, None)
    read = read_columns(inputs, labels, weights, labelled=False, inputs=PAIRS, columns=columns)
    positives, scores = _positives(read, source, scored)
    sides = {"": read.texts, "positive_": [as_text(text, f"positive {row}") for row, text in enumerate(positives)]}
    for name, texts in negatives.items():
        if len(texts) != len(read.texts):
            raise ValueError(
                f"Expected columns of one length, got {len(read.texts)} texts and {len(texts)} of {name[:-1]}."
            )
    return Groups({**sides, **negatives}, scores, read.sample_weight)


def _place(name: str) -> int:
    """The number of a column of hard negatives: 1 for "negative"."""
    return int(name.partition("_")[2] or 1)


def _positives(read: Columns, source: Source, scored: bool) -> tuple[list[typing.Any], np.ndarray | None]:
    """The positives and the scores of texts."""
    if scored:
        if read.seconds is None or read.labels is None:
            got = "single texts" if read.seconds is None else "none"
            raise ValueError(
                f"Expected pairs of texts with scores, got {got}. Pass the pairs as x and the scores as y, or a table "
                "with a column `score`."
            )
        return read.seconds, scores_of(read.labels)
    if not source.has_labels and read.labels is not None:
        raise ValueError(
            "Expected pairs of texts that mean the same, got labels too, which may say that some do not. Leave "
            "those pairs out, and pass the texts without labels; or train with a loss of scored pairs, such as "
            "kt.losses.CoSENT()."
        )
    if read.labels is None and read.seconds is None:
        raise ValueError("Expected pairs of texts that mean the same, got single ones. Pass the others as y.")
    if read.labels is not None and read.seconds is not None:
        raise ValueError("Expected single texts with y, got pairs of them too. Leave y out.")
    return read.seconds or read.labels or [], None


def scores_of(scores: list[typing.Any]) -> np.ndarray:
    """Scores as an array, float32 `[N]` or `[N, K]`."""
    given = [
        [one_number(each, f"score {place} of row {row}") for place, each in enumerate(rows(score))]
        if holds_many(score)
        else [one_number(score, f"score {row}")]
        for row, score in enumerate(scores)
    ]
    if len(set(map(len, given))) > 1:
        wrong = next(row for row, each in enumerate(given) if len(each) != len(given[0]))
        raise ValueError(f"Expected as many scores in each row, got {len(given[0])} and, in row {wrong}, others.")
    array = np.array(given, "float32")
    return array[:, 0] if array.shape[1] == 1 else array
