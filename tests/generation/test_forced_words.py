import numpy as np
import pytest
from keras import ops

from keras_transformers.backends import arrays
from keras_transformers.generation import GenerationConfig, generate
from keras_transformers.generation.forced_words import by_banks, missing, packed, progress
from tests.generation.models import END, HistoryModel, likeliest_hypotheses
from tests.generation.test_decoding import SOURCES

once = pytest.mark.one_backend("torch")


def run(model, config, words, count=None, **options):
    count = len(words) if count is None else count
    prompts = np.zeros((count, 1), int)
    return generate(model, model.step, model.cache(SOURCES[:count]), prompts, config, words=words, **options)


def has(row, word):
    return any(tuple(row[place : place + len(word)]) == tuple(word) for place in range(len(row)))


@pytest.mark.each_keras
def test_how_much_of_a_word_a_text_has():
    texts = np.array([[[5, 6, 7, 0], [7, 5, 5, 5], [8, 5, 6, 7]], [[5, 6, 5, 9], [9, 9, 9, 9], [6, 7, 5, 6]]], "int32")
    words = packed([[[5, 6, 7], [7]], [[5, 6, 5, 9], [9, 9]]])
    assert words.shape == (2, 2, 4)
    found = ops.convert_to_numpy(progress(arrays.tensor(texts), arrays.scalar(3), arrays.tensor(words)))
    assert found.tolist() == [[[3, 1], [1, 1], [2, 0]], [[3, 0], [0, 2], [1, 0]]]
    found = ops.convert_to_numpy(progress(arrays.tensor(texts), arrays.scalar(4), arrays.tensor(words)))
    assert found.tolist() == [[[3, 1], [1, 1], [3, 1]], [[4, 1], [0, 2], [2, 0]]]
    following = ops.convert_to_numpy(missing(arrays.tensor(texts), arrays.scalar(3), arrays.tensor(words)))
    assert following.tolist() == [[[-1, -1], [6, -1], [7, 7]], [[9, 9], [5, -1], [6, 9]]]


def test_a_beam_takes_the_best_of_each_bank_in_turn():
    scores = np.array([[-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]], "float32")
    banks = np.array([[0, 0, 0, 2, 1, 2]], "int32")
    ruled_out = np.array([[True, False, False, False, False, False]])
    order = by_banks(*map(arrays.tensor, (scores, banks)), 2, arrays.tensor(ruled_out))
    assert ops.convert_to_numpy(order).tolist() == [[3, 4, 1, 5, 2, 0]]


@once
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("word", [(5,), (4, 3), (3, 3)])
def test_a_wide_beam_finds_the_likeliest_text_with_a_word(word, length_penalty):
    """By trying all."""
    model = HistoryModel(vocabulary_size=6)
    config = GenerationConfig(num_beams=80, end_ids=(END,), max_new_tokens=4, length_penalty=length_penalty)
    generated = run(model, config, [[word]] * 2)
    for row, length, score, source in zip(*generated[:3], SOURCES, strict=False):
        every = likeliest_hypotheses(model, source, length_penalty, 4, END, 6**4)
        best, ids = next((score, ids) for score, ids in every if has(ids, word))
        assert tuple(row[:length]) == ids and score == pytest.approx(best, rel=1e-4)


@pytest.mark.each_keras
def test_words_occur_and_the_rest_is_as_it_was():
    model = HistoryModel(end_logit=-1.0, end_growth=0.3)
    words = [[[5], [6, 7]], [], [[8, 9, 10]], [[11], [12], [4]]]
    config = GenerationConfig(num_beams=6, end_ids=(END,), max_new_tokens=20, num_return_sequences=2)
    generated = run(model, config, words, segment_length=7)
    rows = [row[:length].tolist() for row, length in zip(generated.token_ids, generated.lengths, strict=True)]
    assert all(has(row, word) for place, row in enumerate(rows) for word in words[place // 2])
    assert (generated.scores > -100).all() and (np.diff(generated.scores.reshape(4, 2)) <= 0).all()
    plain = run(model, config, None, 4)
    assert not all(has(plain.token_ids[2 * row].tolist(), word) for row in range(4) for word in words[row])
    alone = run(model, config, words[:1])
    assert alone.token_ids[0, : alone.lengths[0]].tolist() == rows[0]


@once
def test_words_with_other_settings():
    model = HistoryModel(end_logit=-1.0, end_growth=0.3)
    settings = {"num_beams": 4, "end_ids": (END,), "max_new_tokens": 15, "forced_start_id": 9, "forced_end_id": END}
    config = GenerationConfig(**settings, no_repeat_ngram_size=2, bad_words_ids=((3,),), min_new_tokens=8)
    for early_stopping in (False, True, "never"):
        changed = {**settings, "early_stopping": early_stopping}
        generated = run(model, GenerationConfig(**changed), [[[5, 6], [7]]] * 3)
        for row in generated.token_ids.tolist():
            assert row[0] == 9 and has(row, (5, 6)) and 7 in row
    generated = run(model, config, [[[5, 6], [7]]] * 3)
    for row, length in zip(generated.token_ids.tolist(), generated.lengths, strict=True):
        assert row[0] == 9 and has(row, (5, 6)) and 7 in row and 3 not in row and length >= 8
    unreachable = run(model, config, [[[3]]])
    assert unreachable.scores[0] < -1e8


@once
def test_words_that_cannot_be_asked_for():
    model = HistoryModel()
    with pytest.raises(ValueError, match="Expected num_beams of 2 or more for words .* got num_beams=1"):
        run(model, GenerationConfig(max_new_tokens=5), [[[5]]])
    with pytest.raises(ValueError, match="words that have to occur, 5 tokens .* got a limit of 4"):
        run(model, GenerationConfig(num_beams=2, max_new_tokens=4), [[[5, 6], [7, 8]]])


def test_words_of_a_prompt_count_if_an_encoder_read_the_source():
    """A decoder's prompt is a text by itself; behind an encoder it is the beginning of the result."""
    model, words = HistoryModel(), [[[5, 6]]]
    config = GenerationConfig(num_beams=4, end_ids=(END,), max_new_tokens=5, length_penalty=1.0)
    found = {}
    for name, options in (("decoder", {}), ("encoder-decoder", {"sources": np.array(SOURCES[:1])})):
        prompts = np.array([[0, 5, 6]])
        generated = generate(model, model.step, model.cache(SOURCES[:1]), prompts, config, words=words, **options)
        plain = generate(model, model.step, model.cache(SOURCES[:1]), prompts, config, **options)
        found[name] = has(generated.token_ids[0].tolist(), (5, 6))
        assert not has(plain.token_ids[0].tolist(), (5, 6))
        assert found[name] or generated.token_ids[0].tolist() == plain.token_ids[0].tolist()
    assert found == {"decoder": True, "encoder-decoder": False}
