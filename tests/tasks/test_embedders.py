"""Static, sparse and multi-vector embedders on each backend, compared with NumPy."""

import keras
import numpy as np
import pytest

import keras_transformers as kt
from tests.layers.reference import fill
from tests.parameters import few

TEXTS = ["A man rides a horse.", "It rains, and rains.", "horse", ""]


@pytest.fixture(scope="module")
def tokenizer():
    special = {"class_token": "[CLS]", "separator_token": "[SEP]", "mask_token": "[MASK]"}
    return kt.Tokenizer.train(TEXTS[:3] * 2, kind="wordpiece", vocabulary_size=60, **special)


@pytest.fixture(scope="module")
def config(tokenizer):
    return kt.models.encoder(
        tokenizer.vocabulary_size, num_layers=1, hidden_dim=8, num_heads=2, max_length=24, dropout=0.0
    )


def rows(tokenizer, texts, length=0):
    """Ids with special tokens, filled up with masks to `length`."""
    start, end = tokenizer.class_id, tokenizer.separator_id
    ids = [[start, *each, end] for each in tokenizer.encode(texts)]
    return [each + [tokenizer.mask_id] * (length - len(each)) for each in ids]


def states(model, ids, real):
    inputs = {"token_ids": np.array([ids], "int32"), "padding_mask": np.array([real], bool)}
    if model.config.embeddings.num_segments > 1:
        inputs["segment_ids"] = np.zeros((1, len(ids)), "int32")
    return keras.ops.convert_to_numpy(model.backbone(inputs))[0]


def test_a_table_is_averaged(tokenizer):
    model = fill(kt.TextEmbedder(kt.models.static(tokenizer.vocabulary_size, hidden_dim=6), tokenizer, normalize=False))
    (table,) = model.get_weights()
    expected = [table[each].mean(0) if each else np.zeros(6) for each in tokenizer.encode(TEXTS)]
    np.testing.assert_allclose(model.embed(TEXTS), expected, atol=1e-6)
    assert model.embed("rains " * 500).shape == (6,)  # of any length


@pytest.mark.each_keras
@pytest.mark.parametrize("options", [{}, {"pooling": "sum", "num_logs": 2}])
def test_tokens_are_weighed(tokenizer, config, options):
    model = fill(kt.SparseEmbedder(config, tokenizer, **options))
    masked = kt.MaskedLM(config, tokenizer)
    masked.set_weights(model.get_weights())
    vectors = model.embed(TEXTS)
    for ids, vector in zip(rows(tokenizer, TEXTS), vectors.dense(), strict=True):
        scores = np.maximum(masked.predict({"token_ids": [ids]})[0], 0)
        for _ in range(options.get("num_logs", 1)):
            scores = np.log1p(scores)
        expected = scores.sum(0) if options else scores.max(0)
        np.testing.assert_allclose(vector, expected, atol=1e-4)
    assert vectors.values.min() > 0 and vectors.shape == (4, tokenizer.vocabulary_size)


def test_queries_without_a_model(tokenizer, config):
    model = kt.SparseEmbedder(config, tokenizer, static_queries=True)
    weights = np.linspace(0, 1, tokenizer.vocabulary_size).astype("float32")
    model.query.scale.assign(weights)
    for ids, (places, values) in zip(tokenizer.encode(TEXTS), model.embed(TEXTS, task="query"), strict=True):
        assert places.tolist() == sorted(set(ids))
        np.testing.assert_allclose(values, weights[places])


