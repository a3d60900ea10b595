"""Layers of one model that differ in windows and positions, and tables of rows made from a relative's."""

import pytest

from keras_transformers.families.keys import Keys, key
from keras_transformers.families.registry import families
from keras_transformers.layers.positions import Rotary
from keras_transformers.layers.rotary_scaling import LinearScaling

pytestmark = pytest.mark.one_backend("torch")

FULL, SLIDING = "full_attention", "sliding_attention"


def layers(config):
    """The window and the base of each layer."""
    return [(each.window, each.positions.base) for each in config.decoder.attentions]


def test_a_row_takes_the_place_of_a_relatives_row_with_its_name():
    keys = Keys((key("width", 1, "hidden_dim"), key("size", 2, "embeddings.vocabulary_size")))
    relative = keys.but({"size": 3}, key("width", 5, "hidden_dim"), key("padding", 0, "padding_id"))
    assert [(row.names[0], row.default) for row in relative.rows] == [("width", 5), ("size", 3), ("padding", 0)]


@pytest.mark.parametrize("model_type", ["qwen2", "gemma3_text", "qwen3_moe"])
def test_no_layers_are_refused(model_type):
    with pytest.raises(ValueError, match=r"num_layers' is 0|got none by"):
        families()[model_type].config({"num_hidden_layers": 0})


def test_a_value_of_another_type_is_the_only_complaint():
    with pytest.raises(ValueError, match=r"^The configuration does not fit: head_dim: expected int, got 'wide'\.$"):
        families()["llama"].config({"head_dim": "wide"})


def test_windows_without_a_width_are_refused():
    family = families()["qwen2"]
    with pytest.raises(ValueError, match="layer_types: expected a sliding_window for sliding_attention"):
        family.config({"num_hidden_layers": 2, "layer_types": [FULL, SLIDING]})
    with pytest.raises(ValueError, match="layer_types: expected num_hidden_layers=2 of full_attention and sliding"):
        family.config({"num_hidden_layers": 2, "layer_types": [FULL]})


def test_olmo3_scales_the_positions_of_layers_without_a_window():
    family, scaling = families()["olmo3"], {"rope_type": "linear", "factor": 2.0}
    config = family.config({"num_hidden_layers": 4, "rope_theta": 500000.0, "rope_scaling": scaling})
    local, whole = config.decoder.attentions[2:]
    assert (local.window, local.positions) == (4096, Rotary(500000.0))
    assert (whole.window, whole.positions) == (None, Rotary(500000.0, scaling=LinearScaling(2.0)))
    written = family.write(config)
    assert (written["rope_theta"], written["rope_scaling"]) == (500000.0, scaling)
    assert "rope_parameters" not in written


def test_olmo3_writes_two_bases_as_version_5_does():
    family = families()["olmo3"]
    parameters = {
        FULL: {"rope_type": "linear", "rope_theta": 50.0, "factor": 2.0},
        SLIDING: {"rope_type": "default", "rope_theta": 20.0},
    }
    config = family.config({"num_hidden_layers": 4, "rope_parameters": parameters})
    assert layers(config) == [(4096, 20.0)] * 3 + [(None, 50.0)]
    assert family.write(config)["rope_parameters"] == parameters
    assert "rope_theta" not in family.write(config)


def test_a_base_that_versions_of_transformers_understand_differently_is_refused():
    family = families()["olmo3"]
    with pytest.raises(ValueError, match="rope_theta: expected 500000.0, as the base of the layers with a window says"):
        family.config({"num_hidden_layers": 4, "rope_theta": 50.0})
    whole = family.config({"num_hidden_layers": 2, "rope_theta": 50.0, "layer_types": [FULL, FULL]})
    assert layers(whole) == [(None, 50.0)] * 2
    assert family.write(whole)["rope_theta"] == 50.0


@pytest.mark.parametrize(
    ("model_type", "key"),
    [
        ("gemma3_text", "sliding_window_pattern"),
        ("smollm3", "no_rope_layer_interval"),
        ("modernbert", "global_attn_every_n_layers"),
        ("qwen3_moe", "decoder_sparse_step"),
    ],
)
def test_an_interval_of_no_layers_is_refused(model_type, key):
    with pytest.raises(ValueError, match=f"{key}: expected a number of at least 1, got 0"):
        families()[model_type].config({key: 0})
