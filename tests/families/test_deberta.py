"""DeBERTa: both names of the head of a masked language model, and the keys that are refused."""

import dataclasses

import numpy as np
import pytest

from keras_transformers.families.fields import Inexpressible
from keras_transformers.families.registry import families
from keras_transformers.formats import preset, safetensors_files
from tests.conformance import checkpoints, outputs, reference
from tests.conformance.cases import CASES, CHECKPOINTS
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")

NAME = "deberta-v2/DebertaV2ForMaskedLM"
OTHER_NAMES = {"cls.predictions.transform.": "lm_predictions.lm_head.", "cls.predictions.": "lm_predictions.lm_head."}


def _renamed(name):
    return next((name.replace(ours, theirs) for ours, theirs in OTHER_NAMES.items() if name.startswith(ours)), name)


def test_the_head_of_a_masked_language_model_may_have_its_authors_names(tmp_path):
    case, head = CHECKPOINTS[NAME]
    tensors = {_renamed(name): array for name, array in checkpoints.tensors(case, head).items()}
    assert sum(name.startswith("lm_predictions") for name in tensors) == 5
    # of the head that told replaced tokens in training
    tensors |= {f"mask_predictions.{name}": np.ones((1, 32), "float32") for name in ("dense.weight", "LayerNorm.bias")}
    tensors["deberta.embeddings.position_embeddings.weight"] = np.ones((40, 32), "float32")
    files = {"config.json": preset.json_bytes(case.config_file(head) | {"legacy": False})}
    files |= {preset.WEIGHTS: lambda file: safetensors_files.write_tensors(file, tensors)}
    preset.save_folder(tmp_path / "theirs", files)
    theirs, ours = reference.load(tmp_path / "theirs", head), checkpoints.load(tmp_path / "theirs", head)
    inputs = outputs.inputs(case)
    found, wanted = outputs.ours(ours, inputs), outputs.theirs(theirs, case, inputs)
    assert relative_error(outputs.compared(found, case, inputs), outputs.compared(wanted, case, inputs)) <= 1e-5
    ours.save_to_preset(tmp_path / "ours")
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "theirs" / file).read_bytes()


@pytest.mark.parametrize(
    "values, message",
    [
        ({"relative_attention": True}, "relative_attention and pos_att_type: expected .* got True and None"),
        ({"relative_attention": True, "pos_att_type": "p2p"}, "got True and 'p2p'"),
        ({"relative_attention": True, "pos_att_type": ["c2p", 1]}, r"got True and \['c2p', 1\]"),
        ({"pos_att_type": ["c2p"]}, r"got False and \['c2p'\]"),
        ({"max_relative_positions": -2}, "max_relative_positions: expected a number of positions, or -1, got -2"),
        ({"norm_rel_ebd": "batch_norm"}, "norm_rel_ebd: expected none or layer_norm, got 'batch_norm'"),
        ({"conv_kernel_size": 2}, "Expected an odd kernel_size, got 2"),
        ({"conv_groups": 2}, "conv_groups: only 1 is supported, got 2"),
        ({"pad_token_id": -1}, "pad_token_id: expected the id by which an encoder tells padding, got -1"),
        ({"attention_head_size": 8}, "attention_head_size: expected 64, as hidden_size / num_attention_heads says"),
        ({"pooler_hidden_size": 8}, "pooler_hidden_size: expected 1536, as hidden_size says, got 8"),
    ],
)
def test_values_that_are_not_supported_are_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        families()["deberta-v2"].config(values)


def test_a_string_lists_the_terms_too():
    case = CASES["deberta-v2"]
    assert case.family.config(case.values | {"pos_att_type": "P2C | c2p"}) == case.config


def test_a_model_without_a_longest_text_is_another_familys():
    config = CASES["deberta-v2"].config
    embeddings = dataclasses.replace(config.embeddings, context_length=None)
    with pytest.raises(Inexpressible, match="no longest text"):
        families()["deberta-v2"].write(dataclasses.replace(config, embeddings=embeddings))
