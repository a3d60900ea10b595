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

SETTINGS = {
    "temperature": {"temperature": 0.6},
    "top k": {"top_k": 7},
    "top p": {"top_p": 0.8},
    "min p": {"min_p": 0.1},
    "repetition": {"repetition_penalty": 1.4},
    "n-grams": {"no_repeat_ngram_size": 2},
    "bad words": {"bad_words_ids": ((3,), (8, 9), (5, 6, 7))},
    "not too short": {"min_new_tokens": 20},
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


def theirs(logits, token_ids, **settings):
    if "bad_words_ids" in settings:
        settings["bad_words_ids"] = list(map(list, settings["bad_words_ids"]))
    settings = {"top_k": 0, **settings}
    config = transformers.GenerationConfig(do_sample=True, eos_token_id=[4, 11], pad_token_id=0, **settings)
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
        )
    )
    model._prepare_special_tokens(config, device="cpu")
    processors = model._get_logits_processor(config, input_ids_seq_length=PROMPT, device="cpu")
    return processors(torch.as_tensor(token_ids).long(), torch.as_tensor(logits))


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_drawn_from_is_what_transformers_draws_from(name):
    random = np.random.default_rng(0)
    logits = random.normal(size=(ROWS, VOCABULARY)).astype("float32") * 3
    token_ids = random.integers(0, 12, (ROWS, LENGTH)).astype("int32")
    config = GenerationConfig(do_sample=True, end_ids=(4, 11), **SETTINGS[name])
    found = penalized(
        penalties(config), torch.as_tensor(logits), History.of(torch.as_tensor(token_ids), PROMPT, LENGTH)
    )
    for sampler in samplers(config):
        found = sampler(found)
    expected = theirs(logits, token_ids, **SETTINGS[name])
    assert not torch.equal(expected, torch.as_tensor(logits))
    np.testing.assert_allclose(found.softmax(-1).numpy(), expected.softmax(-1).numpy(), rtol=1e-5, atol=1e-8)
