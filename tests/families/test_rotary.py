"""Rotary positions as files say them: by version 4 of transformers and by 5, and what is refused."""

import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.families.registry import families
from keras_transformers.layers import DynamicScaling, LinearScaling, Llama3Scaling, LongScaling, Rotary, YarnScaling
from tests.layers.reference import relative_error

BASE = {"hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 64}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
SCALINGS = {
    "linear": ({"rope_type": "linear", "factor": 2.0}, LinearScaling(2.0)),
    "old name": ({"type": "linear", "factor": 2}, LinearScaling(2)),
    "both names": ({"type": "linear", "rope_type": "linear", "factor": 2.0}, LinearScaling(2.0)),
    "dynamic": ({"rope_type": "dynamic", "factor": 2.0}, DynamicScaling(2.0, 64)),
    "llama3": (LLAMA3, Llama3Scaling(8.0, 1.0, 4.0, 16)),
    "yarn": ({"rope_type": "yarn", "factor": 4.0, "beta_fast": 16.0}, YarnScaling(4.0, 64, fast=16.0)),
    "yarn by lengths": ({"rope_type": "yarn", "original_max_position_embeddings": 16}, YarnScaling(4.0, 16)),
    "yarn of DeepSeek": (
        {"rope_type": "yarn", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.5, "truncate": False},
        YarnScaling(4.0, 64, (0.1 * np.log(4.0) + 1) / (0.05 * np.log(4.0) + 1), truncate=False),
    ),
}


def rotary(model_type="llama", **values):
    config = families()[model_type].config(BASE | values)
    return config.decoder.block.attention.positions


@pytest.mark.one_backend
@pytest.mark.parametrize("name", SCALINGS)
def test_both_versions_say_the_same(name):
    parameters, scaling = SCALINGS[name]
    expected = Rotary(500.0, scaling=scaling)
    assert rotary(rope_theta=500.0, rope_scaling=parameters) == expected
    assert rotary(rope_parameters={"rope_theta": 500.0, **parameters}) == expected
    assert rotary(rope_theta=500.0, rope_parameters=parameters) == expected
    both = {"rope_parameters": {"rope_theta": 500.0, **parameters}, "rope_scaling": parameters, "rope_theta": 500.0}
    assert rotary(**both) == expected
    assert rotary(**both | {"rope_parameters": {"rope_theta": 500.0}}) == expected


@pytest.mark.one_backend
@pytest.mark.parametrize("name", SCALINGS)
def test_what_is_written_is_read(name):
    family = families()["llama"]
    config = family.config(BASE | {"rope_theta": 500.0, "rope_scaling": SCALINGS[name][0]})
    assert family.config(family.write(config)) == config


@pytest.mark.one_backend
@pytest.mark.parametrize("kind", ["longrope", "su"])
def test_phi_3s_factors(kind):
    factors = {"short_factor": [1, 1.5], "long_factor": [2, 3.5]}
    values = {"original_max_position_embeddings": 16, "partial_rotary_factor": 0.5, "num_key_value_heads": 4}
    found = rotary("phi3", rope_scaling={"type": kind, **factors}, vocab_size=33000, **values)
    assert found == Rotary(fraction=0.5, scaling=LongScaling((1, 1.5), (2, 3.5), 4.0, 16))


@pytest.mark.one_backend
@pytest.mark.parametrize(
    "values, message",
    [
        ({"rope_scaling": {"rope_type": "spiral"}}, "rope_scaling: expected a rope_type of 'default', 'linear'"),
        ({"rope_scaling": {"rope_type": "linear"}}, "rope_scaling: .*missing.*'factor'"),
        ({"rope_scaling": {"rope_type": "linear", "factor": "2"}}, "field 'factor' is '2', expected float"),
        (
            {"rope_theta": 5.0, "rope_parameters": {"rope_theta": 6.0}},
            "rope_theta: expected 6.0, as rope_param.*got 5.0",
        ),
        (
            {"rope_scaling": SCALINGS["linear"][0], "rope_parameters": {"rope_type": "linear", "factor": 3.0}},
            "rope_scaling and rope_parameters: expected the same, got .*2.0.* and .*3.0",
        ),
        (
            {"rope_scaling": LLAMA3, "original_max_position_embeddings": 8},
            "original_max_position_embeddings: expected 16, as rope_scaling says, got 8",
        ),
        (
            {"rope_scaling": {"type": "linear", "factor": 2.0, "mrope": 1}, "auto_map": {"AutoConfig": "mine.Config"}},
            "rope_scaling: mrope: unknown, and the folder's own code, which auto_map names, may read it",
        ),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "only partial_rotary_factor=1.0 is supported, got 0.5"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: only 1.0"),
        ({"rope_parameters": "yarn"}, "rope_parameters: expected dict, got 'yarn'"),
    ],
)
def test_what_is_not_computed_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        rotary(**values)


@pytest.mark.one_backend
def test_parameters_that_transformers_passes_by_are_passed_by_with_a_warning():
    with pytest.warns(UserWarning, match="computes with 'rope_scaling: finetuned', 'rope_scaling: mrope'"):
        found = rotary(rope_scaling={"rope_type": "linear", "factor": 2.0, "finetuned": True, "mrope": 1})
    assert found == Rotary(scaling=LinearScaling(2.0))


@pytest.mark.one_backend
def test_the_length_before_a_scaling_may_have_a_key_of_its_own():
    scaling = {name: value for name, value in LLAMA3.items() if not name.startswith("original")}
    assert rotary(rope_scaling=scaling, original_max_position_embeddings=16) == rotary(rope_scaling=LLAMA3)


@pytest.mark.one_backend
def test_dynamic_scaling_begins_at_the_longest_text_whatever_the_file_says():
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 16}
    with pytest.warns(UserWarning, match="rope_scaling: original_max_position_embeddings"):
        assert rotary(rope_scaling=dynamic) == Rotary(scaling=DynamicScaling(2.0, 64))


@pytest.mark.one_backend("torch")
def test_a_base_that_grows_with_the_text_is_what_transformers_computes(tmp_path):
    """No case of the conformance suite: what was read before a text grew keeps its angles, in transformers too."""
    import torch
    import transformers

    torch.manual_seed(0)
    dynamic = {"rope_type": "dynamic", "rope_theta": 50.0, "factor": 4.0}
    values = BASE | {"vocab_size": 67, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 16}
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**values, rope_parameters=dynamic)).eval()
    theirs.save_pretrained(tmp_path)
    ours = kt.CausalLM.from_preset(tmp_path)
    token_ids = np.random.default_rng(0).integers(1, 67, (2, 40))
    for length in (40, 10, 17):
        with torch.no_grad():
            wanted = theirs(torch.tensor(token_ids[:, :length])).logits.numpy()
        assert relative_error(ops.convert_to_numpy(ours(token_ids[:, :length])), wanted) <= 1e-5
