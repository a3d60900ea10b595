import numpy as np
import pytest
from keras import ops

from keras_transformers.backends import arrays
from keras_transformers.generation import GenerationConfig, generate
from keras_transformers.generation.penalties import (
    BadWords,
    CountPenalty,
    History,
    NoRepeatNgram,
    RepetitionPenalty,
    Suppressed,
    penalized,
)
from tests.generation.models import END, HistoryModel
from tests.generation.test_decoding import SOURCES, run, trimmed
from tests.parameters import few

LOGITS = np.array([[1.0, -2.0, 3.0, 0.5, -1.0, 2.0], [0.0, 1.0, -1.0, 2.0, -2.0, 0.5]], "float32")
# Two rows of a buffer of eight places: a prompt of three (the second has two and padding), then four generated.
WRITTEN = np.array([[2, 1, 2, 4, 4, 2, 1, 0], [-1, 3, 0, 3, 0, 3, 3, 5]], "int32")
BEGIN, FULL = 3, 7


def after(*penalties, end=FULL):
    history = History.of(arrays.tensor(WRITTEN.copy()), arrays.scalar(BEGIN), arrays.scalar(end))
    return ops.convert_to_numpy(penalized(penalties, ops.convert_to_tensor(LOGITS), history))


def ruled_out(*penalties, end=FULL):
    return [np.flatnonzero(row).tolist() for row in np.isneginf(after(*penalties, end=end))]


def test_what_stands_in_the_text_is_less_likely():
    expected = LOGITS.copy()
    expected[0, [1, 2, 4]] = -4.0, 1.5, -2.0
    expected[1, [0, 3]] = 0.0, 1.0
    np.testing.assert_allclose(after(RepetitionPenalty(2.0)), expected)


def test_presence_and_frequency_count_what_was_generated():
    counts = np.array([[0, 1, 1, 0, 2, 0], [1, 0, 0, 3, 0, 0]], "float32")
    np.testing.assert_allclose(after(CountPenalty(presence=0.5)), LOGITS - 0.5 * (counts > 0))
    np.testing.assert_allclose(after(CountPenalty(frequency=0.5)), LOGITS - 0.5 * counts)
    both = after(CountPenalty(0.5, -0.25))
    np.testing.assert_allclose(both, LOGITS - 0.5 * (counts > 0) + 0.25 * counts)
    np.testing.assert_allclose(after(CountPenalty(frequency=1.0), end=BEGIN), LOGITS)


def test_no_n_gram_comes_twice():
    assert ruled_out(NoRepeatNgram(1)) == [[1, 2, 4], [0, 3]]
    assert ruled_out(NoRepeatNgram(2)) == [[2], [0, 3]]
    assert ruled_out(NoRepeatNgram(3)) == [[2], []]
    assert ruled_out(NoRepeatNgram(3), end=FULL - 1) == [[], [0]]
    assert ruled_out(NoRepeatNgram(20)) == [[], []], "a text shorter than that repeats nothing"


def test_bad_words_end_nowhere():
    assert ruled_out(BadWords(((5,), (1, 0), (2, 1, 3), (9, 2, 1, 4)))) == [[0, 3, 5], [5]]
    assert ruled_out(BadWords(((3, 3, 2), (0, 3, 3, 1)))) == [[], [1, 2]]
    assert ruled_out(BadWords(((2, 1, 2, 4, 4, 2, 1, 0), (2, 2, 1, 2, 4, 4, 2, 1, 0)))) == [[0], []]


def test_no_end_too_soon():
    assert ruled_out(Suppressed((0, 3), until=5)) == [[0, 3], [0, 3]]
    assert ruled_out(Suppressed((0, 3), until=4)) == [[], []]


@pytest.mark.parametrize("num_beams", few([1, 3], 3))
def test_penalties_hold_in_a_loop_whatever_its_room_and_segments(num_beams):
    model = HistoryModel(end_logit=-2.0, end_growth=0.5)
    settings = {"num_beams": num_beams, "end_ids": (END,), "max_new_tokens": 40, "min_new_tokens": 8}
    config = GenerationConfig(**settings, repetition_penalty=1.3, no_repeat_ngram_size=2, bad_words_ids=((6,), (7, 8)))
    prompts = np.random.default_rng(0).integers(4, 13, (5, 6))
    in_one = run(model, SOURCES[:5], config, prompts, length=64, segment_length=1000)
    rows = trimmed(in_one.token_ids)
    for prompt, row in zip(prompts.tolist(), rows, strict=True):
        text = prompt + row
        pairs = list(zip(text[len(prompt) - 1 :], text[len(prompt) :], strict=False))
        before = list(zip(prompt, prompt[1:], strict=False))
        assert len(set(pairs)) == len(pairs) and not set(pairs) & set(before)
        assert 6 not in row and (7, 8) not in pairs and len(row) >= 8
    in_pieces = run(model, SOURCES[:5], config, prompts, segment_length=3)
    assert trimmed(in_pieces.token_ids) == rows
    alone = [trimmed(run(model, SOURCES[i : i + 1], config, prompts[i : i + 1]).token_ids)[0] for i in range(5)]
    assert alone == rows


def test_sampling_draws_from_what_penalties_leave():
    model = HistoryModel()
    config = GenerationConfig(do_sample=True, max_new_tokens=30, no_repeat_ngram_size=2, seed=1, temperature=3.0)
    for row in generate(model, model.step, model.cache(SOURCES[:3]), [[0]] * 3, config).token_ids.tolist():
        assert len(set(zip(row, row[1:], strict=False))) == 29


@pytest.mark.each_keras
@pytest.mark.parametrize("num_beams", [1, 3])
def test_settings_of_translators_hold_in_a_loop(num_beams):
    model = HistoryModel(end_logit=-2.0, end_growth=0.5)
    settings = {"num_beams": num_beams, "end_ids": (END,), "max_new_tokens": 12, "renormalize_logits": True}
    settings |= {"forced_start_id": 5, "forced_end_id": 4, "suppress_tokens": (6,), "begin_suppress_tokens": (7, 8)}
    config = GenerationConfig(**settings, encoder_no_repeat_ngram_size=2, min_length=13)
    sources = np.random.default_rng(0).integers(4, 13, (4, 20)).astype("int32")

    def rows(count):
        prompts = np.zeros((count, 1), int)
        return generate(model, model.step, model.cache(SOURCES[:count]), prompts, config, sources=sources[:count])

    generated = rows(4)
    for row, source in zip(generated.token_ids.tolist(), sources.tolist(), strict=True):
        assert row[0] == 5 and row[1] not in (7, 8) and row[-1] == 4 and len(row) == 12
        assert 6 not in row and END not in row
        pairs = set(zip(source, source[1:], strict=False))
        assert not pairs & set(zip(row[:-1], row[1:-1], strict=False))
    alone = rows(1)
    assert alone.token_ids[0].tolist() == generated.token_ids[0].tolist()
    if num_beams > 1:
        np.testing.assert_allclose(generated.scores[:1], alone.scores, rtol=1e-5)
