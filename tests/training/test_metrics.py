import keras
import numpy as np
import pytest

from keras_transformers.training.metrics import Perplexity, TokenAccuracy, bleu, chrf


def batch(seed, rows, length=5):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((rows, length, 11)).astype("float32")
    labels = rng.integers(0, 11, (rows, length)).astype("int32")
    return labels, logits, (rng.random((rows, length)) < 0.6).astype("float32")


def test_both_average_over_tokens_not_batches():
    accuracy, perplexity = TokenAccuracy(), Perplexity()
    hits, likelihoods = [], []
    for seed, rows, length in [(0, 3, 5), (1, 20, 9)]:
        labels, logits, weight = batch(seed, rows, length)
        accuracy.update_state(labels, logits, weight)
        perplexity.update_state(labels, logits, weight)
        log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        hits += list((logits.argmax(-1) == labels)[weight > 0])
        likelihoods += list(np.take_along_axis(log_probabilities, labels[..., None], -1)[..., 0][weight > 0])
    assert float(accuracy.result()) == pytest.approx(np.mean(hits), rel=1e-5)
    assert float(perplexity.result()) == pytest.approx(np.exp(-np.mean(likelihoods)), rel=1e-5)
    perplexity.reset_state()
    assert float(perplexity.result()) == 1.0


@pytest.mark.parametrize("metric", [TokenAccuracy, Perplexity])
def test_config_round_trip(metric):
    copy = keras.metrics.deserialize(keras.metrics.serialize(metric(name="mine")))
    assert type(copy) is metric and copy.name == "mine"


def test_work_in_a_compiled_model():
    labels, logits, weight = batch(0, 8)
    model = keras.Sequential([keras.Input((5, 11)), keras.layers.Activation("linear")])
    model.compile(
        weighted_metrics=[TokenAccuracy(), Perplexity()], loss=keras.losses.SparseCategoricalCrossentropy(True)
    )
    result = model.evaluate(logits, labels, sample_weight=weight, verbose=0, return_dict=True, batch_size=3)
    expected = TokenAccuracy()
    expected.update_state(labels, logits, weight)
    assert result["token_accuracy"] == pytest.approx(float(expected.result()), rel=1e-5)
    assert np.isfinite(result["perplexity"])


def test_bleu_and_chrf_are_sacrebleus_with_their_signature():
    import sacrebleu

    hypotheses = ["A man rides a bike .", "Two dogs play in the snow."]
    references = ["A man is riding a bike.", "Two dogs play in snow."]
    score, signature = bleu(hypotheses, references)
    assert score == sacrebleu.corpus_bleu(hypotheses, [references]).score
    assert signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert "case:lc" in bleu(hypotheses, references, lowercase=True).signature
    assert chrf(hypotheses, references).score == sacrebleu.corpus_chrf(hypotheses, [references]).score
    assert "nrefs:2" in bleu(hypotheses, list(zip(references, references, strict=True))).signature


@pytest.mark.parametrize("hypotheses, references", [(["a"], ["a", "b"]), ([], []), (["a", "b"], [["a"], ["a", "b"]])])
def test_refuse_unequal_counts(hypotheses, references):
    with pytest.raises(ValueError, match="Expected"):
        bleu(hypotheses, references)


@pytest.mark.parametrize("hypotheses, references", [([None], ["a"]), (["a"], [None]), ([[1, 2]], ["a"])])
def test_refuse_what_is_no_string(hypotheses, references):
    with pytest.raises(TypeError, match="Expected strings"):
        chrf(hypotheses, references)
