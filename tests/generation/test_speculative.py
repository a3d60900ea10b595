"""Guesses change how fast a text comes, and nothing else."""

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.generation import DraftModel, PromptLookup, executors
from tests.layers.reference import fill
from tests.tasks.test_causal_lm import SENTENCES, TEXTS, decoder_alone


@pytest.fixture(scope="module")
def model():
    return fill(decoder_alone(40), scale=0.6)


@pytest.fixture(scope="module")
def small():
    return fill(decoder_alone(40, num_layers=1), scale=0.6)


@pytest.fixture(scope="module")
def writer_of_text():
    tokenizer = kt.Tokenizer.train(SENTENCES, vocabulary_size=320)
    return fill(decoder_alone(tokenizer.vocabulary_size, tokenizer), scale=0.6)


class Oracle:
    """Guesses what it was told to, right for so many tokens out of eight, at another place each time."""

    length = 5

    def __init__(self, texts):
        self.texts, self.calls = texts, 0

    def guesser(self, model):
        def guess(token_ids):
            self.calls += 1
            (text,) = [text for text in self.texts if text[: len(token_ids)] == token_ids]
            guesses = text[len(token_ids) : len(token_ids) + self.length]
            wrong = self.calls % (self.length + 1)
            return [*guesses[:wrong], *[(token_id + 1) % 40 for token_id in guesses[wrong:]]]

        return guess


SETTINGS = {
    "greedy": {},
    "with an end": {"end_ids": (3, 7, 11, 20)},
    "penalties": {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "min_new_tokens": 4, "end_ids": (5,)},
    "sampling": {"do_sample": True, "temperature": 1.5, "top_k": 20, "seed": 4},
    "log-probabilities": {"log_probabilities": True},
}


# Where each loop is compiled, the setting that decides most is enough.
NAMES = SETTINGS if keras.backend.backend() == "torch" else ("sampling",)


@pytest.mark.parametrize("name", NAMES)
def test_the_tokens_are_those_without_guesses(model, small, name):
    config = kt.GenerationConfig(max_new_tokens=40, **SETTINGS[name])
    plain = model.generate_ids(TEXTS, config)
    texts = [text + row.tolist() for text, row in zip(TEXTS, plain.token_ids, strict=True)]
    drafts = [PromptLookup(4, 2), DraftModel(small, 3), DraftModel(model, 3), Oracle(texts)]
    if keras.backend.backend() != "torch":
        drafts = drafts[-1:] if name == "sampling" else [drafts[0], drafts[-1]]
    for draft in drafts:
        found = model.generate_ids(TEXTS, config, draft=draft)
        assert found.token_ids.tolist() == plain.token_ids.tolist()
        assert found.lengths.tolist() == plain.lengths.tolist()
        if plain.log_probabilities is not None:
            np.testing.assert_allclose(found.log_probabilities, plain.log_probabilities, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(found.scores, plain.scores, rtol=1e-5)


@pytest.mark.each_keras
def test_right_guesses_save_passes(model, monkeypatch):
    config, passes = kt.GenerationConfig(max_new_tokens=40), []
    for name in ("run_segment", "run_ahead"):
        taken = getattr(executors, name)
        monkeypatch.setattr(executors, name, lambda *args, taken=taken, name=name: passes.append(name) or taken(*args))
    model.generate_ids(TEXTS[:1], config, draft=DraftModel(model, 7))
    ahead = passes.count("run_ahead")
    assert ahead == 5, "one token, and then eight at a time"


@pytest.mark.each_keras
def test_guesses_end_with_the_context(small):
    model = fill(decoder_alone(40, context_length=24), scale=0.6)
    config = kt.GenerationConfig(max_new_tokens=60)
    plain = model.generate_ids(TEXTS, config)
    assert plain.lengths.tolist() == [25 - len(text) for text in TEXTS]
    for draft in (DraftModel(model, 4), DraftModel(small, 4)):
        assert model.generate_ids(TEXTS, config, draft=draft).token_ids.tolist() == plain.token_ids.tolist()


def test_look_up_guesses_what_followed_last_time():
    guess = PromptLookup(length=3, ngram=2).guesser(None)
    assert guess([1, 2, 3, 4, 9, 1, 2]) == [3, 4, 9]
    assert guess([1, 2, 3, 5, 2, 7, 8, 1, 2]) == [3, 5, 2], "two tokens before one"
    assert guess([1, 2, 3, 1, 2, 4, 1, 2]) == [4, 1, 2], "the last place"
    assert guess([7, 2, 8, 2]) == [8, 2]
    assert guess([1, 2, 3]) == guess([1]) == []


@pytest.mark.each_keras
def test_text_and_stop_strings(writer_of_text):
    plain = writer_of_text.generate(SENTENCES, max_new_tokens=30)
    draft = DraftModel(writer_of_text, 4)
    assert writer_of_text.generate(SENTENCES, max_new_tokens=30, draft=draft) == plain
    assert "".join(writer_of_text.stream(SENTENCES[0], max_new_tokens=30, draft=draft)) == plain[0]
    options = {"max_new_tokens": 30, "stop": (plain[1][6:9],)}
    stopped = writer_of_text.generate(SENTENCES, **options)
    assert writer_of_text.generate(SENTENCES, draft=draft, **options) == stopped


def test_what_cannot_be_guessed_ahead(model):
    for settings in ({"num_beams": 2}, {"do_sample": True, "num_return_sequences": 2}):
        with pytest.raises(ValueError, match="Expected num_beams=1 and num_return_sequences=1 with a draft"):
            model.generate_ids(TEXTS, kt.GenerationConfig(**settings), draft=PromptLookup())
    with pytest.raises(ValueError, match="the model's vocabulary of 40 tokens, got one with 50"):
        model.generate_ids(TEXTS, kt.GenerationConfig(), draft=DraftModel(decoder_alone(50)))
    with pytest.raises(ValueError, match="length and ngram of at least 1, got length=0"):
        PromptLookup(length=0)
    with pytest.raises(ValueError, match="length of at least 1, got 0"):
        DraftModel(model, 0)
