"""One list of values, or of rows, in every container that people bring."""

import collections
import csv
import io
import itertools

import datasets
import keras
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa


class Batched(keras.utils.PyDataset):
    """Batches of two of a list, by `make`."""

    def __init__(self, count, make):
        super().__init__()
        self.count, self.make = count, make

    def __len__(self):
        return -(-self.count // 2)

    def __getitem__(self, index):
        return self.make(slice(2 * index, 2 * index + 2))


class Indexed:
    """What of a map-style torch data set is used here."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return self.values[index]


def _csv(columns):
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return csv.DictReader(io.StringIO(file.getvalue()))


def _records(columns):
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _structured(columns):
    arrays = [np.array(column, "U64" if isinstance(column[0], str) else None) for column in columns.values()]
    return np.rec.fromarrays(arrays, names=list(columns)).view(np.ndarray)


def _named_tuples(columns):
    kind = collections.namedtuple("Row", list(columns))
    return [kind(*row) for row in zip(*columns.values(), strict=True)]


# One column of strings.
COLUMNS = {
    "list": list,
    "tuple": tuple,
    "deque": collections.deque,
    "array": np.array,
    "object array": lambda x: np.array(x, object),
    "array (N, 1)": lambda x: np.array(x)[:, None],
    "StringDType": lambda x: np.array(x, np.dtypes.StringDType()),
    "array of bytes": lambda x: np.array([each.encode() for each in x]),
    "pandas series": lambda x: pd.Series(x, index=range(10, 10 + len(x))),
    "pandas series of objects": lambda x: pd.Series(x, dtype=object),
    "pandas categories": lambda x: pd.Series(x, dtype="category"),
    "pandas index": pd.Index,
    "polars series": pl.Series,
    "polars categories": lambda x: pl.Series(x, dtype=pl.Categorical),
    "pyarrow array": pa.array,
    "pyarrow chunks": lambda x: pa.chunked_array([x[:1], x[1:]]),
    "pyarrow dictionary": lambda x: pa.array(x).dictionary_encode(),
    "column of a dataset": lambda x: datasets.Dataset.from_dict({"text": x})["text"],
}
# Columns by name.
TABLES = {
    "dictionary": dict,
    "dictionary of arrays": lambda c: {name: np.array(column) for name, column in c.items()},
    "dictionary of series": lambda c: {name: pd.Series(column) for name, column in c.items()},
    "records": _records,
    "tuple of records": lambda c: tuple(_records(c)),
    "named tuples": _named_tuples,
    "structured array": _structured,
    "pandas": lambda c: pd.DataFrame(c, index=range(5, 5 + len(next(iter(c.values()))))),
    "polars": pl.DataFrame,
    "polars, lazy": lambda c: pl.DataFrame(c).lazy(),
    "pyarrow": pa.table,
    "pyarrow batches": lambda c: pa.table(c).to_reader(),
    "dataset": lambda c: datasets.Dataset.from_dict(c),
    "streamed dataset": lambda c: datasets.Dataset.from_dict(c).to_iterable_dataset(),
    "generator of records": lambda c: iter(_records(c)),
    "generator of batches of records": lambda c: (
        {name: column[n : n + 2] for name, column in c.items()} for n in range(0, len(next(iter(c.values()))), 2)
    ),
}


def streams(values):
    """`(name, stream)` of values that have no names."""
    import tensorflow as tf
    import torch

    yield "generator", (value for value in values)
    yield "generator of batches", (values[n : n + 2] for n in range(0, len(values), 2))
    yield "chain", itertools.chain(values[:1], values[1:])
    yield "map", map(str, values)
    yield "data set by index", Indexed(values)
    yield "PyDataset", Batched(len(values), lambda here: np.array(values[here]))
    yield "tf.data", tf.data.Dataset.from_tensor_slices(values)
    yield "tf.data in batches", tf.data.Dataset.from_tensor_slices(values).batch(3)
    yield "tf.data of dictionaries", tf.data.Dataset.from_tensor_slices({"text": values}).batch(2)
    yield "tensor", tf.constant(values)
    yield "DataLoader", torch.utils.data.DataLoader(values, batch_size=2)
    yield "DataLoader, one by one", torch.utils.data.DataLoader(values, batch_size=None)
    yield "DataLoader of records", torch.utils.data.DataLoader(_records({"text": values}), batch_size=2)
    yield "csv", _csv({"text": values})
    yield "open file", io.StringIO("\ufeff" + "\n".join(values) + "\n")
    yield "open file of bytes", io.BytesIO("\r\n".join(values).encode())


def all_of(values):
    """`(name, container)` of strings in every container."""
    yield from ((name, make(values)) for name, make in COLUMNS.items())
    yield from ((name, make({"text": values})) for name, make in TABLES.items())
    yield from streams(values)
