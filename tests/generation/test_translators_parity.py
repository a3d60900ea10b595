"""What translation models of other families write, beside transformers: the same hypotheses, and scores to 1e-4."""

import itertools
import json

import numpy as np
import pytest

import keras_transformers as kt
from tests.generation import translators
from tests.generation.translators import END, FAMILIES, PADDING, STORED, ours, sources, theirs
from tests.parameters import few

once = pytest.mark.one_backend("torch")


@pytest.fixture(scope="module", params=FAMILIES)
def models(request):
    pytest.importorskip("transformers")
    theirs = translators.their_model(request.param)
    return kt.Seq2SeqLM.from_preset(translators.folder(request.param)), theirs, sources(theirs.config.vocab_size)


def compare(models, texts, **settings):
    """The lengths that hypotheses have."""
    model, their_model, _ = models
    (rows, scores), (expected, expected_scores) = ours(model, texts, settings), theirs(their_model, texts, settings)
    assert rows == expected
    if expected_scores is not None:
        np.testing.assert_allclose(scores, expected_scores, rtol=1e-4, atol=1e-4)
    return {len(row) for row in rows}


GRID = list(itertools.product((2, 4, 5), (0.6, 1.0, 2.0), (False, True, "never")))


@once
def test_greedy_and_beams_are_transformers(models):
    """Each value of the grid."""
    model, _, texts = models
    lengths = compare(models, texts, num_beams=1)
    assert compare(models, texts[:1], num_beams=1) <= lengths
    for num_beams, length_penalty, early_stopping in (GRID[0], GRID[13], GRID[26]):
        settings = {"num_beams": num_beams, "length_penalty": length_penalty, "early_stopping": early_stopping}
        lengths |= compare(models, texts, num_return_sequences=2, **settings)
    compare(models, texts[3:4], num_return_sequences=4, num_beams=4, length_penalty=0.6)
    # without the bias that makes the end likely, all go on to the limit
    assert (len(lengths) >= 3) == bool(model.head.weights), lengths


@once
@pytest.mark.slow
def test_the_whole_grid_is_transformers(models):
    lengths = set()
    for num_beams, length_penalty, early_stopping in GRID:
        settings = {"num_beams": num_beams, "length_penalty": length_penalty, "early_stopping": early_stopping}
        for texts in (models[2], models[2][3:4]):
            lengths |= compare(models, texts, num_return_sequences=num_beams, **settings)
    assert (len(lengths) >= 4) == bool(models[0].head.weights), lengths


@once
@pytest.mark.parametrize(
    "settings",
    [
        {"forced_start_id": 20, "forced_end_id": END},
        {"renormalize_logits": True, "bad_words_ids": ((PADDING,), (12, 13), (30,)), "forced_end_id": END},
        {"no_repeat_ngram_size": 2, "encoder_no_repeat_ngram_size": 2, "min_length": 8, "length_penalty": 2.0},
    ],
)
def test_settings_are_transformers(models, settings):
    compare(models, models[2][:3], num_beams=4, num_return_sequences=2, **settings)


@once
def test_scores_are_transformers_loss(models):
    import torch

    from keras_transformers.tasks.scoring import pair_log_probabilities

    model, their_model, texts = models
    random = np.random.default_rng(1)
    labels = [[*random.integers(10, 50, length).tolist(), END] for length in (4, 9, 1, 6, 2, 5)]
    scores = pair_log_probabilities(model, texts, labels, start_id=translators.START, batch_size=4)
    for text, label, score in zip(texts, labels, scores, strict=True):
        read = torch.tensor([[translators.START, *label[:-1]]])
        with torch.no_grad():
            loss = their_model(
                input_ids=torch.tensor([text]), decoder_input_ids=read, labels=torch.tensor([label])
            ).loss
        assert score.sum() == pytest.approx(-float(loss) * len(label), rel=1e-5)


@pytest.mark.parametrize("family", few(STORED, next(iter(STORED))))
def test_the_backends_write_what_transformers_wrote(family):
    expected = json.loads(translators.PATH.read_text("utf-8"))[family]
    model = kt.Seq2SeqLM.from_preset(translators.folder(family))
    rows, scores = ours(model, sources(model.config.embeddings.vocabulary_size), STORED[family])
    assert rows == expected["rows"]
    if expected["scores"] is not None:
        np.testing.assert_allclose(scores, expected["scores"], rtol=1e-4, atol=1e-4)


@once
def test_what_is_stored_is_what_transformers_writes():
    pytest.importorskip("transformers")
    expected = json.loads(translators.PATH.read_text("utf-8"))
    for family in STORED:
        rows, scores = translators.stored(family)
        assert rows == expected[family]["rows"]
        np.testing.assert_allclose(scores or [], expected[family]["scores"] or [], rtol=1e-5)
