"""Configurations as published files of GPT-2's relatives have them, old spellings and foreign keys included."""

import dataclasses

import pytest

from keras_transformers.families.registry import describing, families
from keras_transformers.layers.positions import Alibi, Rotary

pytestmark = pytest.mark.one_backend


def config(model_type, **values):
    return families()[model_type].config(values)


def test_keys_by_either_of_their_names():
    usual = config("gpt2", n_embd=64, n_head=4, n_layer=3, n_positions=20)
    told = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 3, "max_position_embeddings": 20}
    assert config("gpt2", **told) == usual
    assert config("bloom", n_embed=64, num_attention_heads=4) == config("bloom", hidden_size=64, n_head=4)
    with pytest.raises(ValueError, match="n_embd and hidden_size: expected one value, got 64 and 32"):
        config("gpt2", n_embd=64, hidden_size=32)


@pytest.mark.parametrize(
    ("told", "residual", "groups", "positions"),
    [
        ({}, "parallel_shared", 1, Rotary()),
        ({"num_kv_heads": 71}, "parallel_shared", 1, Rotary()),
        ({"new_decoder_architecture": True, "num_attention_heads": 128, "num_kv_heads": 8}, "parallel", 8, Rotary()),
        (
            {"new_decoder_architecture": True, "num_attention_heads": 128, "num_kv_heads": 8}
            | {"num_ln_in_parallel_attn": 1, "rope_theta": 500042.0, "ff_factor": 4},
            *("parallel_shared", 8, Rotary(500042.0)),
        ),
        (
            {"alibi": True, "multi_query": False, "parallel_attn": False, "num_attention_heads": 32},
            *("sequential", 32, Alibi(rounded=True)),
        ),
    ],
    ids=["7b", "7b-older", "40b", "11b", "rw-1b"],
)
def test_what_falcons_sizes_are(told, residual, groups, positions):
    block = config("falcon", **{"hidden_size": 128 * 71} | told).decoder.block
    assert (block.residual, block.attention.num_key_value_heads) == (residual, groups)
    assert block.attention.positions == positions


@pytest.mark.parametrize(
    ("model_type", "told", "message"),
    [
        ("falcon", {"num_kv_heads": 8}, "num_kv_heads: only num_attention_heads=71 is supported here, got 8"),
        ("falcon", {"new_decoder_architecture": True, "parallel_attn": False}, "parallel_attn: only True"),
        ("falcon", {"attention_dropout": 0.1}, "attention_dropout: only 0.0 is supported, got 0.1"),
        ("gptj", {"rotary_dim": 512}, "rotary_dim: expected from 1 to 256, the width of a head, got 512"),
        ("bloom", {"slow_but_exact": True}, "slow_but_exact: only False is supported, got True"),
        ("phi", {"partial_rotary_factor": 2.0}, "'fraction' is 2.0, expected float above 0 and at most 1"),
        (
            "gpt_neox",
            {"rope_scaling": {"type": "far", "factor": 2.0}},
            "rope_scaling: .*expected a rope_type of .* got 'far'",
        ),
    ],
)
def test_what_is_refused(model_type, told, message):
    with pytest.raises(ValueError, match=message):
        config(model_type, **told)


def test_a_checkpoint_of_version_4_of_pythia():
    """Its head's matrix has another name there, and what was read under that name is written under it."""
    import numpy as np

    family = families()["gpt_neox"]
    shape = config("gpt_neox", vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    head = family.head("CausalLM")
    table = family.table(shape, head)
    weights = {"head.dense.kernel": np.arange(56.0).reshape(8, 7), "embedding.token.embeddings": np.ones((7, 8))}
    for name in ("embed_out.weight", "lm_head.weight"):
        theirs = {
            name: weights["head.dense.kernel"].T,
            "gpt_neox.embed_in.weight": weights["embedding.token.embeddings"],
        }
        read = table.read(theirs, weights)
        for ours, array in weights.items():
            np.testing.assert_array_equal(read[ours], array)
        written = table.write(weights, like=theirs)
        assert written.keys() == theirs.keys()
        np.testing.assert_array_equal(written[name], theirs[name])


def test_what_no_family_can_say_is_no_familys():
    """Whatever a family's writer makes of it: ModernBERT has names for two poolings."""
    usual = config("modernbert", vocab_size=60000)
    assert describing(usual).model_type == "modernbert"
    assert describing(dataclasses.replace(usual, pooler=dataclasses.replace(usual.pooler, pooling="last"))) is None
