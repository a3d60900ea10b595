"""Sparse vectors: of each text only the numbers above 0, with their places.

    indices   12 907 2010 │ 7 12 │ …        values   0.8 1.4 0.2 │ 0.3 1.1 │ …        starts   0 3 5 …

These are the three arrays of `scipy.sparse.csr_array((values, indices, starts), shape)`.

Legend: `N` texts, `R` texts of a block, `V` vocabulary.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np


@dataclasses.dataclass(frozen=True)
class SparseVectors:
    """Vectors `[N, V]` without their zeros.

    Attributes:
        values: float32 numbers, row by row.
        indices: int32, the column of each, ascending in each row.
        starts: int64 `[N + 1]`, where each row begins in both, and where the last one ends.
        width: `V`.
    """

    values: np.ndarray
    indices: np.ndarray
    starts: np.ndarray
    width: int

    @classmethod
    def of_rows(cls, rows: Iterable[tuple[np.ndarray, np.ndarray]], width: int) -> "SparseVectors":
        """Join rows `(indices, values)`, each with ascending indices."""
        rows = list(rows)
        starts = np.cumsum([0, *(len(indices) for indices, _ in rows)])
        indices = np.concatenate([np.zeros(0, "int32"), *(each for each, _ in rows)]).astype("int32")
        values = np.concatenate([np.zeros(0, "float32"), *(each for _, each in rows)]).astype("float32")
        return cls(values, indices, starts, width)

    @property
    def shape(self) -> tuple[int, int]:
        """`(N, V)`."""
        return len(self), self.width

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield `(indices, values)` of each row."""
        for begin, end in zip(self.starts[:-1], self.starts[1:], strict=True):
            yield self.indices[begin:end], self.values[begin:end]

    def __getitem__(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """`(indices, values)` of one row."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"Expected a row below {len(self)}, got {row}.")
        row %= len(self)
        begin, end = self.starts[row], self.starts[row + 1]
        return self.indices[begin:end], self.values[begin:end]

    def rows(self, begin: int, end: int) -> "SparseVectors":
        """The vectors from row `begin` to `end`."""
        first, last = self.starts[begin], self.starts[end]
        starts = self.starts[begin : end + 1] - first
        return SparseVectors(self.values[first:last], self.indices[first:last], starts, self.width)

    def dense(self) -> np.ndarray:
        """The same vectors as a float32 array `[N, V]`."""
        table = np.zeros(self.shape, "float32")
        rows = np.repeat(np.arange(len(self)), np.diff(self.starts))
        table[rows, self.indices] = self.values
        return table


def products(queries: SparseVectors, block: SparseVectors) -> np.ndarray:
    """The dot products of queries with the vectors of a block, float32 `[N, R]`.

    A list of the rows with each column (an inverted index) is made of the columns that the queries have.
    """
    used = np.zeros(block.width, bool)
    used[queries.indices] = True
    kept = np.flatnonzero(used[block.indices])
    order = kept[np.argsort(block.indices[kept], kind="stable")]
    rows, values = np.repeat(np.arange(len(block)), np.diff(block.starts))[order], block.values[order]
    bounds = np.searchsorted(block.indices[order], np.arange(block.width + 1))
    table = np.zeros((len(queries), len(block)), "float32")
    for scores, (indices, weights) in zip(table, queries, strict=True):
        if len(indices):
            places = [slice(bounds[index], bounds[index + 1]) for index in indices]
            parts = [values[place] * weight for place, weight in zip(places, weights, strict=True)]
            found = np.concatenate([rows[place] for place in places])
            scores[:] = np.bincount(found, np.concatenate(parts), len(block))
    return table


def squares(vectors: SparseVectors) -> np.ndarray:
    """The squared length of each vector, float32 `[N]`."""
    rows = np.repeat(np.arange(len(vectors)), np.diff(vectors.starts))
    return np.bincount(rows, vectors.values.astype("float64") ** 2, len(vectors)).astype("float32")


def largest(indices: np.ndarray, values: np.ndarray, count: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Keep the `count` largest values of a row; None keeps all."""
    if count is None or len(values) <= count:
        return indices, values
    kept = np.sort(np.argpartition(-values, count - 1)[:count])
    return indices[kept], values[kept]