@pytest.mark.each_keras
@pytest.mark.parametrize("attend", [False, True])
def test_each_token_has_a_vector(tokenizer, config, attend):
    steps = [kt.layers.Projection(4, None, False)]
    expansion = kt.tasks.QueryExpansion(12, attend=attend)
    model = fill(kt.MultiVectorEmbedder(config, tokenizer, steps, expansion=expansion, skip_words=["."]))
    kernel = keras.ops.convert_to_numpy(model.get_layer("projection_0").dense.kernel)

    def vectors(ids, real):
        x = states(model, ids, real) @ kernel
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    queries, documents = model.embed(TEXTS, task="query"), model.embed(TEXTS)
    for row, ids in enumerate(rows(tokenizer, TEXTS)):
        kept = np.array(ids) != tokenizer.encode(["."])[0][0]
        np.testing.assert_allclose(documents[row], vectors(ids, [True] * len(ids))[kept], atol=1e-5)
        (filled,) = rows(tokenizer, TEXTS[row : row + 1], 12)
        real = [attend or place < len(ids) for place in range(12)]
        np.testing.assert_allclose(queries[row], vectors(filled, real), atol=1e-5)
    expected = [[(a @ b.T).max(1).sum() for b in documents] for a in queries]
    np.testing.assert_allclose(model.similarity(TEXTS, TEXTS), expected, rtol=1e-5)
    assert model.embed("horse").shape == (3, 4)


def make(kind, config, tokenizer):
    if kind == "tokens":
        steps, expansion = [kt.layers.Projection(4, None, False)], kt.tasks.QueryExpansion(10)
        return fill(kt.MultiVectorEmbedder(config, tokenizer, steps, expansion=expansion, skip_words=["."]))
    if kind == "static":
        return fill(kt.TextEmbedder(kt.models.static(tokenizer.vocabulary_size, hidden_dim=6), tokenizer))
    return fill(kt.SparseEmbedder(config, tokenizer, static_queries=kind == "weights"))


@pytest.mark.parametrize("kind", few(["static", "sparse", "weights", "tokens"], "tokens"))
def test_they_train(tokenizer, config, kind):
    """The loss is that of the vectors which `embed` gives, and it falls."""
    model = make(kind, config, tokenizer)
    queries, documents = ["horse", "It rains", "A man"], ["A man rides a horse.", "rains and rains", "man"]
    if kind == "tokens":
        scores = np.array(model.similarity(queries, documents))
    elif kind == "static":
        scores = model.embed(queries) @ model.embed(documents).T * 20
    else:
        scores = model.embed(queries, task="query").dense() @ model.embed(documents).dense().T
    losses = np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1)) + scores.max(1) - np.diag(scores)
    options = {} if kind in ("static", "tokens") else {"loss": kt.losses.InBatchNegatives(1.0, "dot")}
    model.compile(keras.optimizers.SGD(0.01), **options)
    before = model.evaluate(queries, documents, batch_size=3, verbose=0)["loss"]
    assert before == pytest.approx(losses.mean(), rel=1e-4)
    model.fit(queries, documents, batch_size=3, epochs=4, verbose=0)
    assert model.evaluate(queries, documents, batch_size=3, verbose=0)["loss"] < before
    if kind != "static":
        with pytest.raises(ValueError, match="Expected a loss that is not Cached"):
            model.compile(loss=kt.losses.Cached(kt.losses.InBatchNegatives(), 2))


@pytest.mark.one_backend("torch")
@pytest.mark.parametrize("kind", ["sparse", "weights", "tokens"])
def test_they_are_searched_and_evaluated(tokenizer, config, kind):
    model, documents = make(kind, config, tokenizer), ["rains", "A man", "It", "a horse, a man", "rides."]
    table = np.array(model.similarity(TEXTS[:3], documents))
    found = kt.search(model.embed(TEXTS[:3], task="query"), model.embed(documents, task="document"), 5)
    assert (found.indices == np.argsort(-table, axis=1, kind="stable")).all()
    np.testing.assert_allclose(found.scores, -np.sort(-table, axis=1), rtol=1e-5)
    best = {row: {int(place)} for row, place in enumerate(found.indices[:, 0])}
    quality = kt.training.RetrievalQuality(dict(enumerate(TEXTS[:3])), dict(enumerate(documents)), best, at=(1,))
    assert quality.scores(model)["accuracy@1"] == 1.0
