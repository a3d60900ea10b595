"""Exact search: the vectors of a corpus that are most similar to each query, in constant memory.

    corpus      block 1 ──► similarities to all queries ──► the best k so far
                block 2 ──► those above the k-th best   ──► the best k so far
                …

Only a block of the corpus and its similarities are held. A file that is longer than the memory is read block by block.

A text is one vector, a sparse vector, or a vector for each token: `KINDS` says how each is compared.

Legend: `N` queries, `M` texts of the corpus, `D` width, `R` texts of a block, `W` words of 64 bits.
"""

import os
import pathlib
import typing
from collections.abc import Iterator

import numpy as np

from keras_transformers.data import sparse_vectors, token_vectors
from keras_transformers.data.sparse_vectors import SparseVectors
from keras_transformers.data.vector_files import Rows, open_vectors
from keras_transformers.spelling import did_you_mean

BLOCK = 4_000_000  # numbers of a block of the corpus, and of its similarities
BITS_BLOCK = 16_384  # vectors of bits in a block: their distances stay in the cache
MEASURES = ("cosine", "dot", "euclidean", "manhattan", "hamming")
KINDS = {  # the kinds of vectors, and how each may be compared, the default first
    "dense vectors": MEASURES,
    "sparse vectors": ("dot", "cosine", "euclidean"),
    "vectors of tokens": ("maxsim", "meanmaxsim"),
}
Vectors: typing.TypeAlias = typing.Any
"""An array `[N, D]`, the path of a `.npy` or `.parquet` file of one, `SparseVectors`, or an array `[T, D]` for each
text."""


class Found(typing.NamedTuple):
    """The result of `search`, the most similar vectors first.

    Attributes:
        indices: int64 `[N, k]`, numbers of the vectors in the corpus.
        scores: float32 `[N, k]`, the similarities.
    """

    indices: np.ndarray
    scores: np.ndarray


class _Comparison(typing.NamedTuple):
    """Queries and a corpus that fit each other.

    Attributes:
        asked, number: how many queries and how many texts of the corpus there are.
        single: whether the queries are one query alone.
        blocks: the number of the first text of a block, which of the queries, and their similarities `[n, R]`.
    """

    asked: int
    number: int
    single: bool
    blocks: Iterator[tuple[int, slice, np.ndarray]]


def search(queries: Vectors, corpus: Vectors, k: int = 10, *, measure: str | None = None) -> Found:
    """Search the corpus for the `k` most similar texts to each query: exact, without an index.

    Args:
        queries: vectors `[N, D]`, or one vector `[D]`: an array of floats, int8, or packed bits (uint8), or the path of
            a `.npy` or `.parquet` file. Or the results of `SparseEmbedder.embed` or `MultiVectorEmbedder.embed`.
        corpus: vectors `[M, D]`, the same. Files, and memory-mapped arrays, are read block by block.
        k: how many texts to find for each query.
        measure: how two vectors are compared: by "cosine" (the default), by "dot" product, or by the negative
            "euclidean", "manhattan" or "hamming" distance. "hamming" is for packed bits, and counts the bits that
            differ. Sparse vectors are compared by "dot" (the default), "cosine" or "euclidean"; vectors of tokens by
            "maxsim" (the default), or by "meanmaxsim", which divides by the number of the query's vectors.

    Returns: `Found(indices, scores)`, `[N, k]` each, or `[k]` for one vector. Of equally similar texts the first one
        of the corpus comes first.

    Raises:
        ValueError: for an empty corpus, vectors of another width than the corpus, and a `k` above its size.
        TypeError: for values that are not vectors, and queries of another kind than the corpus.

    Example:
        >>> corpus = embedder.embed(documents)
        >>> found = kt.search(embedder.embed("Who wrote it?"), corpus, k=3)
        >>> [documents[n] for n in found.indices]  # doctest: +SKIP
    """
    kind = _kind_of(queries, corpus)
    measure = KINDS[kind][0] if measure is None else measure
    if measure not in KINDS[kind]:
        raise ValueError(
            f"Expected measure to be one of {', '.join(KINDS[kind])}, got {measure!r}"
            f"{did_you_mean(measure, KINDS[kind])}."
        )
    comparison = _COMPARISONS[kind](queries, corpus, measure)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= comparison.number:
        raise ValueError(f"Expected k from 1 to the {comparison.number} vectors of the corpus, got {k!r}.")
    best = _Best(comparison.asked, k)
    if comparison.asked:
        for begin, rows, similarities in comparison.blocks:
            best.add(rows, similarities, begin)
    found = Found(best.indices, best.scores)
    return Found(*(each[0] for each in found)) if comparison.single else found


def _kind_of(queries: Vectors, corpus: Vectors) -> str:
    """The kind of both sides, a key of `KINDS`."""
    kinds = []
    for side in (queries, corpus):
        sparse, tokens = isinstance(side, SparseVectors), token_vectors.is_token_vectors(side)
        kinds.append("sparse vectors" if sparse else "vectors of tokens" if tokens else "dense vectors")
    if kinds == ["dense vectors", "vectors of tokens"] and (getattr(queries, "ndim", 0) == 2 or not len(queries)):
        return kinds[1]  # one query, or none
    if kinds[0] != kinds[1]:
        raise TypeError(
            f"Expected queries and corpus of one kind, got {kinds[0]} and {kinds[1]}. Embed both with the same model."
        )
    return kinds[0]


