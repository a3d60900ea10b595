"""Means of the rows of a table, one for each text: static embeddings, without padding and without a model.

Legend: `N` texts, `V` vocabulary, `D` width.
"""

from collections.abc import Sequence

import numpy as np

_NUMBERS = 4_000_000  # of the rows that are held at once


def means_of_rows(table: np.ndarray, texts: Sequence[Sequence[int]]) -> np.ndarray:
    """The mean row of each text. Texts of equal length are computed together.

    Args:
        table: floats `[V, D]`.
        texts: the ids of each text.

    Returns: float32 `[N, D]`; zeros for a text without ids.
    """
    lengths = np.fromiter(map(len, texts), "int64", len(texts))
    means = np.zeros((len(texts), table.shape[1]), "float32")
    for length in np.unique(lengths[lengths > 0]):
        (rows,) = np.nonzero(lengths == length)
        step = max(_NUMBERS // (length * table.shape[1]), 1)
        for begin in range(0, len(rows), step):
            some = rows[begin : begin + step]
            means[some] = table[np.array([texts[row] for row in some])].mean(axis=1)
    return means
