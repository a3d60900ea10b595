"""Sequences of unequal length as one flat array."""

import typing
from collections.abc import Iterable

import numpy as np


class Ragged(typing.NamedTuple):
    """Sequences of unequal length, end to end: sequence `i` is `token_ids[offsets[i] : offsets[i + 1]]`."""

    token_ids: np.ndarray  # int32 [sum of lengths], or float32 for weights
    offsets: np.ndarray  # int64 [N + 1]

    @classmethod
    def join(cls, arrays: Iterable[np.ndarray]) -> "Ragged":
        """Join an iterable of arrays of one dtype to a `Ragged`."""
        arrays = list(arrays)
        offsets = np.zeros(len(arrays) + 1, "int64")
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        return cls(np.concatenate(arrays) if arrays else np.zeros(0, "int32"), offsets)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def padded(self, rows: np.ndarray, shape: tuple[int, int], padding_id: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the sequences numbered `rows`, padded to `shape`, and a bool array, True for tokens, not padding."""
        token_ids, there = np.full(shape, padding_id, self.token_ids.dtype), np.zeros(shape, bool)
        places = self.offsets[rows, None] + np.arange(shape[1])
        there[: len(rows)] = places < self.offsets[rows + 1, None]
        token_ids[there] = self.token_ids[places[there[: len(rows)]]]
        return token_ids, there

    def take(self, rows: Iterable[int]) -> "Ragged":
        """Return the sequences numbered `rows`, in that order."""
        return Ragged.join([self.token_ids[self.offsets[row] : self.offsets[row + 1]] for row in rows])
