"""Layers of one model that differ in windows and positions, and tables of rows made from a relative's."""

import pytest

from keras_transformers.families.keys import Keys, key
from keras_transformers.families.registry import families

pytestmark = pytest.mark.one_backend("torch")

FULL, SLIDING = "full_attention", "sliding_attention"


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
    with pytest.raises(ValueError, match="layer_types: expected a sliding_window where there is sliding_attention"):
        family.config({"num_hidden_layers": 2, "layer_types": [FULL, SLIDING]})
    with pytest.raises(ValueError, match="layer_types: expected num_hidden_layers=2 of full_attention and sliding"):
        family.config({"num_hidden_layers": 2, "layer_types": [FULL]})
