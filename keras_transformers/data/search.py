"""Exact search: the vectors of a corpus that are most similar to each query, in constant memory.

    corpus      block 1 ──► similarities to all queries ──► the best k so far
                block 2 ──► those above the k-th best   ──► the best k so far
                …

Only a block of the corpus and its similarities are held. A file that is longer than the memory is read block by block.

Legend: `N` queries, `M` vectors of the corpus, `D` width, `R` vectors of a block, `W` words of 64 bits.
"""

import os
import pathlib
import typing
from collections.abc import Iterator

import numpy as np

from keras_transformers.data.vector_files import Rows, open_vectors
from keras_transformers.spelling import did_you_mean

BLOCK = 4_000_000  # numbers of a block of the corpus, and of its similarities
BITS_BLOCK = 16_384  # vectors of bits in a block: their distances stay in the cache
MEASURES = ("cosine", "dot", "euclidean", "manhattan", "hamming")
Vectors: typing.TypeAlias = typing.Any
"""An array `[N, D]`, or the path of a `.npy` or `.parquet` file of one."""


class Found(typing.NamedTuple):
    """The result of `search`, the most similar vectors first.

    Attributes:
        indices: int64 `[N, k]`, numbers of the vectors in the corpus.
        scores: float32 `[N, k]`, the similarities.
    """

    indices: np.ndarray
    scores: np.ndarray


def search(queries: Vectors, corpus: Vectors, k: int = 10, *, measure: str = "cosine") -> Found:
    """Search the corpus for the `k` most similar vectors to each query: exact, without an index.

    Args:
        queries: vectors `[N, D]`, or one vector `[D]`: an array of floats, int8, or packed bits (uint8), or the path of
            a `.npy` or `.parquet` file.
        corpus: vectors `[M, D]`, the same. Files, and memory-mapped arrays, are read block by block.
        k: how many vectors to find for each query.
        measure: how two vectors are compared: by "cosine", by "dot" product, or by the negative "euclidean",
            "manhattan" or "hamming" distance. "hamming" is for packed bits, and counts the bits that differ.

    Returns: `Found(indices, scores)`, `[N, k]` each, or `[k]` for one vector. Of equally similar vectors the first one
        of the corpus comes first.

    Raises:
        ValueError: for an empty corpus, vectors of another width than the corpus, and a `k` above its size.
        TypeError: for values that are not vectors.

    Example:
        >>> corpus = embedder.embed(documents)
        >>> found = kt.search(embedder.embed("Who wrote it?"), corpus, k=3)
        >>> [documents[n] for n in found.indices]  # doctest: +SKIP
    """
    if measure not in MEASURES:
        raise ValueError(
            f"Expected measure to be one of {', '.join(MEASURES)}, got {measure!r}{did_you_mean(measure, MEASURES)}."
        )
    rows, asked = open_vectors(corpus, "the corpus"), _queries(queries)
    single, asked = asked.ndim == 1, np.atleast_2d(asked)
    _check(rows, asked, k, measure)
    best = _Best(len(asked), k)
    if len(asked):
        compare = _bits if measure == "hamming" else _floats
        size = BLOCK // rows.width if measure != "hamming" else min(BLOCK // rows.width, BITS_BLOCK)
        for begin, block in rows.blocks(max(size, 1)):
            for rows_of, similarities in compare(asked, block, measure):
                best.add(rows_of, similarities, begin)
    found = Found(best.indices, best.scores)
    return Found(*(each[0] for each in found)) if single else found


def _queries(queries: Vectors) -> np.ndarray:
    if isinstance(queries, (str, os.PathLike)):
        return np.concatenate([block for _, block in open_vectors(pathlib.Path(queries), "the queries").blocks(BLOCK)])
    array = np.asarray(queries)
    if array.ndim in (1, 2) and array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("Expected queries of finite numbers, got NaN or infinity. Which text were they made from?")
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu":
        raise TypeError(
            f"Expected queries to be vectors [N, D] or one vector [D], got {array.dtype} {array.shape}. Texts are made "
            "vectors by embedder.embed(texts)."
        )
    return array


def _check(rows: Rows, queries: np.ndarray, k: int, measure: str) -> None:
    if rows.width != queries.shape[1]:
        raise ValueError(
            f"Expected queries of the width of the corpus, {rows.width}, got {queries.shape[1]}. Were both made by the "
            "same model, and truncated to the same width?"
        )
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= rows.number:
        raise ValueError(f"Expected k from 1 to the {rows.number} vectors of the corpus, got {k!r}.")
    if measure == "hamming" and {rows.dtype.itemsize, queries.dtype.itemsize} != {1}:
        raise ValueError(
            f'Expected packed bits (uint8) with measure="hamming", got {rows.dtype} and {queries.dtype}. Quantize '
            "both to bits."
        )


