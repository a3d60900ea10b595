"""Texts as token ids with labels, for the tasks of an encoder: any source is read once.

    lists, arrays, a dictionary of columns, a Hugging Face dataset,     ── read_columns ──► Columns of Python values
    tf.data, PyDataset, DataLoader, generators of pairs or batches
                                                                        a task encodes ──► Examples ──► Batches

`N` examples, `B` rows of a batch, `T` tokens.
"""

import collections.abc
import dataclasses
import re
import typing

import numpy as np

from keras_transformers.data.columns import LABELS, TEXTS, WEIGHT, choose, one_of, renamed
from keras_transformers.data.containers import as_text, holds_many, one_number, rows, short
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import Form, Source

NO_LABEL = -100  # the label of tokens without one: special tokens, pieces inside a word, padding


@dataclasses.dataclass(frozen=True)
class Examples:
    """Encoded texts, special tokens in place.

    Attributes:
        columns: a `Ragged` by the name of each input of the model. Segments have the name of their tokens, with
            "segment_ids" for "token_ids"; starts belong to `token_ids`.
        labels: `[N, …]`, or a `Ragged` with a label for each token, `NO_LABEL` for none.
        sample_weight: float `[N]`, or a `Ragged` with a weight for each label.
        padding_id: the id that fills rows up.
        truncated: the number of texts that were cut.
    """

    columns: dict[str, Ragged]
    labels: typing.Any
    sample_weight: typing.Any
    padding_id: int
    truncated: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())).lengths)

    @property
    def token_columns(self) -> dict[str, Ragged]:
        """The columns that are token ids."""
        return {name: column for name, column in self.columns.items() if name.endswith("token_ids")}

    @property
    def lengths(self) -> np.ndarray:
        """int64 `[N, C]`: the lengths of each text in tokens."""
        return np.stack([column.lengths for column in self.token_columns.values()], axis=1)

    @property
    def token_ids(self) -> dict[str, np.ndarray]:
        """All ids and labels, by their use."""
        labels = self.labels.token_ids if isinstance(self.labels, Ragged) else self.labels
        ids = {name: column.token_ids for name, column in self.columns.items()}
        return ids | ({} if labels is None else {"labels": labels})

    def take(self, rows: np.ndarray) -> typing.Self:
        """Return the examples numbered `rows`, in that order."""
        return dataclasses.replace(
            self,
            columns={name: column.take(rows) for name, column in self.columns.items()},
            labels=_taken(self.labels, rows),
            sample_weight=_taken(self.sample_weight, rows),
        )

    def batch(
        self,
        rows: np.ndarray,
        size: int,
        lengths: collections.abc.Sequence[int],
        rng: np.random.Generator | None = None,
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Return `(inputs, labels, weights)` of these rows, filled up to `size` rows with rows of weight 0."""
        shapes = dict(zip(self.token_columns, ((size, length) for length in lengths), strict=True))
        inputs = {}
        for name, column in self.columns.items():
            # the column with the same lengths
            kind = re.sub("(segment_ids|padding_mask|pooling_mask|starts)$", "token_ids", name)
            fill = self.padding_id if kind == name else 0
            inputs[name], _ = column.padded(rows, shapes[kind], fill)
        along = shapes.get("decoder_token_ids", shapes["token_ids"])  # the shape of labels of tokens
        if isinstance(self.sample_weight, Ragged):
            weight, _ = self.sample_weight.padded(rows, along, 0.0)
        else:
            weight = np.zeros(size, "float32")
            weight[: len(rows)] = self.sample_weight[rows]
        if isinstance(self.labels, Ragged):
            labels, _ = self.labels.padded(rows, along, NO_LABEL)
            labelled = labels != NO_LABEL
            return inputs, np.where(labelled, labels, 0), labelled * (weight if weight.ndim == 2 else weight[:, None])
        if self.labels is None:
            return inputs, np.zeros(size, "float32"), weight
        labels = np.zeros((size, *self.labels.shape[1:]), self.labels.dtype)
        labels[: len(rows)] = self.labels[rows]
        return inputs, labels, weight


def _taken(labels: typing.Any, rows: np.ndarray) -> typing.Any:
    return None if labels is None else labels.take(rows) if isinstance(labels, Ragged) else labels[rows]


class Columns(typing.NamedTuple):
    """The result of `read_columns`: lists of `N` values each, or None if a source has no such column."""

    texts: list
    seconds: list | None
    labels: list | None
    sample_weight: np.ndarray


def read_columns(
    x: typing.Any,
    y: typing.Any = None,
    sample_weight: typing.Any = None,
    *,
    words: bool = False,
    labelled: bool = True,
    pairs: str = "may",
    inputs: collections.abc.Sequence[tuple[str, ...]] = TEXTS,
    labels: collections.abc.Sequence[str] = LABELS,
    columns: collections.abc.Mapping[str, str] | None = None,
    what: str = "text",
) -> Columns:
    """Read a source of labelled texts to its end.

    Args:
        x: texts, or texts with their labels and weights: anything that `data.sources` reads, or a `Source`. One of
            a list, tuple, array or series of texts, a text being a string, or a pair of strings;
            a data frame, a dictionary of columns (`text`, `text_pair`, `label`, or their names in GLUE and CoNLL), a
            list of dictionaries, or a Hugging Face dataset;
            a list, `tf.data.Dataset`, `keras.utils.PyDataset`, torch `DataLoader` or generator of `(text, label)`,
            `(text, label, weight)` or dictionaries, or of batches of them. It must come to an end.
        y: labels, one for each text, if `x` holds none.
        sample_weight: float `[N]`, the weight of each example; 1 by default.
        words: whether a text may be a list of words; its label is then a list.
        labelled: whether labels are needed. If not, a pair is a pair of texts, and streams may yield texts alone.
        pairs: whether each text is a pair: "may", "must" or "never".
        inputs, labels: the names of the columns to read, as for `data.columns.choose`.
        columns: the table's names of the columns, by the names here: `{"text": "review", "label": "stars"}`.
        what: the word for a text in messages.

    Returns: `Columns`; its texts are all strings, or all lists of words.

    Raises:
        TypeError: for a value that is not a text, naming the row.
        ValueError: for unequal counts, no examples, and an ambiguous choice of columns.
    """
    form = Form(labelled=labelled and y is None, words=words, pairs=pairs)
    texts, found, weights = (x if isinstance(x, Source) else Source(x, y, sample_weight, form)).whole()
    seconds = None
    if isinstance(texts, collections.abc.Mapping):
        table = renamed(texts, columns)
        name = _label_column(table, labels, columns, needed=labelled and found is None)
        found = _column(table, name) if found is None else found
        weights = _column(table, WEIGHT) if weights is None else weights
        texts, *rest = choose(table, inputs, columns=columns or {}, words=words, beside=(name,)).values()
        seconds = rest[0] if rest else None
    elif columns:
        raise ValueError("Expected columns= beside a table only, got rows without names. Leave it out.")
    if words and any(map(holds_many, texts)):
        texts = [_words(text, row) for row, text in enumerate(texts)]
    else:
        texts, seconds = _strings(texts, seconds, what)
    if not texts:
        raise ValueError(f"Expected at least one {what}, got none. Is the generator used up, or the file empty?")
    weight = np.ones(len(texts), "float32") if weights is None else row_weights(weights)
    _check_counts({f"{what}s": texts, "second texts": seconds, "labels": found, "weights": weight})
    return Columns(texts, seconds, found, weight)


def _column(table: collections.abc.Mapping[str, typing.Any], name: str | None) -> typing.Any:
    return None if name is None or name not in table else rows(table[name])


def _label_column(
    table: collections.abc.Mapping[str, typing.Any],
    labels: collections.abc.Sequence[str],
    columns: collections.abc.Mapping[str, str] | None,
    needed: bool,
) -> str | None:
    """Return the name of the column of labels, or None.

    Raises:
        ValueError: if the column is `needed` and missing.
    """
    what = f"{labels[0].removesuffix('s')}s" if labels else ""
    name = one_of(table, labels, what, columns)
    if name is None and needed:
        raise ValueError(
            f"Expected a column of {what}, called {' or '.join(labels[:3])}, got "
            f"{', '.join(map(str, table)) or 'none'}. Say which: columns={{{labels[0]!r}: …}}, or pass y."
        )
    return name


def _check_counts(values: collections.abc.Mapping[str, typing.Any]) -> None:
    """Refuse columns of unequal lengths. `values` are lists, or None, by name."""
    counts = {name: len(each) for name, each in values.items() if each is not None}
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"Expected columns of one length, got {', '.join(f'{count} {name}' for name, count in counts.items())}."
        )


def row_weights(weights: typing.Any) -> np.ndarray:
    """Convert weights, a number for each row, to float32 `[N]`.

    Raises:
        ValueError: for a weight that is not a finite number.
    """
    return np.array([one_number(each, f"sample_weight {row}") for row, each in enumerate(weights)], "float32")


def _strings(
    texts: list[typing.Any], seconds: list[typing.Any] | None, what: str
) -> tuple[list[str], list[str] | None]:
    """Return the first and second texts, given texts that may be pairs."""
    if seconds is None and texts and holds_many(texts[0]):
        _check_pairs(texts, what)
        texts, seconds = [text[0] for text in texts], [text[1] for text in texts]
    texts = [as_text(text, f"{what} {row}") for row, text in enumerate(texts)]
    return texts, None if seconds is None else [as_text(text, f"second text {row}") for row, text in enumerate(seconds)]


def _check_pairs(texts: list[typing.Any], what: str) -> None:
    wrong = next((n for n, text in enumerate(texts) if not holds_many(text) or len(text) != 2), None)
    if wrong is None:
        return
    if holds_many(texts[wrong]) and len(texts[wrong]) and not isinstance(texts[wrong][0], (str, bytes)):
        as_text(texts[wrong], f"{what} {wrong}")  # raises an error, also for token ids, which need a column name
    raise TypeError(f"Expected pairs of texts throughout, got {short(texts[wrong])} as {what} {wrong}.")


def _words(text: typing.Any, row: int) -> list[str]:
    if not holds_many(text):
        raise TypeError(f"Expected a list of words as text {row}, got {short(text)}. Split it into words first.")
    return [as_text(word, f"word {place} of text {row}") for place, word in enumerate(rows(text))]
