"""Scores of rankings and of similarities, in NumPy.

    ranking     ✘ ✔ ✘ ✘ ✔ ✘ …       each place: is the text there relevant?

    MRR@k       1 / place of the first ✔, 0 without one
    recall@k    ✔ among the first k / relevant texts; precision@k: / k; accuracy@k: 1 if there is one
    nDCG@k      Σ 1 / log2(place + 1) over ✔ / the same of the best ranking
    MAP@k       mean over ✔ of the share of ✔ up to it

`N` texts.
"""

from collections.abc import Sequence

import numpy as np


def pearson(one: np.ndarray, other: np.ndarray) -> float:
    """The linear correlation of two lists of numbers; NaN if one of them is constant."""
    one, other = (np.asarray(each, "float64") - np.mean(each, dtype="float64") for each in (one, other))
    norm = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / norm) if norm else float("nan")


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of the ranks of two lists of numbers; equal numbers share their mean rank."""
    return pearson(_ranks(one), _ranks(other))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def paired(a: np.ndarray, b: np.ndarray, measure: str) -> np.ndarray:
    """The similarity `[N]` of each pair of vectors `[N, D]`, by "cosine", "dot" product, or the negative "euclidean" or
    "manhattan" distance."""
    if measure in ("euclidean", "manhattan"):
        return -np.linalg.norm(a - b, 2 if measure == "euclidean" else 1, axis=-1)
    if measure == "cosine":
        a, b = (each / np.maximum(np.linalg.norm(each, axis=-1, keepdims=True), 1e-12) for each in (a, b))
    return (a * b).sum(axis=-1)


def retrieval_scores(
    rankings: Sequence[np.ndarray], relevant: Sequence[int], at: Sequence[int], map_at: Sequence[int]
) -> dict[str, float]:
    """The mean scores of rankings.

    Args:
        rankings: for each query, whether the text at each place is relevant, bool `[N]`.
        relevant: the number of relevant texts of each query, at least 1.
        at, map_at: the numbers of first places that count.

    Returns: scores from 0 to 1, by names such as "ndcg@10".

    Source: `InformationRetrievalEvaluator` of sentence-transformers.
    """
    scores: dict[str, list[float]] = {}
    for places, count in zip(rankings, relevant, strict=True):
        for k in at:
            first = places[:k]
            hits = np.flatnonzero(first)
            for name, value in (
                ("accuracy", float(len(hits) > 0)),
                ("precision", len(hits) / k),
                ("recall", len(hits) / count),
                ("mrr", 1 / (hits[0] + 1) if len(hits) else 0.0),
                ("ndcg", _discounts(len(first))[hits].sum() / _discounts(min(k, count)).sum()),
            ):
                scores.setdefault(f"{name}@{k}", []).append(float(value))
        for k in map_at:
            hits = np.flatnonzero(places[:k])
            precisions = np.arange(1, len(hits) + 1) / (hits + 1)
            scores.setdefault(f"map@{k}", []).append(float(precisions.sum() / min(k, count)))
    return {name: float(np.mean(values)) for name, values in scores.items()}


def _discounts(count: int) -> np.ndarray:
    return 1 / np.log2(np.arange(2, count + 2))


def reranking_scores(scores: np.ndarray, relevant: np.ndarray, at: int) -> dict[str, float]:
    """MAP, MRR@at and nDCG@at of one list of texts. Texts with equal scores share their places in MAP and nDCG.

    Args:
        scores: the score of each text, float `[N]`.
        relevant: bool `[N]`.
        at: the number of first places that count.

    Source: `RerankingEvaluator` of sentence-transformers, with the definitions of scikit-learn.
    """
    scores, relevant = np.asarray(scores), np.asarray(relevant, bool)
    order = np.argsort(-scores, kind="stable")
    hits = np.flatnonzero(relevant[order][:at])
    distinct, inverse, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    found = np.bincount(inverse, relevant, len(distinct))  # relevant texts of each score, the best first
    ends = np.cumsum(counts)
    average = (found * np.cumsum(found) / ends).sum() / relevant.sum()
    discounts = np.where(np.arange(len(scores)) < at, _discounts(len(scores)), 0)
    of_group = np.add.reduceat(discounts, ends - counts) / counts
    gain, best = (found * of_group).sum(), discounts[: relevant.sum()].sum()
    return {
        "map": float(average),
        f"mrr@{at}": float(1 / (hits[0] + 1)) if len(hits) else 0.0,
        f"ndcg@{at}": float(gain / best),
    }