def _check_width(corpus: int, queries: int) -> None:
    if corpus != queries:
        raise ValueError(
            f"Expected queries of the width of the corpus, {corpus}, got {queries}. Were both made by the "
            "same model, and truncated to the same width?"
        )


def _check_finite(finite: bool, what: str) -> None:
    if not finite:
        raise ValueError(f"Expected a corpus of finite numbers, got NaN or infinity in {what}. Compute it again.")


# Dense vectors


def _dense(queries: Vectors, corpus: Vectors, measure: str) -> _Comparison:
    rows, asked = open_vectors(corpus, "the corpus"), _queries(queries)
    single, asked = asked.ndim == 1, np.atleast_2d(asked)
    _check(rows, asked, measure)

    def blocks() -> Iterator[tuple[int, slice, np.ndarray]]:
        compare = _bits if measure == "hamming" else _floats
        size = BLOCK // rows.width if measure != "hamming" else min(BLOCK // rows.width, BITS_BLOCK)
        for begin, block in rows.blocks(max(size, 1)):
            for rows_of, similarities in compare(asked, block, measure):
                yield begin, rows_of, similarities

    return _Comparison(len(asked), rows.number, single, blocks())


def _queries(queries: Vectors) -> np.ndarray:
    if isinstance(queries, (str, os.PathLike)):
        return np.concatenate([block for _, block in open_vectors(pathlib.Path(queries), "the queries").blocks(BLOCK)])
    array = np.asarray(queries)
    if array.ndim in (1, 2) and array.dtype.kind == "f":
        _check_queries(array)
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu":
        raise TypeError(
            f"Expected queries to be vectors [N, D] or one vector [D], got {array.dtype} {array.shape}. Texts are made "
            "vectors by embedder.embed(texts)."
        )
    return array


def _check(rows: Rows, queries: np.ndarray, measure: str) -> None:
    _check_width(rows.width, queries.shape[1])
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
        _check_finite(np.isfinite(similarities[:1].sum()), "it")
        if squares is not None:
            similarities = _by_dots(similarities, np.einsum("nd,nd->n", some, some)[:, None], squares, measure)
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


# Sparse vectors, and vectors of tokens


def _sparse(queries: SparseVectors, corpus: SparseVectors, measure: str) -> _Comparison:
    _check_width(_some(corpus).width, queries.width)
    _check_queries(queries.values)

    def blocks() -> Iterator[tuple[int, slice, np.ndarray]]:
        begin = 0
        while begin < len(corpus):
            last = int(np.searchsorted(corpus.starts, corpus.starts[begin] + BLOCK, "right")) - 1
            end = min(max(last, begin + 1), begin + BLOCK, len(corpus))
            block = corpus.rows(begin, end)
            _check_finite(np.isfinite(block.values).all(), f"vectors {begin} to {end - 1}")
            lengths = sparse_vectors.squares(block)
            step = max(BLOCK // len(block), 1)
            for first in range(0, len(queries), step):
                some = queries.rows(first, min(first + step, len(queries)))
                dots = sparse_vectors.products(some, block)
                own = sparse_vectors.squares(some)[:, None]
                yield begin, slice(first, first + len(some)), _by_dots(dots, own, lengths, measure)
            begin = end

    return _Comparison(len(queries), len(corpus), False, blocks())


def _tokens(queries: Vectors, corpus: Vectors, measure: str) -> _Comparison:
    single = getattr(queries, "ndim", 0) == 2
    asked, texts = [queries] if single else list(queries), list(_some(corpus))
    for each in asked:
        _check_width(texts[0].shape[1], each.shape[1])
        _check_queries(each)
    if odd := [row for row, text in enumerate(texts) if text.shape[1] != texts[0].shape[1]]:
        raise ValueError(
            f"Expected vectors of one width in the corpus, {texts[0].shape[1]}, got {texts[odd[0]].shape[1]} for text "
            f"{odd[0]}."
        )

    def blocks() -> Iterator[tuple[int, slice, np.ndarray]]:
        for begin, some in token_vectors.groups(texts, max(BLOCK // texts[0].shape[1], 1)):
            count = max(sum(map(len, some)), 1)
            _check_finite(all(np.isfinite(each).all() for each in some), f"texts {begin} to {begin + len(some) - 1}")
            for first, of in token_vectors.groups(asked, max(BLOCK // count, 1)):
                table = token_vectors.max_similarities(of, some, mean=measure == "meanmaxsim")
                yield begin, slice(first, first + len(of)), table

    return _Comparison(len(asked), len(texts), single, blocks())


def _some(corpus: Vectors) -> Vectors:
    if not len(corpus):
        raise ValueError("Expected at least one vector in the corpus, got none. Is the list of texts empty?")
    return corpus


def _check_queries(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ValueError("Expected queries of finite numbers, got NaN or infinity. Which text were they made from?")


def _by_dots(dots: np.ndarray, own: np.ndarray, squares: np.ndarray, measure: str) -> np.ndarray:
    """Similarities `[n, R]`, in the place of dot products, by the squared lengths `[n, 1]` and `[R]` of both sides."""
    if measure == "cosine":
        dots /= np.maximum(np.sqrt(own), 1e-12)
        dots /= np.maximum(np.sqrt(squares), 1e-12)
    elif measure == "euclidean":
        dots = -np.sqrt(np.maximum(own - 2 * dots + squares, 0))
    return dots


_COMPARISONS = {"dense vectors": _dense, "sparse vectors": _sparse, "vectors of tokens": _tokens}


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
