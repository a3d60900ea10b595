"""Keys of a `config.json` that nobody knows pass with one warning; what may change the numbers is refused by name."""

import re
import warnings

import pytest

from keras_transformers.families.registry import families, family_of

pytestmark = pytest.mark.one_backend("torch")


def config(model_type, **values):
    """The configuration of a file that is to pass in silence."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return families()[model_type].config(values)


# Keys without which a family's published code computes something else.
NEEDED = {
    "hf_nomic_bert": {"activation_function": "swiglu", "rotary_emb_fraction": 1.0},
    "jina_bert": {"feed_forward_type": "geglu"},
}


@pytest.mark.parametrize("model_type", families())
def test_all_unknown_keys_of_a_file_pass_with_one_warning(model_type):
    family, values = families()[model_type], NEEDED.get(model_type, {})
    with pytest.warns(UserWarning) as caught:
        found = family.config(
            {**values, "vocabsize": 3, "license": "mit", "made_up": {}, "empty": None}, where="a file"
        )
    assert len(caught) == 1
    assert str(caught[0].message).startswith(
        f"a file: neither this library nor transformers' {model_type!r} computes with 'vocabsize' (did you mean "
        "'vocab_size'?), 'license', 'made_up'. Such keys change nothing"
    )
    assert found == family.config(values)


@pytest.mark.parametrize("key, value", [("output_router_logits", True), ("router_jitter_noise", 0.01)])
def test_a_key_that_changes_training_alone_passes_with_a_warning(key, value):
    with pytest.warns(UserWarning, match=f"config.json: {key}={value!r} changes how transformers trains the model"):
        found = families()["mixtral"].config({key: value})
    assert found == config("mixtral")


def test_only_a_slip_of_the_pen_is_hinted_at():
    with pytest.warns(UserWarning, match=r"with 'n_heads', 'export_model_type', 'hiddensize' \(did you mean 'hidden_"):
        families()["bert"].config({"n_heads": 12, "export_model_type": "x", "hiddensize": 4})


@pytest.mark.parametrize("model_type", families())
def test_a_null_passes_in_silence(model_type):
    null = {"xla_device": None, "quantization_config": None, "is_causal": None, "ignore_keys_at_rope_validation": None}
    values = NEEDED.get(model_type, {})
    assert config(model_type, **values, **null, auto_map=None) == config(model_type, **values)


@pytest.mark.parametrize(
    "model_type, values, other",
    [
        ("distilbert", {"tie_weights_": True}, {"tie_weights_": False}),
        ("distilbert", {"hidden_size": 24, "dim": 24}, {"hidden_size": 12}),
        ("gpt_neox", {"rotary_emb_base": 5.0, "rope_theta": 5}, {"rope_theta": 6}),
        ("gpt_neox", {"rotary_pct": 0.5, "partial_rotary_factor": 0.5}, {"partial_rotary_factor": 0.25}),
        ("gpt_neox", {"rope_theta": 10000, "partial_rotary_factor": 0.25}, {"rope_theta": 500.0}),
        ("gpt_neox", {"head_dim": 96}, {"head_dim": 48}),
        ("phi", {"head_dim": 64}, {"head_dim": 32}),
        ("modernbert", {"layer_norm_eps": 1e-5, "head_dim": 64}, {"layer_norm_eps": 1e-12}),
        ("modernbert", {"local_attention": 64, "sliding_window": 32}, {"sliding_window": 64}),
        (
            "modernbert",
            {"global_rope_theta": 5.0, "rope_parameters": {"full_attention": {"rope_theta": 5.0}}},
            {"global_rope_theta": 6.0},
        ),
        ("bert", {"emb_size": 768, "embedding_size": 768}, {"emb_size": 312}),
        ("bert", {"embedding_size": 768}, {"embedding_size": 128}),
        ("gemma2", {"sliding_window": 8, "sliding_window_size": 8}, {"sliding_window_size": 16}),
        ("gemma3_text", {"rope_theta": 1e6, "rope_local_base_freq": 1e4}, {}),
        (
            "gemma3_text",
            {"rope_theta": 5.0, "rope_parameters": {"full_attention": {"rope_theta": 5.0}}},
            {"rope_theta": 6.0},
        ),
        ("llama", {"n_kv_heads": 32, "norm_eps": 1e-6, "bias": False}, {"norm_eps": 1e-5}),
        ("llama", {"max_sequence_length": 2048}, {}),
        (
            "qwen3_moe",
            {"use_qk_norm": True, "qkv_bias": False, "shared_expert_intermediate_size": 0},
            {"shared_expert_intermediate_size": 512},
        ),
        ("marian", {"do_blenderbot_90_layernorm": False}, {"do_blenderbot_90_layernorm": True}),
        ("t5", {"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu_pytorch_tanh"}, {"dense_act_fn": "gelu"}),
        ("gptj", {"n_ctx": 2048}, {}),
        ("electra", {"generator_size": "0.25"}, {}),
        ("bert", {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, {}),
    ],
)
def test_what_repeats_a_known_key_passes_in_silence_and_what_contradicts_it_is_refused(model_type, values, other):
    family = families()[model_type]
    found = config(model_type, **values)
    assert family.config(family.write(found)) == found
    for name in other:
        with pytest.raises(ValueError, match=name):
            family.config(values | other)


def test_another_name_alone_counts():
    assert config("modernbert", sliding_window=32) == config("modernbert", local_attention=64)
    assert config("bart", num_hidden_layers=3) == config("bart", encoder_layers=3)


@pytest.mark.parametrize("name, value", [("is_causal", False), ("per_layer_config", {"1": {}}), ("sliding_window", 8)])
def test_what_transformers_reads_of_any_configuration_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}: transformers computes with it, and this library does not, got "):
        families()["gpt_neox"].config({name: value})


@pytest.mark.parametrize(
    "name, value", [("is_causal", True), ("layer_types", ["full_attention"]), ("per_layer_config", {})]
)
def test_what_any_decoder_is_passes_in_silence(name, value):
    assert config("llama", **{name: value}) == config("llama")


def test_what_an_encoder_has_no_use_for_passes():
    with pytest.warns(UserWarning, match="computes with 'is_causal', 'hidden_dropout', 'sliding_window'"):
        families()["bert"].config({"is_causal": False, "hidden_dropout": 0.1, "sliding_window": 8})


@pytest.mark.parametrize("model_type", ["llama", "gpt2"])
def test_the_dropout_of_a_classifier_of_tokens_may_have_another_name(model_type):
    assert config(model_type, hidden_dropout=0.3).token_head.dropout == 0.3
    assert config(model_type, hidden_dropout=0.3, classifier_dropout=0.2).token_head.dropout == 0.2


def test_an_unknown_key_beside_a_folders_own_code_is_refused():
    code = {"AutoConfig": "configuration.Config", "AutoModel": "modeling.Model"}
    with pytest.raises(ValueError, match="unknown key 'emb_pooler': the folder's own code, which auto_map names, may"):
        families()["bert"].config({"auto_map": code, "emb_pooler": "mean"})
    with pytest.warns(
        UserWarning, match=r"a file: auto_map names the folder's own code \(modeling.Model\), which is not"
    ):
        found = families()["bert"].config({"auto_map": code, "emb_pooler": None}, where="a file")
    assert found == config("bert") == config("bert", auto_map={"AutoConfig": "configuration.Config"})


@pytest.mark.parametrize(
    "key, value, named",
    [
        ("quantization_config", {"quant_method": "gptq", "bits": 4, "group_size": 128}, "gptq, 4 bits"),
        ("quantization_config", {"quant_method": "awq", "w_bit": 4}, "awq, 4 bits"),
        ("quantization_config", {"_load_in_4bit": True, "_load_in_8bit": False}, "bitsandbytes, 4 bits"),
        ("quantization_config", {"load_in_8bit": True, "quant_method": "bitsandbytes"}, "bitsandbytes, 8 bits"),
        ("quantization_config", {"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ("quantization_config", {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}, "NVFP4"),
        (
            "quantization_config",
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}},
            "compressed-tensors, 8 bits",
        ),
        ("quantization", {"group_size": 64, "bits": 3}, "3 bits"),
    ],
)
def test_quantized_weights_are_named(key, value, named):
    with pytest.raises(ValueError, match=re.escape(f"{key}: the weights are quantized ({named}), and this library")):
        families()["llama"].config({key: value})


@pytest.mark.parametrize("value", [{}, {"load_in_4bit": False, "load_in_8bit": False, "quant_method": "bitsandbytes"}])
def test_what_is_not_quantized_passes(value):
    assert config("llama", quantization_config=value) == config("llama")


@pytest.mark.parametrize("model_type", ["xlm", "llama4", "gemma3n", "qwen2_moe", "phi4", "mistral3"])
def test_no_other_architecture_is_suggested(model_type):
    with pytest.raises(ValueError, match=re.escape(f"got {model_type!r}.") + "$"):
        family_of({"model_type": model_type}, "config.json")


@pytest.mark.parametrize(
    "model_type, meant", [("GPT-2", "gpt2"), ("xlm_roberta", "xlm-roberta"), ("m2m100", "m2m_100")]
)
def test_another_spelling_of_an_architecture_is_hinted_at(model_type, meant):
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        family_of({"model_type": model_type}, "config.json")


def test_the_part_of_a_wrapper_that_is_known_is_named():
    values = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}, "vision_config": {"hidden_size": 3}}
    with pytest.raises(ValueError, match="got 'gemma3', which holds a 'gemma3_text' in its text_config: this library"):
        family_of(values, "config.json")


def test_a_file_without_a_model_type_is_of_the_family_of_its_architecture():
    assert family_of({"architectures": ["BertForMaskedLM"]}, "config.json") is families()["bert"]
    with pytest.raises(ValueError, match="got none: pass model_type="):
        family_of({"architectures": ["XLMModel"]}, "config.json")


def test_an_architecture_of_another_family_is_named_in_a_refusal():
    with pytest.raises(ValueError, match=re.escape("architectures: ['MarianMTModel'] belongs to model_type 'marian'.")):
        families()["bart"].config({"architectures": ["MarianMTModel"], "static_position_embeddings": True})
