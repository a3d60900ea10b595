"""Vectors of the tokens of texts, compared by MaxSim: sums, over the tokens of a query, of the largest dot product with
a token of a document (Khattab and Zaharia 2020, section 3.3).

                documents    d0 d0 d0 │ d1 d1 │ …
    query 0     token 0      .  9  .  │ 2  .  │ …        the largest of each document ──► 9 2 …
                token 1      4  .  .  │ .  5  │ …                                         4 5 …
                                                         the sum of each query        ──► 13 7 …

Legend: `N` queries, `R` documents of a block, `T` tokens of a text, `P` width.
"""

import typing
from collections.abc import Iterator, Sequence

import numpy as np

LEAST = np.finfo("float32").min  # the score of a document without vectors


def is_token_vectors(value: typing.Any) -> bool:
    """Whether a value holds an array `[T, P]` for each of several texts."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(getattr(each, "ndim", None) == 2 for each in value)
    return getattr(value, "ndim", None) == 3


def max_similarities(
    queries: Sequence[np.ndarray], documents: Sequence[np.ndarray], *, mean: bool = False
) -> np.ndarray:
    """MaxSim of each query with each document.

    Args:
        queries, documents: floats `[T, P]` each, at least one of both.
        mean: whether scores are divided by the number of the query's vectors.

    Returns: float32 `[N, R]`; the least float32 for a document without vectors.
    """
    starts, counts = _starts(queries), np.array([len(each) for each in queries])
    filled = [row for row, document in enumerate(documents) if len(document)]
    table = np.full((len(queries), len(documents)), LEAST, "float32")
    if filled:
        tokens = np.concatenate([documents[row] for row in filled]).astype("float32", copy=False)
        best = np.concatenate(queries).astype("float32", copy=False) @ tokens.T
        best = np.maximum.reduceat(best, _starts([documents[row] for row in filled]), axis=1)
        sums = np.zeros((len(queries), len(filled)), "float32")
        real = np.flatnonzero(counts)
        if len(real):
            sums[real] = np.add.reduceat(best, starts[real], axis=0)
        table[:, filled] = sums
    return table / np.maximum(counts, 1).astype("float32")[:, None] if mean else table


def groups(texts: Sequence[np.ndarray], most: int) -> Iterator[tuple[int, Sequence[np.ndarray]]]:
    """Yield texts with at most `most` vectors together, or one text: `(number of the first, texts)`."""
    begin = tokens = 0
    for end, text in enumerate(texts):
        if end > begin and tokens + len(text) > most:
            yield begin, texts[begin:end]
            begin, tokens = end, 0
        tokens += len(text)
    if len(texts):
        yield begin, texts[begin:]


def _starts(texts: Sequence[np.ndarray]) -> np.ndarray:
    return np.cumsum([0, *(len(each) for each in texts[:-1])])
