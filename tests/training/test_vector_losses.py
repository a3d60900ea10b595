"""Losses of vectors: each is the formula of its paper, and sentence-transformers' number on the same vectors."""

import types

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.data.examples import Examples
from keras_transformers.records import from_json, to_json
from keras_transformers.training.losses.vectors import Vectors
from tests.training.small_tasks import examples, task, weights

once = pytest.mark.one_backend("torch")
B, D = 5, 8
DRAW = np.random.default_rng(0)
GIVEN = DRAW.standard_normal((B, 4, D)).astype("float32")  # a text, its positive, two hard negatives
TEACHER = DRAW.standard_normal((B, 3)).astype("float32")
TOKENS = DRAW.standard_normal((B, 3, 6, D)).astype("float32")
MASK = np.arange(6) < DRAW.integers(2, 7, (B, 3, 1))
L = kt.losses


def mean(loss, vectors, scores=None, weight=None, **others):
    """The weighted mean of a loss over the rows, as the task takes it."""
    given = Vectors(vectors, scores, weight, **others)
    given = Vectors(*(None if each is None else keras.ops.convert_to_tensor(each) for each in given))
    rows = keras.ops.convert_to_numpy(loss(given))
    assert rows.shape == (len(vectors),)
    return float(np.average(rows, weights=weight))


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def cross_entropy(scores):
    shifted = scores - scores.max(-1, keepdims=True)
    return (np.log(np.exp(shifted).sum(-1)) - np.diag(shifted)).mean()


def in_batch(x, scale=20.0):
    return cross_entropy(scale * unit(x[:, 0]) @ np.concatenate([unit(x[:, n]) for n in range(1, x.shape[1])]).T)


def cosent(x, scores, scale=20.0):
    cosines = (unit(x[:, 0]) * unit(x[:, 1])).sum(-1) * scale
    terms = [np.exp(cosines[i] - cosines[j]) for i in range(B) for j in range(B) if scores[i] < scores[j]]
    return np.log(1 + sum(terms))


def triplet(x, order):
    apart = [np.linalg.norm(x[:, 0] - x[:, n], order, axis=-1) for n in (1, 2)]
    return np.maximum(apart[0] - apart[1] + 5.0, 0).mean()


def dots(x):
    return np.einsum("bd,bkd->bk", x[:, 0], x[:, 1:])


def margin_mse(x, scores):
    own = dots(x)
    return ((own[:, :1] - own[:, 1:] - (scores[:, :1] - scores[:, 1:])) ** 2).mean()


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def divergence(x, scores, temperature):
    taught, learnt = softmax(scores / temperature), softmax(dots(x) / temperature)
    return (taught * np.log(taught / learnt)).sum(-1).mean() * temperature**2


def max_sim(tokens, mask, scale=1.0):
    scores = np.zeros((B, B * 2))
    for i in range(B):
        for place, (n, j) in enumerate((n, j) for n in (1, 2) for j in range(B)):
            table = tokens[i, 0][mask[i, 0]] @ tokens[j, n][mask[j, n]].T
            scores[i, place] = table.max(-1).sum()
    return cross_entropy(scale * scores)


def flops(x):
    return (x.reshape(-1, D).mean(0) ** 2).sum()


SPARSE = np.maximum(GIVEN, 0)
LONG = GIVEN.astype("float64")