def _floats(queries: np.ndarray, block: np.ndarray, measure: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows of queries and their similarities to a block, float32 `[n, R]`."""
    block = np.asarray(block, "float32")
    squares = None if measure not in ("cosine", "euclidean") else np.einsum("rd,rd->r", block, block)
    step = max(BLOCK // len(block), 1)
    for begin in range(0, len(queries), step):
        some = np.asarray(queries[begin : begin + step], "float32")
        if measure == "manhattan":
            similarities = -np.stack([np.abs(block - each).sum(axis=-1) for each in some])
        else:
            with np.errstate(invalid="ignore"):
                similarities = some @ block.T
        if not np.isfinite(similarities[:1].sum()):
            raise ValueError("Expected a corpus of finite numbers, got NaN or infinity in it. Compute it again.")
        if squares is not None:
            own = np.einsum("nd,nd->n", some, some)[:, None]
            if measure == "cosine":
                similarities /= np.maximum(np.sqrt(own), 1e-12)
                similarities /= np.maximum(np.sqrt(squares), 1e-12)
            else:
                similarities = -np.sqrt(np.maximum(own - 2 * similarities + squares, 0))
        yield slice(begin, begin + len(some)), similarities


def _bits(queries: np.ndarray, block: np.ndarray, measure: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows of queries and their negative Hamming distances to a block of packed bits, float32 `[n, R]`."""
    words = np.ascontiguousarray(_words(block).T)  # [W, R], so that one operation runs over the whole block
    counts = np.uint16 if len(words) < 1024 else np.uint32
    step = max(BLOCK // len(block), 1)
    for begin in range(0, len(queries), step):
        some = _words(queries[begin : begin + step])
        apart, differing = np.zeros((len(some), len(block)), counts), np.empty(len(block), "uint64")
        for query, row in zip(some, apart, strict=True):
            for word, of_block in zip(query, words, strict=True):
                row += _ones(np.bitwise_xor(of_block, word, out=differing))
        yield slice(begin, begin + len(some)), -apart.astype("float32")


def _words(packed: np.ndarray) -> np.ndarray:
    """Packed bits, uint8 or int8 `[N, D]`, as uint64 `[N, W]`."""
    packed = np.pad(np.ascontiguousarray(packed).view("uint8"), ((0, 0), (0, -packed.shape[1] % 8)))
    return packed.view("uint64")


_ONES_OF_16 = np.array([bin(n).count("1") for n in range(2**16)], "uint8")


def _ones(words: np.ndarray) -> np.ndarray:
    """The number of bits that are 1, of each word."""
    if hasattr(np, "bitwise_count"):  # since NumPy 2
        return np.bitwise_count(words)
    return _ONES_OF_16[np.ascontiguousarray(words)[..., None].view("uint16")].sum(axis=-1)


class _Best:
    """The `k` best vectors so far of each query."""

    def __init__(self, count: int, k: int) -> None:
        self.indices, self.scores = np.zeros((count, k), "int64"), np.full((count, k), -np.inf, "float32")
        self._seen = np.zeros(count, "int64")

    def add(self, rows: slice, similarities: np.ndarray, begin: int) -> None:
        """Merge the similarities `[n, R]` of some queries to a block that begins at vector `begin` of the corpus."""
        k = self.scores.shape[1]
        known = np.minimum(self._seen[rows], k)
        self._seen[rows] += similarities.shape[1]
        if known[0] == k:
            better = similarities > self.scores[rows, -1:]
        elif similarities.shape[1] > k:
            better = similarities >= np.partition(similarities, -k, axis=1)[:, -k, None]
        else:
            better = np.ones(similarities.shape, bool)
        row, place = np.nonzero(better)
        if not len(row):
            return
        old_row, old_place = np.nonzero(np.arange(k) < known[:, None])
        row = np.concatenate([old_row, row])
        index = np.concatenate([self.indices[rows][old_row, old_place], place + begin])
        score = np.concatenate([self.scores[rows][old_row, old_place], similarities[better]])
        order = np.lexsort((index, -score, row))
        row, index, score = row[order], index[order], score[order]
        firsts = np.searchsorted(row, np.arange(len(similarities)))
        rank = np.arange(len(row)) - firsts[row]
        kept = rank < k
        self.indices[rows][row[kept], rank[kept]] = index[kept]
        self.scores[rows][row[kept], rank[kept]] = score[kept]
