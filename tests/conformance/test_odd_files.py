"""Files with keys that tools and old releases left beside the family's: transformers computes the same from them, and
they come back byte for byte."""

import json
import warnings

import pytest

from tests.conformance import checkpoints, outputs, reference
from tests.conformance.cases import CHECKPOINTS
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")

TOOLS = {"author": "somebody", "license": "mit", "unsloth_version": "2025.5.1", "export_model_type": "transformer"}
TOOLS |= {"adapters": {"adapters": {}, "config_map": {}}, "xla_device": None}
# Of a checkpoint: what stands in its file besides, and which of those keys nobody knows.
FILES = {
    "distilbert/DistilBertForMaskedLM": ({"tie_weights_": True, "is_gpu": True}, {"is_gpu"}),
    "bert/BertForMaskedLM": (
        {"emb_size": 32, "embedding_size": 32, "uniem_embedding_strategy": "last_mean", **TOOLS},
        {"uniem_embedding_strategy", *TOOLS} - {"xla_device"},
    ),
    "bert/BertForSequenceClassification": (
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        set(),
    ),
    "gpt2/GPT2LMHeadModel": ({"n_special": 0, "predict_special_tokens": True}, {"n_special", "predict_special_tokens"}),
    "gpt_neox/GPTNeoXForCausalLM": ({"rope_theta": 500, "partial_rotary_factor": 0.5, "head_dim": 8}, set()),
    "modernbert/ModernBertForMaskedLM": (
        {"repad_logits_with_grad": False, "layer_norm_eps": 0.001, "position_embedding_type": "absolute"},
        set(),
    ),
    "phi3/Phi3ForCausalLM": ({"ignore_keys_at_rope_validation": None}, set()),
    "gemma2/Gemma2ForCausalLM": ({"sliding_window_size": 5}, set()),
    "qwen3_moe/Qwen3MoeForCausalLM": (
        {"use_qk_norm": True, "qkv_bias": False, "shared_expert_intermediate_size": 0},
        set(),
    ),
    "llama/LlamaForCausalLM": ({"max_sequence_length": 64, "unsloth_fixed": True}, {"unsloth_fixed"}),
    "marian/MarianMTModel": ({"do_blenderbot_90_layernorm": False}, set()),
    "t5/T5ForConditionalGeneration": ({"dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True}, set()),
    "bart/BartForConditionalGeneration": ({"hidden_size": 32, "num_hidden_layers": 2, "save_step": 58}, {"save_step"}),
}


@pytest.mark.parametrize("name", FILES)
def test_transformers_computes_the_same_from_it(name, tmp_path):
    case, head = CHECKPOINTS[name]
    values, unknown = FILES[name]
    text = json.dumps({**values, **case.config_file(head)})
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.safetensors").symlink_to(checkpoints.folder(name) / "model.safetensors")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = checkpoints.load(tmp_path, head)
        told = [str(each.message) for each in caught if "neither this library nor" in str(each.message)]
    assert len(told) == bool(unknown)
    assert {key for key in values if told and f"'{key}'" in told[0]} == unknown
    inputs = outputs.inputs(case)
    found, wanted = outputs.ours(model, inputs), outputs.theirs(reference.load(tmp_path, head), case, inputs)
    assert relative_error(outputs.compared(found, case, inputs), outputs.compared(wanted, case, inputs)) <= 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # said once is enough
        model.save_to_preset(tmp_path / "saved")
    assert (tmp_path / "saved" / "config.json").read_text() == text


def test_they_stay_when_the_configuration_changes(tmp_path):
    name = "gpt2/GPT2LMHeadModel"
    case, head = CHECKPOINTS[name]
    names = {usual: other for other, usual in case.family.aliases}
    values = {names.get(key, key): value for key, value in case.config_file(head).items()} | {"license": "mit"}
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "model.safetensors").symlink_to(checkpoints.folder(name) / "model.safetensors")
    with pytest.warns(UserWarning, match="computes with 'license'"):
        model = checkpoints.load(tmp_path, head).with_vocabulary(80)
    model.save_to_preset(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert saved["license"] == "mit"
    assert saved["vocab_size"] == reference.load(tmp_path / "saved", head).config.vocab_size == 80
    with pytest.warns(UserWarning, match="computes with 'license'"):
        assert checkpoints.load(tmp_path / "saved", head).config == model.config