def test_each_is_the_formula_of_its_paper():
    one = TEACHER[:, 0]
    table = [
        (mean(L.InBatchNegatives(), GIVEN[:, :2]), in_batch(LONG[:, :2])),
        (mean(L.InBatchNegatives(5.0), GIVEN), in_batch(LONG, 5.0)),
        (mean(L.InBatchNegatives(1.0, "dot"), SPARSE), cross_entropy(
            SPARSE[:, 0] @ np.concatenate([SPARSE[:, n] for n in (1, 2, 3)]).T
        )),
        (mean(L.CoSENT(), GIVEN[:, :2], one), cosent(LONG, one)),
        (mean(L.Triplet(), GIVEN[:, :3]), triplet(LONG, 2)),
        (mean(L.Triplet(measure="manhattan"), GIVEN[:, :3]), triplet(LONG, 1)),
        (mean(L.MarginMSE(), GIVEN, TEACHER), margin_mse(LONG, TEACHER)),
        (mean(L.MarginMSE(), GIVEN, TEACHER[:, :1] - TEACHER[:, 1:]), margin_mse(LONG, TEACHER)),
        (mean(L.Distillation(2.0), GIVEN, TEACHER), divergence(LONG, TEACHER, 2.0)),
        (mean(L.MaxSim(0.5), TOKENS, mask=MASK), max_sim(TOKENS.astype("float64"), MASK, 0.5)),
        (
            mean(L.Matryoshka(L.InBatchNegatives(), (8, 3), (1.0, 0.5)), GIVEN),
            in_batch(LONG) + 0.5 * in_batch(LONG[..., :3]),
        ),
        (
            mean(L.Flops(L.MarginMSE(), 0.1, 0.2), SPARSE, TEACHER),
            margin_mse(SPARSE, TEACHER) + 0.1 * flops(SPARSE[:, 1:]) + 0.2 * flops(SPARSE[:, 0]),
        ),
    ]  # fmt: skip
    for number, (ours, expected) in enumerate(table):
        assert ours == pytest.approx(expected, rel=2e-5), number


@once
def test_each_is_that_of_sentence_transformers():
    pytest.importorskip("sentence_transformers")
    import torch
    from sentence_transformers.multi_vector_encoder.scoring import colbert_scores
    from sentence_transformers.sentence_transformer import losses as theirs
    from sentence_transformers.sparse_encoder.losses import FlopsLoss

    model = types.SimpleNamespace(get_embedding_dimension=lambda: D)

    def of(loss, vectors, scores=None):
        sides = [torch.tensor(vectors[:, n]) for n in range(vectors.shape[1])]
        return float(loss.compute_loss_from_embeddings(sides, None if scores is None else torch.tensor(scores)))

    one, manhattan = TEACHER[:, 0], theirs.TripletDistanceMetric.MANHATTAN
    for ours, other in (
        (mean(L.InBatchNegatives(), GIVEN), of(theirs.MultipleNegativesRankingLoss(model), GIVEN)),
        (mean(L.CoSENT(), GIVEN[:, :2], one), of(theirs.CoSENTLoss(model), GIVEN[:, :2], one)),
        (mean(L.Triplet(), GIVEN[:, :3]), of(theirs.TripletLoss(model), GIVEN[:, :3])),
        (
            mean(L.Triplet(2.0, "manhattan"), GIVEN[:, :3]),
            of(theirs.TripletLoss(model, manhattan, 2.0), GIVEN[:, :3]),
        ),
        (mean(L.MarginMSE(), GIVEN, TEACHER), of(theirs.MarginMSELoss(model), GIVEN, TEACHER)),
        (
            mean(L.Distillation(2.0), GIVEN, TEACHER),
            of(theirs.DistillKLDivLoss(model, temperature=2.0), GIVEN, TEACHER),
        ),
    ):
        assert ours == pytest.approx(other, rel=1e-5)
    term = float(FlopsLoss(model).compute_loss_from_embeddings(torch.tensor(SPARSE[:, 0])))
    with_term = L.Flops(L.InBatchNegatives(), 1e-9, 1.0)
    assert mean(with_term, SPARSE) - mean(with_term.loss, SPARSE) == pytest.approx(term, rel=1e-4)
    tokens, mask = torch.tensor(TOKENS), torch.tensor(MASK)
    scores = colbert_scores(tokens[:, 0], tokens[:, 1:], queries_mask=mask[:, 0], documents_mask=mask[:, 1:])
    expected = torch.nn.functional.cross_entropy(scores, torch.arange(B) * 2)  # row by row, each row's own candidates
    assert mean(L.MaxSim(), TOKENS, mask=MASK) == pytest.approx(float(expected), rel=1e-5)


