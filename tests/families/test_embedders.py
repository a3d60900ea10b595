"""The configurations of published embedders, by their own keys, open in silence and say what their models are."""

import warnings

import pytest

from keras_transformers.families.registry import families, family_of
from keras_transformers.layers import DynamicScaling, LayerNorm, NtkScaling, RMSNorm, Rotary

pytestmark = pytest.mark.one_backend("torch")

_CODE = {"auto_map": {"AutoConfig": "configuration.Config", "AutoModel": "modeling.Model"}}
_NEW = _CODE | {
    "model_type": "new",
    "architectures": ["NewModel"],
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout": None,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "max_position_embeddings": 8192,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pack_qkv": True,
    "pad_token_id": 1,
    "position_embedding_type": "rope",
    "rope_scaling": {"factor": 8.0, "type": "ntk"},
    "rope_theta": 20000,
    "type_vocab_size": 1,
    "unpad_inputs": False,
    "use_memory_efficient_attention": False,
    "vocab_size": 250048,
}
_NOMIC = _CODE | {
    "model_type": "nomic_bert",
    "architectures": ["NomicBertModel"],
    "activation_function": "swiglu",
    "attn_pdrop": 0.0,
    "causal": False,
    "dense_seq_output": True,
    "embd_pdrop": 0.0,
    "fused_bias_fc": True,
    "fused_dropout_add_ln": True,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "n_embd": 768,
    "n_head": 12,
    "n_inner": 3072,
    "n_layer": 12,
    "n_positions": 8192,
    "pad_vocab_size_multiple": 64,
    "parallel_block": False,
    "parallel_block_tied_norm": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "reorder_and_upcast_attn": False,
    "resid_pdrop": 0.0,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": 2,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
    "summary_activation": None,
    "type_vocab_size": 2,
    "use_flash_attn": True,
    "use_rms_norm": False,
    "use_xentropy": True,
    "vocab_size": 30528,
}
_V2 = {
    "activation_function": "gelu",
    "expert_choice_router": False,
    "ffn_div": 1,
    "layer_norm_epsilon": 1e-5,
    "mlp_fc1_bias": True,
    "mlp_fc2_bias": True,
    "moe_every_n_layers": 2,
    "moe_impl": "megablocks",
    "moe_normalize_expert_weights": False,
    "moe_resid_pdrop": 0.0,
    "moe_top_k": 2,
    "n_positions": 2048,
    "num_experts": 8,
    "num_shared_experts": 0,
    "pad_token_id": 1,
    "qkv_proj_bias": True,
    "rotary_emb_base": 10000,
    "rotary_scaling_factor": None,
    "router_aux_loss_coef": 0.1,
    "type_vocab_size": 1,
    "use_rms_norm": None,
    "vocab_size": 250048,
}
_EUROBERT = _CODE | {
    "model_type": "eurobert",
    "architectures": ["EuroBertForMaskedLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token": "<|begin_of_text|>",
    "clf_pooling": "late",
    "eos_token": "<|end_of_text|>",
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_dropout": 0.0,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "mask_token": "<|mask|>",
    "mask_token_id": 128002,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "num_key_value_heads": 12,
    "pad_token": "<|end_of_text|>",
    "pad_token_id": 128001,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 250000,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
}
_JINA_V3 = _CODE | {
    "model_type": "xlm-roberta",
    "architectures": ["XLMRobertaModel"],
    "emb_pooler": "mean",
    "hidden_act": "gelu",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "load_trained_adapters": True,
    "lora_adaptations": ["retrieval.query", "retrieval.passage"],
    "lora_alpha": 1,
    "lora_dropout_p": 0.0,
    "lora_main_params_trainable": False,
    "lora_rank": 4,
    "matryoshka_dimensions": [32, 64],
    "max_position_embeddings": 8194,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "pad_token_id": 1,
    "position_embedding_type": "rotary",
    "rotary_emb_base": 20000.0,
    "task_instructions": {"retrieval.query": "", "retrieval.passage": ""},
    "truncate_dim": None,
    "type_vocab_size": 1,
    "use_flash_attn": True,
    "use_reentrant": False,
    "vocab_size": 250002,
}


def opened(values):
    """The encoder's first block, of a file that opens in silence, and the whole configuration."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = family_of(values, "config.json").config(values)
    return config.encoder.block, config


def test_gte_multilingual():
    block, config = opened(_NEW)
    assert block.attention.positions == Rotary(20000.0, scaling=NtkScaling(8.0))
    assert (block.feed_forward.gated, block.feed_forward.use_bias, config.padding_id) == (True, "output", 1)
    block, _ = opened(_NEW | {"layer_norm_type": "rms_norm", "rope_scaling": None})
    assert (block.norm, block.attention.positions) == (RMSNorm(1e-12), Rotary(20000.0))


def test_arctic_embed_has_the_keys_of_the_published_code_under_the_name_of_transformers():
    block, _ = opened(_NEW | {"model_type": "gte", "rope_theta": 160000, "rope_scaling": None})
    assert block.attention.positions == Rotary(160000.0)


def test_nomic_v1_and_v1_5():
    block, config = opened(_NOMIC)
    assert block.attention.positions == Rotary(1000.0, scaling=DynamicScaling(2.0, 2048))
    assert (block.feed_forward.activation, block.feed_forward.gated, config.head.use_bias) == ("silu", True, False)
    newer = {"hidden_size": 768, "max_position_embeddings": 2048, "rope_parameters": {"rope_theta": 1000.0}}
    block, _ = opened(_NOMIC | newer | {"rotary_scaling_factor": None})
    assert block.attention.positions == Rotary(1000.0)


def test_nomic_v2_has_experts_in_every_second_layer():
    block, config = opened(_NOMIC | _V2)
    assert [each.experts is not None for each in config.encoder.feed_forwards] == [False, True] * 6
    experts = config.encoder.feed_forwards[1].experts
    assert (experts.num_experts, experts.num_chosen, experts.normalize, experts.output_bias) == (8, 2, False, True)
    assert block.feed_forward.use_bias is True and block.norm == LayerNorm(1e-5)


def test_eurobert():
    block, config = opened(_EUROBERT)
    assert block.attention.positions == Rotary(250000.0) and block.norm == RMSNorm(1e-5)
    assert (config.pooler.pooling, config.pooler.by_token, config.padding_id) == ("mean", True, 128001)


def test_jina_v3():
    block, config = opened(_JINA_V3)
    assert block.attention.positions == Rotary(20000.0) and config.embeddings.positions is None


def test_a_family_has_at_most_40_rows():
    counts = {name: len(family.keys.rows) for name, family in families().items()}
    assert max(counts.values()) <= 40, {name: count for name, count in counts.items() if count > 40}
