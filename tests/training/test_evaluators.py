"""Evaluators give the numbers of sentence-transformers' on the same vectors."""

import types

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.training import ranking_metrics
from tests.training.small_tasks import examples, task

pytestmark = pytest.mark.one_backend("torch")
DRAW = np.random.default_rng(0)
TEXTS = [f"text {n}" for n in range(40)]
TABLE = {text: DRAW.standard_normal(6).astype("float32") for text in TEXTS}


class Embedder:
    """A table of vectors, for both libraries."""

    measure = similarity_fn_name = "cosine"
    model_card_data = types.SimpleNamespace(set_evaluation_metrics=lambda *ignored, **told: None)

    def embed(self, texts, task=None):
        return np.stack([TABLE[text] for text in texts])

    def encode(self, texts, convert_to_tensor=False, **ignored):
        import torch

        return torch.tensor(self.embed(texts)) if convert_to_tensor else self.embed(texts)

    encode_query = encode_document = encode

    def similarity(self, a, b):
        from sentence_transformers.util import cos_sim

        return cos_sim(a, b)


QUERIES = {f"q{n}": TEXTS[n] for n in range(6)}
CORPUS = {f"d{n}": text for n, text in enumerate(TEXTS[6:])}
RELEVANT = {f"q{n}": {f"d{m}" for m in DRAW.choice(34, 1 + n, replace=False)} for n in range(5)}
SAMPLES = [{"query": TEXTS[n], "positive": TEXTS[6 + n : 8 + n], "negative": TEXTS[12 : 20 + n]} for n in range(4)] + [
    {"query": TEXTS[0], "positive": [], "negative": TEXTS[:3]}
]


def test_scores_are_those_of_sentence_transformers():
    pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer import evaluation as theirs

    measures = ["cosine", "dot", "euclidean", "manhattan"]
    gold = DRAW.integers(0, 4, 20).astype(float).tolist()  # with ties
    quiet = {"write_csv": False}
    for ours, other in (
        (
            kt.training.SimilarityQuality(TEXTS[:20], TEXTS[20:], gold, measures),
            theirs.EmbeddingSimilarityEvaluator(
                TEXTS[:20], TEXTS[20:], gold, similarity_fn_names=measures, name="x", **quiet
            ),
        ),
        (
            kt.training.RetrievalQuality(QUERIES, CORPUS, RELEVANT, at=(1, 3, 10), map_at=(5, 100)),
            theirs.InformationRetrievalEvaluator(
                QUERIES, CORPUS, RELEVANT, mrr_at_k=[1, 3, 10], ndcg_at_k=[1, 3, 10], accuracy_at_k=[1, 3, 10],
                precision_recall_at_k=[1, 3, 10], map_at_k=[5, 100], name="x", **quiet
            ),
        ),
        (kt.training.RerankingQuality(SAMPLES, at=3), theirs.RerankingEvaluator(SAMPLES, at_k=3, name="x", **quiet)),
    ):  # fmt: skip
        expected = other(Embedder())
        scores = ours.scores(Embedder())
        for name, score in scores.items():
            (theirs_of_name,) = [value for key, value in expected.items() if key.split("_", 1)[1].endswith(name)]
            assert score == pytest.approx(float(theirs_of_name), abs=1e-6), name


def test_scores_by_hand():
    rankings = [np.array([False, True, False, True]), np.array([False] * 4)]
    scores = ranking_metrics.retrieval_scores(rankings, [2, 1], (2, 4), (4,))
    assert scores["mrr@2"] == 0.25 and scores["recall@2"] == 0.25 and scores["accuracy@2"] == 0.5
    assert scores["precision@4"] == 0.25 and scores["map@4"] == pytest.approx((1 / 2 + 2 / 4) / 2 / 2)
    gain = (1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3))
    assert scores["ndcg@4"] == pytest.approx(gain / 2)
    tied = ranking_metrics.reranking_scores(np.zeros(4), np.array([True, False, False, False]), 4)
    assert tied["map"] == 0.25  # equal scores share their places
    assert np.isnan(ranking_metrics.pearson(np.ones(3), np.arange(3)))


def test_they_log_like_other_metrics():
    class WithVectors(kt.training.SimilarityQuality):
        def scores(self, model):
            assert model.built
            return {"spearman_cosine": 0.5}

    model = task("TextEmbedder")
    model.compile(keras.optimizers.SGD(0.01))
    quality = WithVectors(["a", "b"], ["c", "d"], [1, 2], every_epochs=2, name="dev")
    stop = keras.callbacks.EarlyStopping(monitor="val_dev_spearman_cosine", mode="max", patience=9)
    history = model.fit(examples("TextEmbedder"), epochs=2, verbose=0, callbacks=[quality, stop]).history
    assert history["val_dev_spearman_cosine"] == [0.5] and len(history["loss"]) == 2


def test_rerankers_are_scored_by_their_ranking():
    class Reranker:
        def rank(self, query, texts):
            return [{"index": n, "score": -n} for n in range(len(texts))]

    scores = kt.training.RerankingQuality(SAMPLES).scores(Reranker())
    assert scores == {"map": 1.0, "mrr@10": 1.0, "ndcg@10": 1.0}  # positives come first


def test_clear_errors():
    make = kt.training
    for call, message in (
        (
            lambda: make.SimilarityQuality(["a"], ["b"], [1]),
            "each of at least two pairs, got 1 and 1 texts, and 1",
        ),
        (lambda: make.SimilarityQuality(["a", "b"], ["b", "c"], [1, None]), "a finite number as score 1, got None"),
        (lambda: make.SimilarityQuality(["a", "b"], ["b", "c"], [1, 2], ["cos"]), "measures of cosine, .* got 'cos'"),
        (lambda: make.SimilarityQuality(["a", "b"], ["b", "c"], [1, 2], every_epochs=0), "every_epochs of at least 1"),
        (lambda: make.RetrievalQuality(QUERIES, {}, {}), "at least one text in the corpus, got none"),
        (lambda: make.RetrievalQuality(QUERIES, CORPUS, {"q0": {"x"}}), "ids of texts of the corpus, got 'x', which n"),
        (lambda: make.RetrievalQuality(QUERIES, CORPUS, {"z": {"d0"}}), "ids of queries, got 'z', which none has"),
        (lambda: make.RetrievalQuality(QUERIES, CORPUS, {}), "a relevant text for one query at least, got none"),
        (lambda: make.RetrievalQuality(QUERIES, CORPUS, RELEVANT, at=(0,)), "at and map_at of at least 1, got"),
        (lambda: make.RerankingQuality([SAMPLES[-1]]), "one sample at least with a positive and a negative"),
        (lambda: make.RerankingQuality([{"query": "a"}]), "query, positive and negative in each sample, got none of n"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