@once
def test_a_row_that_only_fills_a_batch_counts_for_nothing():
    weight = np.array([1, 1, 1, 1, 0], "float32")
    for loss, scores in (
        (L.CoSENT(), TEACHER[:, 0]),
        (L.Flops(L.Triplet(), 0.3, 0.4), None),
    ):
        vectors = GIVEN[:, :2] if loss == L.CoSENT() else GIVEN[:, :3]
        alone = mean(loss, vectors[:4], None if scores is None else scores[:4])
        assert mean(loss, vectors, scores, weight) == pytest.approx(alone, rel=1e-5)
    twice = np.array([1, 1, 2, 1], "float32")
    again = np.array([0, 1, 2, 2, 3])
    doubled = mean(L.CoSENT(), GIVEN[again, :2], TEACHER[again, 0])
    assert mean(L.CoSENT(), GIVEN[:4, :2], TEACHER[:4, 0], twice) == pytest.approx(doubled, rel=1e-5)


@once
def test_equal_vectors_have_a_slope():
    import torch

    vectors = torch.ones((2, 3, D), requires_grad=True)
    keras.ops.sum(L.Triplet()(Vectors(vectors))).backward()
    assert torch.isfinite(vectors.grad).all()


@once
def test_records_are_values_and_refuse_what_does_not_fit():
    wrapped = L.Cached(L.Matryoshka(L.Flops(L.InBatchNegatives(1.0, "dot"), 0.1), (8, 4)), 16)
    assert from_json(to_json(wrapped)) == wrapped and not wrapped.scored and L.Matryoshka(L.CoSENT(), (4,)).scored
    for call, error, message in (
        (lambda: L.InBatchNegatives(0.0), ValueError, "'scale' is 0.0, expected float above 0"),
        (lambda: L.InBatchNegatives(measure="cos"), ValueError, "InBatchNegatives to be one of cosine, dot, got 'cos'"),
        (lambda: L.Cached("mse"), TypeError, "Expected a loss of vectors, such as .*, got 'mse'"),
        (lambda: L.Matryoshka(L.Cached(L.CoSENT()), (4,)), ValueError, "Expected Cached around Matryoshka, got it ins"),
        (lambda: L.Matryoshka(L.CoSENT(), ()), ValueError, "Expected dims of at least one width"),
        (
            lambda: mean(L.Matryoshka(L.CoSENT(), (9,)), GIVEN),
            ValueError,
            "dims of at most the 8 of the vectors, got 9",
        ),
        (lambda: mean(L.Triplet(), GIVEN), ValueError, "Expected 3 texts in each row for Triplet .*, got 4. Hard neg"),
        (lambda: mean(L.MarginMSE(), GIVEN[:, :2]), ValueError, "at least 3 texts in each row for MarginMSE .*, got 2"),
        (
            lambda: mean(L.CoSENT(), GIVEN[:, :2]),
            ValueError,
            "Expected scores for CoSENT: a number for each pair, got n",
        ),
        (
            lambda: mean(L.Distillation(), GIVEN, TEACHER[:, :2]),
            ValueError,
            "one for the positive and each .*, got 2 f",
        ),
        (
            lambda: mean(L.MaxSim(), GIVEN),
            ValueError,
            r"vector for each token \[B, C, T, D\] for MaxSim, got \(5, 4, 8",
        ),
    ):
        with pytest.raises(error, match=message):
            call()


# --- in a model ---


def groups(count=6, scores=None):
    """Examples of ids: texts, positives, and two columns of hard negatives."""
    columns = {}
    for side, seed in (("", 0), ("positive_", 1), ("negative_", 2), ("negative_2_", 3)):
        columns[f"{side}token_ids"] = examples("TextEmbedder", count, seed).columns["token_ids"]
    return Examples(columns, scores, np.ones(count, "float32"), 0)


def trained(loss, scores=None, **options):
    model = task("TextEmbedder", loss=loss, normalize=False)
    model.compile(keras.optimizers.SGD(0.1), **options)
    history = model.fit(groups(scores=scores), batch_size=6, num_buckets=1, epochs=2, shuffle=False, verbose=0)
    return model, history.history


