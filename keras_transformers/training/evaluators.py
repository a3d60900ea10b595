"""Evaluators: callbacks that score an embedder or a reranker after an epoch, and add the scores to the logs.

    SimilarityQuality    pairs with scores       val_pearson_cosine, val_spearman_cosine
    RetrievalQuality     queries and a corpus    val_ndcg@10, val_mrr@10, val_recall@10, val_map@100, …
    RerankingQuality     candidates of queries   val_map, val_mrr@10, val_ndcg@10

Put one before the callbacks that read the logs (`LearningCurve`, `EarlyStopping(monitor="val_ndcg@10", mode="max")`).
`evaluator.scores(model)` scores a model at once.
"""

import typing
from collections.abc import Hashable, Iterable, Mapping, Sequence

import keras
import numpy as np

from keras_transformers.data.containers import one_number
from keras_transformers.data.search import search
from keras_transformers.data.sources import texts_of
from keras_transformers.training.ranking_metrics import paired, pearson, reranking_scores, retrieval_scores, spearman

_MEASURES = ("cosine", "dot", "euclidean", "manhattan")


class Evaluator(keras.callbacks.Callback):
    """Adds the result of `scores` to the logs after an epoch. Abstract: use one of the evaluators.

    Args:
        every_epochs: number of epochs between two evaluations.
        name: a word in front of the names of the scores: `val_<name>_ndcg@10`.
        **options: options of `embed`, or of `rank`, such as `batch_size=64`.
    """

    def __init__(self, every_epochs: int = 1, name: str = "", **options: typing.Any) -> None:
        super().__init__()
        if every_epochs < 1:
            raise ValueError(f"Expected every_epochs of at least 1, got {every_epochs}.")
        self.every_epochs, self.name, self.options = every_epochs, name, options

    def scores(self, model: typing.Any) -> dict[str, float]:
        """The scores of a model by their names. Abstract."""
        raise NotImplementedError

    def on_epoch_end(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        if (epoch + 1) % self.every_epochs:
            return
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        prefix = f"val_{self.name}_" if self.name else "val_"
        scores = {f"{prefix}{name}": score for name, score in self.scores(self.model).items()}
        if logs is not None:
            logs |= scores


class SimilarityQuality(Evaluator):
    """Scores an embedder on pairs of texts with scores (semantic textual similarity): the correlation of the
    similarities of its vectors with the scores.

    Args:
        first, second: texts, the two sides of each pair.
        scores: a number for each pair; its scale does not matter.
        measures: how vectors are compared: "cosine", "dot", "euclidean", "manhattan"; by default the `measure` of the
            model.
        every_epochs, name, **options: see `Evaluator`.

    Raises:
        ValueError: for lists of unequal length, fewer than two pairs, and scores that are missing or all equal.

    Example:
        >>> quality = kt.training.SimilarityQuality(first, second, scores)
        >>> embedder.fit(pairs, callbacks=[quality])

    Source: Reimers et al. 2016, section 3. `EmbeddingSimilarityEvaluator` of sentence-transformers.
    """

    def __init__(
        self,
        first: typing.Any,
        second: typing.Any,
        scores: Iterable[float],
        measures: Sequence[str] | None = None,
        **options: typing.Any,
    ) -> None:
        super().__init__(**options)
        self.first, self.second = texts_of(first)[0], texts_of(second)[0]
        self.gold = np.array([one_number(each, f"score {row}") for row, each in enumerate(scores)])
        if not len(self.first) == len(self.second) == len(self.gold) >= 2:
            raise ValueError(
                f"Expected two texts and a score for each of at least two pairs, got {len(self.first)} and "
                f"{len(self.second)} texts, and {len(self.gold)} scores."
            )
        if self.gold.min() == self.gold.max():
            raise ValueError(
                f"Expected scores that differ, got {self.gold[0]:g} for each pair. Nothing correlates with a constant."
            )
        for measure in measures or ():
            if measure not in _MEASURES:
                raise ValueError(f"Expected measures of {', '.join(_MEASURES)}, got {measure!r}.")
        self.measures = measures

    def scores(self, model: typing.Any) -> dict[str, float]:
        """The correlations by their names, such as "spearman_cosine"."""
        vectors = model.embed(self.first + self.second, **self.options).astype("float64")
        a, b = vectors[: len(self.first)], vectors[len(self.first) :]
        result = {}
        for measure in self.measures or (model.measure,):
            similarities = paired(a, b, measure)
            result[f"pearson_{measure}"] = pearson(self.gold, similarities)
            result[f"spearman_{measure}"] = spearman(self.gold, similarities)
        return result


class RetrievalQuality(Evaluator):
    """Scores an embedder on the search for the relevant texts of a corpus.

    Args:
        queries: texts by their ids.
        corpus: texts by their ids.
        relevant: the ids of the relevant texts, a set for each id of a query. Queries without any are left out.
        at: the numbers of first places that count for nDCG, MRR, recall, precision and accuracy (whether a relevant
            text is among them).
        map_at: the same for MAP.
        every_epochs, name, **options: see `Evaluator`.

    Raises:
        ValueError: for an empty corpus, ids that no text has, and if no query has a relevant text.

    Example:
        >>> quality = kt.training.RetrievalQuality({"q": "Who?"}, {"a": "Ann.", "b": "In Rome."}, {"q": {"a"}})
        >>> quality.scores(embedder)["ndcg@10"]  # doctest: +SKIP
        1.0

    Source: `InformationRetrievalEvaluator` of sentence-transformers.
    """

    def __init__(
        self,
        queries: Mapping[Hashable, str],
        corpus: Mapping[Hashable, str],
        relevant: Mapping[Hashable, Iterable[Hashable]],
        at: Sequence[int] = (10,),
        map_at: Sequence[int] = (100,),
        **options: typing.Any,
    ) -> None:
        super().__init__(**options)
        if not corpus:
            raise ValueError("Expected at least one text in the corpus, got none.")
        unknown = set(relevant) - set(queries), {each for ids in relevant.values() for each in ids} - set(corpus)
        for what, ids in zip(("queries", "texts of the corpus"), unknown, strict=True):
            if ids:
                raise ValueError(f"Expected relevant to hold ids of {what}, got {next(iter(ids))!r}, which none has.")
        self.relevant = {query: set(relevant[query]) for query in queries if relevant.get(query)}
        if not self.relevant:
            raise ValueError("Expected a relevant text for one query at least, got none in relevant.")
        if min(*at, *map_at) < 1:
            raise ValueError(f"Expected at and map_at of at least 1, got {at} and {map_at}.")
        self.queries, self.corpus, self.at, self.map_at = dict(queries), dict(corpus), tuple(at), tuple(map_at)

    def scores(self, model: typing.Any) -> dict[str, float]:
        """The mean scores over all queries, by names such as "ndcg@10"."""
        ids = sorted(self.corpus, key=lambda each: (str(type(each)), each))  # equally similar texts come in this order
        corpus = model.embed([self.corpus[each] for each in ids], task="document", **self.options)
        queries = model.embed([self.queries[each] for each in self.relevant], task="query", **self.options)
        most = min(max(*self.at, *self.map_at), len(ids))
        found = search(queries, corpus, most, measure=model.measure).indices
        rankings = [
            np.array([ids[n] in known for n in row]) for row, known in zip(found, self.relevant.values(), strict=True)
        ]
        return retrieval_scores(rankings, list(map(len, self.relevant.values())), self.at, self.map_at)


class RerankingQuality(Evaluator):
    """Scores an embedder, or a model with `rank`, on how it sorts a few candidates of each query.

    Args:
        samples: dictionaries `{"query": text, "positive": texts, "negative": texts}`. Samples without a positive or
            without a negative are left out.
        at: the number of first places that count for MRR and nDCG.
        every_epochs, name, **options: see `Evaluator`.

    Raises:
        ValueError: if no sample has both.

    Source: `RerankingEvaluator` and `CrossEncoderRerankingEvaluator` of sentence-transformers.
    """

    def __init__(self, samples: Iterable[Mapping[str, typing.Any]], at: int = 10, **options: typing.Any) -> None:
        super().__init__(**options)
        self.samples: list[tuple[str, list[str], list[str]]] = []
        for each in samples:
            missing = {"query", "positive", "negative"} - set(each)
            if missing:
                raise ValueError(f"Expected query, positive and negative in each sample, got none of {min(missing)}.")
            sides = [[each[side]] if isinstance(each[side], str) else list(each[side]) for side in _SIDES]
            if all(sides):
                self.samples.append((each["query"], *sides))
        if not self.samples or at < 1:
            raise ValueError(
                f"Expected one sample at least with a positive and a negative, and at of at least 1, got "
                f"{len(self.samples)} samples and at={at}."
            )
        self.at = at

    def scores(self, model: typing.Any) -> dict[str, float]:
        """The mean scores over all samples: "map", "mrr@10", "ndcg@10"."""
        score = _ranked if hasattr(model, "rank") else _similar
        every = [
            reranking_scores(scores, np.arange(len(scores)) < len(positives), self.at)
            for (_, positives, _), scores in zip(self.samples, score(model, self.samples, self.options), strict=True)
        ]
        return {name: float(np.mean([each[name] for each in every])) for name in every[0]}


_SIDES = ("positive", "negative")


def _ranked(
    model: typing.Any, samples: list[tuple[str, list[str], list[str]]], options: dict[str, typing.Any]
) -> list[np.ndarray]:
    """The scores of a reranker."""
    results = []
    for query, positives, negatives in samples:
        scores = np.zeros(len(positives) + len(negatives))
        for each in model.rank(query, positives + negatives, **options):
            scores[each["index"]] = each["score"]
        results.append(scores)
    return results


def _similar(
    model: typing.Any, samples: list[tuple[str, list[str], list[str]]], options: dict[str, typing.Any]
) -> list[np.ndarray]:
    """The cosines of an embedder."""
    queries = model.embed([query for query, _, _ in samples], task="query", **options)
    texts = [text for _, *sides in samples for side in sides for text in side]
    vectors = model.embed(texts, task="document", **options)
    ends = np.cumsum([len(positives) + len(negatives) for _, positives, negatives in samples])
    parts = np.split(vectors, ends[:-1])
    return [paired(query[None], part, "cosine") for query, part in zip(queries, parts, strict=True)]
