"""Penalties and samplers beside transformers' own, on random logits: what sampling draws from is the same."""

import numpy as np
import pytest

pytestmark = pytest.mark.one_backend("torch")

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from keras_transformers.generation import GenerationConfig  # noqa: E402
from keras_transformers.generation.penalties import History, penalized  # noqa: E402
from keras_transformers.generation.settings import penalties, samplers  # noqa: E402

ROWS, VOCABULARY, PROMPT, LENGTH = 6, 40, 5, 24
SOURCES = np.random.default_rng(1).integers(0, 12, (ROWS, 30)).astype("int32")

SETTINGS = {
    "temperature": {"temperature": 0.6},
    "top k": {"top_k": 7},
    "top p": {"top_p": 0.8},
    "min p": {"min_p": 0.1},
    "repetition": {"repetition_penalty": 1.4},
    "n-grams": {"no_repeat_ngram_size": 2},
    "bad words": {"bad_words_ids": ((3,), (8, 9), (5, 6, 7))},
    "bad words, one the end": {"bad_words_ids": ((4,), (8, 9), (2,))},
    "not too short": {"min_new_tokens": 20},
    "not too short in all": {"min_length": 25},
    "n-grams of the source": {"encoder_no_repeat_ngram_size": 2},
    "tokens of the source": {"encoder_no_repeat_ngram_size": 1},
    "suppressed": {"suppress_tokens": (3, 7)},
    "all": {
        "temperature": 1.7,
        "top_k": 20,
        "top_p": 0.9,
        "min_p": 0.02,
        "repetition_penalty": 0.8,
        "no_repeat_ngram_size": 3,
        "bad_words_ids": ((1,), (2, 3)),
        "min_new_tokens": 20,
    },
}


def theirs(logits, token_ids, prompt_length=PROMPT, **settings):
    for name in {"bad_words_ids", "suppress_tokens", "begin_suppress_tokens"} & set(settings):
        settings[name] = [list(each) if isinstance(each, tuple) else each for each in settings[name]]
    settings = {"top_k": 0, "max_length": 60, **settings}
    config = transformers.GenerationConfig(do_sample=True, eos_token_id=[4, 11], pad_token_id=0, **settings)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
        )
    )
    model._prepare_special_tokens(config, device="cpu")
    options = {"input_ids_seq_length": prompt_length, "encoder_input_ids": torch.as_tensor(SOURCES), "device": "cpu"}
    processors = model._get_logits_processor(config, **options)
    return processors(torch.as_tensor(token_ids).long(), torch.as_tensor(logits))


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_drawn_from_is_what_transformers_draws_from(name):
    random = np.random.default_rng(0)
    logits = random.normal(size=(ROWS, VOCABULARY)).astype("float32") * 3
    token_ids = random.integers(0, 12, (ROWS, LENGTH)).astype("int32")
    found = ours(logits, token_ids, PROMPT, **SETTINGS[name])
    expected = theirs(logits, token_ids, **SETTINGS[name])
    assert not torch.equal(expected, torch.as_tensor(logits))
    np.testing.assert_allclose(found.softmax(-1).numpy(), expected.softmax(-1).numpy(), rtol=1e-5, atol=1e-8)


def ours(logits, token_ids, prompt_length, limit=30, **settings):
    config = GenerationConfig(do_sample=True, end_ids=(4, 11), **settings)
    written = torch.as_tensor(token_ids)
    history = History.of(written, prompt_length, written.shape[1], limit, torch.as_tensor(SOURCES))
    found = penalized(penalties(config), torch.as_tensor(logits), history)
    for sampler in samplers(config):
        found = sampler(found)
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {"forced_start_id": 9},
        {"forced_end_id": 4},
        {"forced_end_id": (4, 11)},
        {"forced_start_id": 9, "begin_suppress_tokens": (3, 8)},
        {"begin_suppress_tokens": (3, 8)},
        {"forced_start_id": 9, "forced_end_id": 4, "begin_suppress_tokens": (3, 8), "suppress_tokens": (0,)},
    ],
)
@pytest.mark.parametrize("prompt_length", [1, 3])
def test_what_is_forced_or_suppressed_at_either_end(settings, prompt_length):
    """At every place of a text of up to eight tokens."""
    random = np.random.default_rng(0)
    names = {"forced_start_id": "forced_bos_token_id", "forced_end_id": "forced_eos_token_id"}
    translated = {names.get(name, name): value for name, value in settings.items()}
    if isinstance(translated.get("forced_eos_token_id"), tuple):
        translated["forced_eos_token_id"] = list(translated["forced_eos_token_id"])
    changed = 0
    for length in range(prompt_length, 8):
        logits = random.normal(size=(ROWS, VOCABULARY)).astype("float32")
        token_ids = random.integers(0, 12, (ROWS, length)).astype("int32")
        found = ours(logits, token_ids, prompt_length, limit=8 - prompt_length, **settings)
        expected = theirs(logits, token_ids, prompt_length, max_length=8, **translated)
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
        changed += not torch.equal(expected, torch.as_tensor(logits))
    assert changed or (prompt_length > 1 and set(settings) == {"forced_start_id"})