def test_a_large_batch_in_parts_learns_the_same():
    loss = L.InBatchNegatives()
    (whole, history), (parts, again) = trained(loss), trained(L.Cached(loss, 4))
    assert history["loss"] == pytest.approx(again["loss"], rel=1e-5) and history["loss"][1] < history["loss"][0]
    for one, other in zip(weights(whole), weights(parts), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


@once
def test_a_model_trains_with_each_loss():
    vectors = [task("TextEmbedder", normalize=False).predict({"token_ids": _rows(side)}) for side in range(4)]
    stacked = np.stack(vectors, axis=1)
    model = task("TextEmbedder", loss=L.Distillation(), normalize=False)
    scores = DRAW.standard_normal((6, 3)).astype("float32")
    result = model.evaluate(groups(scores=scores), batch_size=6, verbose=0)
    assert set(result) == {"loss"} and result["loss"] == pytest.approx(divergence(stacked, scores, 1.0), rel=1e-4)
    model.compile("sgd", loss=L.InBatchNegatives())
    result = model.evaluate(groups(), batch_size=6, verbose=0)
    assert set(result) == {"loss", "accuracy"} and result["loss"] == pytest.approx(in_batch(stacked), rel=1e-4)
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model)).training_loss == (
        L.InBatchNegatives()
    )
    with pytest.raises(TypeError, match="Expected a loss of vectors, such as"):
        model.compile("sgd", loss="mse")
    model.compile("sgd", loss=L.MaxSim())
    with pytest.raises(
        ValueError, match="a vector for each token .* for MaxSim, got .* Use InBatchNegatives for models"
    ):
        model.evaluate(groups(), batch_size=6, verbose=0)
    model.compile("sgd", loss=L.MarginMSE(), metrics=["mse"])
    with pytest.raises(ValueError, match="Expected no metrics with the loss MarginMSE"):
        model.evaluate(groups(scores=scores), batch_size=6, verbose=0)


def _rows(side):
    ids = examples("TextEmbedder", 6, side).columns["token_ids"]
    return [ids.token_ids[a:b] for a, b in zip(ids.offsets, ids.offsets[1:], strict=False)]


@once
def test_hard_negatives_and_scores_are_read_from_tables():
    model = task("TextEmbedder", loss=L.MarginMSE(), tokenizer=None)
    texts = [f"text {n}" for n in range(4)]
    model.tokenizer = kt.Tokenizer.train(texts * 20, kind="wordpiece", vocabulary_size=24)
    table = {"query": texts, "positive": texts[::-1], "negative": texts, "negative_2": texts, "score": [[3, 1, 0]] * 4}
    read = model._examples(table, None, None)
    names = ["token_ids", "positive_token_ids", "negative_token_ids", "negative_2_token_ids"]
    assert [name for name in read.columns if name.endswith("token_ids")] == names and read.labels.shape == (4, 3)
    records = [{name: column[n] for name, column in table.items()} for n in range(4)]
    assert model._examples(records, None, None).labels.tolist() == read.labels.tolist()
    renamed = {"q": texts, "p": texts, "n": texts, "margin": [1.0] * 4}
    told = {"query": "q", "positive": "p", "negative": "n", "score": "margin"}
    assert model._examples(renamed, None, None, columns=told).labels.tolist() == [1.0] * 4
    ids = {f"{side}token_ids": [[5, 6], [7]] for side in ("", "positive_", "negative_")}
    assert model._examples(ids, [1.0, 2.0], None).labels.tolist() == [1.0, 2.0]
    pairs = list(zip(texts, texts, strict=True))
    model.compile("sgd", loss=L.CoSENT())
    assert model._examples(pairs, [0.5] * 4, None).labels.tolist() == [0.5] * 4
    without = {name: table[name] for name in ("query", "positive")}
    for given, scores, message in (
        (without, None, "Expected pairs of texts with scores, got none. Pass the pairs as x and the scores as y"),
        (texts, [1.0] * 4, "Expected pairs of texts with scores, got single texts"),
        (pairs, [1.0, None, 1.0, 1.0], "Expected a finite number as score 1, got None"),
        (pairs, [1.0, [1.0, 2.0], 1.0, 1.0], "Expected as many scores in each row, got 1 and, in row 1, others"),
        (ids, None, "Expected a score for each row of token_ids, got none"),
    ):
        with pytest.raises(ValueError, match=message):
            model._examples(given, scores, None)
    model.compile("sgd", loss=L.InBatchNegatives())
    with pytest.raises(ValueError, match="got labels too, .* train with a loss of scored pairs, such as kt.losses.CoS"):
        model._examples({**without, "label": [1.0] * 4}, None, None)
