"""Texts as token ids with their labels: any source of them read once, for the tasks of an encoder.

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

from keras_transformers.training.pairs import Ragged, as_text, items, short

NO_LABEL = -100  # of a token that has none: special tokens, pieces inside a word, padding

# What columns may be called, ours first.
_TEXT = ("text", "sentence", "sentence1", "premise", "question1", "question", "tokens", "words", "prompt")
_SECOND = ("text_pair", "sentence2", "hypothesis", "question2", "context", "completion")
_LABEL = ("label", "labels", "score", "ner_tags", "tags")


@dataclasses.dataclass(frozen=True)
class Examples:
    """Encoded texts, special tokens in place.

    Attributes:
        columns: by the name of the model's input, a `Ragged` of each; segments lie beside their tokens, under the same
            name with "segment_ids" for "token_ids", and starts beside `token_ids`.
        labels: `[N, …]`, or a `Ragged` of one for each token, `NO_LABEL` where there is none.
        sample_weight: float `[N]`.
        padding_id: what fills rows up.
        truncated: how many texts were cut.
    """

    columns: dict[str, Ragged]
    labels: typing.Any
    sample_weight: np.ndarray
    padding_id: int
    truncated: int = 0

    def __len__(self):
        return len(self.sample_weight)

    @property
    def token_columns(self):
        """The columns that are token ids."""
        return {name: column for name, column in self.columns.items() if name.endswith("token_ids")}

    @property
    def lengths(self):
        """int64 `[N, C]`: the lengths of each text in tokens."""
        return np.stack([column.lengths for column in self.token_columns.values()], axis=1)

    @property
    def token_ids(self):
        """All ids and labels there are, by what they are for."""
        labels = self.labels.token_ids if isinstance(self.labels, Ragged) else self.labels
        ids = {name: column.token_ids for name, column in self.columns.items()}
        return ids | ({} if labels is None else {"labels": labels})

    def take(self, rows):
        """The examples numbered `rows`, in that order."""
        return dataclasses.replace(
            self,
            columns={name: column.take(rows) for name, column in self.columns.items()},
            labels=_taken(self.labels, rows),
            sample_weight=self.sample_weight[rows],
        )

    def batch(self, rows, size, lengths, rng=None):
        """`(inputs, labels, weights)` of these rows, filled up to `size` rows that have no weight."""
        shapes = dict(zip(self.token_columns, ((size, length) for length in lengths), strict=True))
        inputs = {}
        for name, column in self.columns.items():
            kind = re.sub("(segment_ids|padding_mask|starts)$", "token_ids", name)  # whose length it has
            fill = self.padding_id if kind == name else 0
            inputs[name], _ = column.padded(rows, shapes[kind], fill)
        weight = np.zeros(size, "float32")
        weight[: len(rows)] = self.sample_weight[rows]
        if isinstance(self.labels, Ragged):
            labels, _ = self.labels.padded(rows, shapes["token_ids"], NO_LABEL)
            labelled = labels != NO_LABEL
            return inputs, np.where(labelled, labels, 0), labelled * weight[:, None]
        if self.labels is None:
            return inputs, np.zeros(size, "float32"), weight
        labels = np.zeros((size, *self.labels.shape[1:]), self.labels.dtype)
        labels[: len(rows)] = self.labels[rows]
        return inputs, labels, weight


def _taken(labels, rows):
    return None if labels is None else labels.take(rows) if isinstance(labels, Ragged) else labels[rows]


class Columns(typing.NamedTuple):
    """What `read_columns` returns: lists of `N` values each, or None where a source has no such column."""

    texts: list
    seconds: list | None
    labels: list | None
    sample_weight: np.ndarray


def read_columns(x, y=None, sample_weight=None, *, words=False, labelled=True):
    """Read a source of labelled texts to its end.

    Args:
        x: texts, or texts with all that belongs to them. One of
            a list, tuple or array of texts, a text being a string, or a pair of strings;
            a dictionary of columns (`text`, `text_pair`, `label`, or what GLUE and CoNLL call them) or a Hugging Face
            dataset;
            a list, `tf.data.Dataset`, `keras.utils.PyDataset`, torch `DataLoader` or generator of `(text, label)`,
            `(text, label, weight)` or dictionaries, or of batches of them. It must come to an end.
        y: labels, one for each text, where `x` holds none.
        sample_weight: float `[N]`, how much each example counts; 1 by default.
        words: whether a text may be a list of words, and then its label a list.
        labelled: whether labels are needed. Where they are not, a list of pairs is a list of pairs of texts, and what
            yields examples may yield texts alone.

    Returns: `Columns`; its texts are all strings, or all lists of words.

    Raises:
        TypeError: for what is no text, naming the row.
        ValueError: for unequal counts, no examples, columns that have no known name.
    """
    if isinstance(x, (str, bytes)):
        raise TypeError(f"Expected a list of texts, got one string, {x[:40]!r}. Put it in a list.")
    weights = None
    if (table := as_table(x)) is not None:
        texts, seconds, labels = _named(table, labelled and y is None)
    elif y is not None or _is_list(x) and not _holds_examples(x, labelled):
        texts, seconds, labels = listed(x), None, None
    else:
        texts, labels, weights = _streamed(x, words, labelled)
        seconds = None
    sample_weight = weights if sample_weight is None else sample_weight
    labels = labels if y is None else listed(y)
    if words and any(_is_list(text) for text in texts):
        texts = [_words(text, row) for row, text in enumerate(texts)]
    else:
        texts, seconds = _strings(texts, seconds)
    if not texts:
        raise ValueError("Expected at least one text, got none. Is the generator used up, or the file empty?")
    weight = np.ones(len(texts), "float32") if sample_weight is None else np.asarray(sample_weight, "float32")
    columns = {"texts": texts, "second texts": seconds, "labels": labels, "weights": weight}
    counts = {name: len(values) for name, values in columns.items() if values is not None}
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"Expected as many of each, got {', '.join(f'{count} {name}' for name, count in counts.items())}."
        )
    return Columns(texts, seconds, labels, weight)


def as_table(x):
    """The columns of a dictionary, of a Hugging Face dataset, or of a list of dictionaries; None for what is none."""
    if hasattr(x, "column_names") and hasattr(x, "__getitem__"):  # a Hugging Face dataset
        return {name: x[name] for name in x.column_names}
    if isinstance(x, collections.abc.Mapping):
        return x
    if isinstance(x, (list, tuple)) and len(x) and all(isinstance(item, collections.abc.Mapping) for item in x):
        missing = [row for row, item in enumerate(x) if set(item) != set(x[0])]
        if missing:
            raise ValueError(
                f"Expected dictionaries of the same keys, got {', '.join(x[0])} first and "
                f"{', '.join(x[missing[0]])} as item {missing[0]}."
            )
        return {name: [item[name] for item in x] for name in x[0]}
    return None


def _is_list(x):
    return isinstance(x, (list, tuple, np.ndarray)) or getattr(x, "ndim", 0) > 0


def _holds_examples(x, labelled):
    """Whether a list is of `(text, label)` and the like, not of texts."""
    return labelled and isinstance(x, (list, tuple)) and any(isinstance(item, tuple) for item in x[:1])


def listed(values):
    """A list of Python values, of what the frameworks make of one."""
    if hasattr(values, "numpy"):
        values = values.numpy()
    if hasattr(values, "to_list"):  # ragged, of tf.data
        return values.to_list()
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _named(columns, need_label):
    def find(names, required=None):
        for name in names:
            if name in columns:
                return listed(columns[name])
        if required:
            raise ValueError(
                f"Expected a column of {required}, called {' or '.join(names[:3])}, got {', '.join(columns)}. Pass "
                f"{{'{names[0]}': …}}."
            )
        return None

    return find(_TEXT, "texts"), find(_SECOND), find(_LABEL, "labels" if need_label else None)


def _streamed(source, words, labelled):
    """Texts, labels and weights (None where there are none), of what yields examples or batches of them."""
    parts = [], [], []
    by_columns = hasattr(source, "collate_fn")  # a torch DataLoader: it makes of pairs a pair of lists
    for number, item in enumerate(items(source)):
        if isinstance(item, collections.abc.Mapping):
            read = _of_mapping(item, words, labelled)
        elif _is_example(item, labelled, by_columns):
            read = _of_tuple(*item, words=words, by_columns=by_columns)
        elif not labelled:
            read = listed(item) if _is_batch(item, None, words) else [item], [], []
        else:
            read = [], [], []
        if not read[0] or labelled and not read[1]:
            raise TypeError(
                f"Expected (text, label) or (text, label, weight), or batches of them, got {short(item)} as item "
                f"{number}."
            )
        for whole, part in zip(parts, read, strict=True):
            whole += part
    texts, labels, weights = parts
    return texts, labels or None, np.asarray(weights, "float32") if weights else None


def _is_example(item, labelled, by_columns):
    """Whether an item is a text with what belongs to it, or a batch of such; a DataLoader makes lists of tuples."""
    if not isinstance(item, (tuple, list)) or len(item) > 3:
        return False
    if isinstance(item, tuple):
        return len(item) > labelled
    return len(item) > 1 and (labelled or by_columns and not all(isinstance(part, (str, bytes)) for part in item))


def _of_mapping(item, words, labelled):
    text, label = (next((item[name] for name in names if name in item), None) for names in (_TEXT, _LABEL))
    one = not _is_list(text) or words and not _is_batch(text, label, words)
    texts, seconds, labels = _named({name: [value] for name, value in item.items()} if one else item, labelled)
    return texts if seconds is None else list(zip(texts, seconds, strict=True)), labels or [], []


def _of_tuple(text, label=None, weight=None, *, words, by_columns):
    text, label, weight = (each.numpy() if hasattr(each, "numpy") else each for each in (text, label, weight))
    batched = _is_batch(text, label, words)
    labels, weights = ([] if each is None else listed(each) if batched else [each] for each in (label, weight))
    return _rows(text, len(labels), by_columns) if batched else [text], labels, weights


def _is_batch(text, label, words):
    """Whether what stands for a text is several of them.

    A list of strings is one where words are read, unless each has a list of labels. Two strings beside one label, or
    beside a list of labels that are not two, are one pair.
    """
    if not _is_list(text):
        return False
    if not len(text) or not all(isinstance(each, (str, bytes)) for each in text):
        return bool(len(text))
    if words:
        return _is_list(label) and len(label) > 0 and _is_list(label[0])
    return label is None or _is_list(label) and not (isinstance(text, tuple) and len(text) == 2 != len(label))


def _rows(texts, count, by_columns):
    """The texts of a batch of `count`, where a batch of pairs may come as a pair of batches."""
    texts = list(texts) if isinstance(texts, tuple) else listed(texts)
    pair = len(texts) == 2 and all(_is_list(side) and len(side) == count for side in texts)
    if pair and (count != 2 or by_columns or isinstance(texts[0], np.ndarray)):
        return list(zip(*(listed(side) for side in texts), strict=True))
    return texts


def _strings(texts, seconds):
    """Firsts and seconds, of texts that may be pairs."""
    if seconds is None and texts and isinstance(texts[0], (list, tuple)):
        if any(not isinstance(text, (list, tuple)) or len(text) != 2 for text in texts):
            wrong = next(n for n, text in enumerate(texts) if not isinstance(text, (list, tuple)) or len(text) != 2)
            raise TypeError(f"Expected pairs of texts throughout, got {short(texts[wrong])} as text {wrong}.")
        texts, seconds = [text[0] for text in texts], [text[1] for text in texts]
    texts = [as_text(text, f"text {row}") for row, text in enumerate(texts)]
    return texts, None if seconds is None else [as_text(text, f"second text {row}") for row, text in enumerate(seconds)]


def _words(text, row):
    if isinstance(text, (str, bytes)) or not _is_list(text):
        raise TypeError(f"Expected a list of words as text {row}, got {short(text)}. Split it into words first.")
    return [as_text(word, f"word {place} of text {row}") for place, word in enumerate(listed(text))]
