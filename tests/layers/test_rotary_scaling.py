"""Scaled rotary positions are what transformers computes, to the bit or the last but one."""

import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongScaling,
    NtkScaling,
    YarnScaling,
)
from keras_transformers.layers.positions import Rotary, rotary_angles
from keras_transformers.layers.rotary_scaling import plain_frequencies

SHORT, LONG = tuple(1 + 0.1 * n for n in range(8)), tuple(2.0 + n for n in range(8))
SCALINGS = {
    "linear": (LinearScaling(3.0), {"factor": 3.0}),
    "dynamic": (DynamicScaling(3.0, 64), {"factor": 3.0}),
    "llama3": (
        Llama3Scaling(4.0, 1.5, 5.0, 48),
        {"factor": 4.0, "low_freq_factor": 1.5, "high_freq_factor": 5.0, "original_max_position_embeddings": 48},
    ),
    "yarn": (YarnScaling(4.0, 48), {"factor": 4.0, "original_max_position_embeddings": 48}),
    "yarn whole": (
        YarnScaling(4.0, 48, 1.5, 6.0, 2.0, False),
        {
            "factor": 4.0,
            "original_max_position_embeddings": 48,
            "attention_factor": 1.5,
            "beta_fast": 6.0,
            "beta_slow": 2.0,
            "truncate": False,
        },
    ),
    "longrope": (
        LongScaling(SHORT, LONG, 4.0, 48),
        {
            "factor": 4.0,
            "original_max_position_embeddings": 48,
            "short_factor": list(SHORT),
            "long_factor": list(LONG),
        },
    ),
}


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("base", [10000.0, 500000.0, 50.0])
@pytest.mark.parametrize("length", [40, 100])
def test_frequencies_are_what_transformers_computes(name, base, length):
    pytest.importorskip("torch")
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaling, parameters = SCALINGS[name]
    kind = name.split()[0]
    config = LlamaConfig(
        hidden_size=64,
        num_attention_heads=4,
        max_position_embeddings=64,
        rope_parameters={"rope_type": kind, "rope_theta": base, **parameters},
    )
    expected, factor = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)
    found, found_factor = scaling.frequencies(base, 16, ops.arange(length, dtype="int32")[None])
    assert found_factor == pytest.approx(factor, rel=1e-12)
    found = ops.convert_to_numpy(found)
    assert found.dtype == "float32"
    # a power that a backend computes in float32 may be a few bits off
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5 if kind == "dynamic" else 1.3e-7)


def test_ntk_scales_the_base_and_the_frequencies():
    found, factor = NtkScaling(8.0).frequencies(20000.0, 16, None)
    wanted = 160000.0 ** (-np.arange(0, 16, 2) / 16) / 8.0 ** (2 / 16)  # as in the code of gte-multilingual
    assert factor == 1.0
    np.testing.assert_allclose(found, wanted, rtol=3e-7)


def test_a_scaling_changes_the_angles():
    positions = np.arange(100, dtype="int32")[None]
    plain = ops.convert_to_numpy(rotary_angles(Rotary(), positions, 16))
    for scaling, _ in SCALINGS.values():
        scaled = ops.convert_to_numpy(rotary_angles(Rotary(scaling=scaling), positions, 16))
        assert np.abs(scaled - plain).max() > 0.1


def test_short_texts_are_not_scaled_by_what_depends_on_the_length():
    found, _ = DynamicScaling(3.0, 64).frequencies(500.0, 16, ops.arange(64, dtype="int32")[None])
    np.testing.assert_allclose(ops.convert_to_numpy(found), plain_frequencies(500.0, 16), rtol=1e-6)


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: LinearScaling(0.5), "a factor and an original length of at least 1, got 0.5"),
        (lambda: DynamicScaling(2.0, 0), "'original_length' is 0, expected int of at least 1"),
        (lambda: DynamicScaling(2.0, 8).frequencies(50.0, 2, None), "at least 4 channels with DynamicScaling, got 2"),
        (lambda: Llama3Scaling(2.0, 4.0, 1.0, 8), "0 < low_frequency_factor < high_frequency_factor, got 4.0 and 1.0"),
        (lambda: LongScaling((1.0,), (1.0, 2.0), 2.0, 8), "as many short_factors as long_factors, got 1 and 2"),
        (
            lambda: LongScaling((1.0,), (2.0,), 2.0, 8).frequencies(50.0, 16, np.zeros((1, 1), "int32")),
            "a factor for each of 8 pairs of channels, got 1",
        ),
    ],
)
def test_scalings_that_cannot_be(make, expected):
    with pytest.raises(ValueError, match=expected):
        make()
