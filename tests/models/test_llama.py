"""Llama and its relatives compute what transformers does, with a cache too, until the conformance suite says so."""

import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")

SMALL = {
    "vocab_size": 67,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 16,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 50.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8,
}
YARN = {"rope_type": "yarn", "rope_theta": 50.0, "factor": 4.0, "original_max_position_embeddings": 8}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 50.0,
    "partial_rotary_factor": 0.5,
    "short_factor": [1.1, 1.2],
    "long_factor": [2.3, 4.0],
}
GROUPED = SMALL | {"num_key_value_heads": 2, "rms_norm_eps": 1e-3, "pad_token_id": 3, "head_dim": 12}
BIASED = {"attention_bias": True, "mlp_bias": True}
FULL, SLIDING = "full_attention", "sliding_attention"
WINDOWS = {"use_sliding_window": True, "sliding_window": 7}
GEMMA2 = {
    "sliding_window": 7,
    "query_pre_attn_scalar": 17,
    "final_logit_softcapping": 3.0,
    "attn_logit_softcapping": 2.0,
}
TWO_BASES = {
    FULL: {"rope_type": "linear", "factor": 3.0, "rope_theta": 60.0},
    SLIDING: {"rope_type": "default", "rope_theta": 20.0},
}
CASES = {
    "llama": ("llama", SMALL),
    "llama3": ("llama", GROUPED | {"tie_word_embeddings": True, "rope_parameters": LLAMA3}),
    "llama-biases": ("llama", SMALL | BIASED),
    "mistral": ("mistral", GROUPED | {"sliding_window": 7}),
    "qwen2": ("qwen2", GROUPED | WINDOWS | {"max_window_layers": 1, "rope_parameters": YARN}),
    "qwen3": ("qwen3", GROUPED | WINDOWS | {"layer_types": [SLIDING, FULL, SLIDING], "attention_bias": True}),
    "smollm3": ("smollm3", GROUPED | WINDOWS | BIASED | {"no_rope_layer_interval": 2}),
    "olmo2": ("olmo2", GROUPED | {"attention_bias": True}),
    "phi3": ("phi3", GROUPED | {"head_dim": 8, "rope_parameters": LONG, "original_max_position_embeddings": 10}),
    "gemma": ("gemma", GROUPED | {"attention_bias": True}),
    "gemma2": ("gemma2", GROUPED | GEMMA2),
    "mixtral": ("mixtral", GROUPED | {"num_local_experts": 5, "num_experts_per_tok": 3, "sliding_window": 7}),
    "qwen3_moe": ("qwen3_moe", GROUPED | {"num_experts": 9, "moe_intermediate_size": 24, "num_experts_per_tok": 2}),
    "gemma3": (
        "gemma3_text",
        GROUPED | GEMMA2 | {"layer_types": [SLIDING, SLIDING, FULL], "rope_parameters": TWO_BASES},
    ),
}


@pytest.fixture(params=CASES)
def models(request, tmp_path):
    """transformers' model of a case and ours of the files that it saves, with numbers that show every weight."""
    import torch
    import transformers

    model_type, values = CASES[request.param]
    torch.manual_seed(0)
    theirs = transformers.AutoModelForCausalLM.from_config(transformers.CONFIG_MAPPING[model_type](**values)).eval()
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            weight.copy_(torch.randn(weight.shape) * 0.2 + float(name.endswith("norm.weight")))
    theirs.save_pretrained(tmp_path / "theirs")
    return theirs, kt.CausalLM.from_preset(tmp_path / "theirs"), tmp_path


TOKENS = np.random.default_rng(0).integers(1, 67, (2, 40))


def test_logits_and_hidden_states_agree(models):
    import torch

    theirs, ours, _ = models
    with torch.no_grad():
        wanted = theirs(torch.tensor(TOKENS), output_hidden_states=True)
    assert relative_error(ops.convert_to_numpy(ours(TOKENS)), wanted.logits.numpy()) <= 1e-5
    found = ours.backbone(TOKENS, return_hidden_states=True)["hidden_states"]
    for one, other in zip(found, wanted.hidden_states, strict=True):
        assert relative_error(ops.convert_to_numpy(one), other.numpy()) <= 1e-5


def test_a_cache_changes_nothing(models):
    _, ours, _ = models
    cache, outputs = ours.backbone.start_cache(2, 40), []
    for first, end in ((0, 13), *((each, each + 1) for each in range(13, 40))):
        output, cache = ours.backbone.decode(TOKENS[:, first:end], cache)
        outputs.append(ops.convert_to_numpy(output))
    assert relative_error(np.concatenate(outputs, axis=1), ops.convert_to_numpy(ours.backbone(TOKENS))) <= 1e-5


def test_files_come_back_byte_for_byte(models):
    _, ours, folder = models
    ours.save_to_preset(folder / "ours")
    for file in ("config.json", "model.safetensors"):
        assert (folder / "ours" / file).read_bytes() == (folder / "theirs" / file).read_bytes(), file
