"""The cases of Llama and its relatives, by name: `(model_type, values)`. The first of each family has no windows but
those that it always has."""

FULL, SLIDING = "full_attention", "sliding_attention"
_LLAMA = {
    "vocab_size": 67,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "hidden_act": "gelu",
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-3,
    "pad_token_id": 5,
    "tie_word_embeddings": True,
    "rope_theta": 50.0,
    "attention_dropout": 0.3,
    "classifier_dropout": 0.4,
}
_BIASES = {"attention_bias": True, "mlp_bias": True}
_SMALL = {"num_hidden_layers": 2}
_UNTIED = {"tie_word_embeddings": False, "hidden_act": "gelu_new"}
_LINEAR = {"rope_type": "linear", "factor": 3.0}
# as version 5 writes them, with the base
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 50.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 50.0,
    "factor": 4.0,
    "beta_fast": 4.0,
    "beta_slow": 1.5,
    "original_max_position_embeddings": 64,
}
_YARN_WHOLE = _YARN | {"attention_factor": 1.2, "truncate": False}
_WINDOWS = {"use_sliding_window": True, "sliding_window": 5, "layer_types": [SLIDING, FULL]}
# all of these texts are longer than the original length, also by themselves
_LONG = {
    "type": "longrope",
    "short_factor": [1.1, 1.2, 1.3],
    "long_factor": [2.3, 3.0, 4.0],
}
_GEMMA2 = {
    "sliding_window": 5,
    "layer_types": [SLIDING, FULL],
    "query_pre_attn_scalar": 17,
    "final_logit_softcapping": 3.0,
    "hidden_activation": "relu",
}
_EXPERTS = {"num_experts_per_tok": 3, "sliding_window": 5}


def _llama(model_type, *changes, without=()):
    values = dict(_LLAMA)
    for each in changes:
        values |= each
    return model_type, {name: value for name, value in values.items() if name not in without}


# what some have not: version 5 has the base in another key, the activation is called otherwise, no head scores tokens
_NEW, _CALLED, _TOKENS = ("rope_theta",), ("hidden_act",), ("classifier_dropout",)

CASES = {
    "llama": _llama("llama", _BIASES, {"rope_scaling": _LINEAR}),
    "llama-3": _llama("llama", _UNTIED, {"rope_parameters": _LLAMA3}, without=_NEW),
    "llama-yarn": _llama("llama", _UNTIED, {"rope_parameters": _YARN}, without=_NEW),
    # to both sides
    "llama-bidirectional": _llama("llama", _SMALL, {"is_causal": False}),
    "qwen2-bidirectional": _llama("qwen2", _SMALL, {"is_causal": False}),
    "mistral": _llama("mistral", {"sliding_window": 5}),
    "mistral-whole": _llama("mistral", _UNTIED, {"sliding_window": None, "rope_scaling": _LINEAR}),
    "qwen2": _llama("qwen2", {"rope_scaling": _LINEAR}),
    "qwen2-windows": _llama("qwen2", _UNTIED, _WINDOWS, {"rope_parameters": _YARN_WHOLE}, without=_NEW),
    "qwen3": _llama("qwen3", {"attention_bias": True, "rope_scaling": _LINEAR}),
    "qwen3-windows": _llama("qwen3", _UNTIED, _WINDOWS),
    "hunyuan_v1_dense": _llama(
        "hunyuan_v1_dense",
        {"attention_bias": True, "rope_scaling": {"rope_type": "dynamic", "alpha": 50.0, "factor": 1.0}},
        without=_TOKENS,
    ),
    "hunyuan_v1_dense-untied": _llama("hunyuan_v1_dense", _UNTIED, {"rope_scaling": _LINEAR}, without=_TOKENS),
    "smollm3": _llama("smollm3", _UNTIED, _BIASES, {"no_rope_layers": [1, 0], "rope_scaling": _LINEAR}),
    "smollm3-windows": _llama("smollm3", _WINDOWS, {"no_rope_layers": [0, 1]}, without=("layer_types",)),
    "smollm3-layer-types": _llama("smollm3", _WINDOWS, {"no_rope_layers": [1, 0]}),
    "olmo2": _llama("olmo2", {"attention_bias": True, "rope_scaling": _LINEAR}, without=_TOKENS),
    "olmo2-untied": _llama("olmo2", _UNTIED, without=_TOKENS),
    "olmo3": _llama(
        "olmo3",
        {"attention_bias": True, "sliding_window": 5, "layer_types": [SLIDING, FULL]},
        {"rope_parameters": {FULL: _YARN, SLIDING: {"rope_type": "default", "rope_theta": 20.0}}},
        without=(*_TOKENS, *_NEW),
    ),
    "olmo3-untied": _llama(
        "olmo3",
        _UNTIED,
        {"sliding_window": 5, "rope_theta": 500000.0, "rope_scaling": _LINEAR, "num_hidden_layers": 4},
        without=_TOKENS,
    ),
    "phi3": _llama(
        "phi3", {"resid_pdrop": 0.2, "partial_rotary_factor": 0.5, "sliding_window": 5}, without=("head_dim",)
    ),
    "phi3-long": _llama(
        "phi3",
        _UNTIED,
        {
            "num_attention_heads": 2,
            "partial_rotary_factor": 0.375,
            "original_max_position_embeddings": 4,
            "max_position_embeddings": 8,
            "rope_scaling": _LONG,
        },
        without=("head_dim",),
    ),
    "gemma": _llama("gemma", {"attention_bias": True, "hidden_act": "silu", "rope_scaling": _LINEAR}),
    "gemma-untied": _llama("gemma", _UNTIED),
    "gemma2": _llama(
        "gemma2",
        _GEMMA2,
        {"attn_logit_softcapping": 2.0, "attention_bias": True, "rope_scaling": _LINEAR},
        without=_CALLED,
    ),
    "gemma2-plain": _llama(
        "gemma2",
        _GEMMA2,
        {"attn_logit_softcapping": None, "final_logit_softcapping": None, "tie_word_embeddings": False},
        without=_CALLED,
    ),
    "gemma3_text": _llama(
        "gemma3_text",
        _GEMMA2,
        {"attention_bias": True, "rope_scaling": _LINEAR, "rope_local_base_freq": 20.0},
        without=(*_CALLED, *_TOKENS),
    ),
    "gemma3_text-untied": _llama(
        "gemma3_text",
        _GEMMA2,
        {
            "tie_word_embeddings": False,
            "final_logit_softcapping": None,
            "layer_types": [FULL, SLIDING],
            "rope_parameters": {
                FULL: {"rope_type": "default", "rope_theta": 60.0},
                SLIDING: {"rope_type": "default", "rope_theta": 20.0},
            },
        },
        without=(*_CALLED, *_TOKENS, *_NEW),
    ),
    "gemma3_text-bidirectional": _llama(
        "gemma3_text",
        _GEMMA2,
        _SMALL,
        {"layer_types": [FULL, SLIDING], "sliding_window": 8, "use_bidirectional_attention": True},
        without=(*_CALLED, *_TOKENS),
    ),
    "mixtral": _llama("mixtral", _EXPERTS, {"num_local_experts": 5, "rope_scaling": _LINEAR}),
    "mixtral-untied": _llama("mixtral", _UNTIED, _EXPERTS, {"num_local_experts": 4, "sliding_window": None}),
    "qwen3_moe": _llama(
        "qwen3_moe",
        {"num_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 24, "norm_topk_prob": True},
        {"attention_bias": True, "rope_scaling": _LINEAR},
        without=("intermediate_size",),
    ),
    "qwen3_moe-windows": _llama(
        "qwen3_moe",
        _UNTIED,
        {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
        {"use_sliding_window": True, "sliding_window": 5},
        without=("intermediate_size",),
    ),
    "qwen3_moe-dense": _llama(
        "qwen3_moe",
        # of two layers it would be "qwen3_moe-every-other"
        {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "mlp_only_layers": [0]},
        {"num_hidden_layers": 3},
    ),
    "qwen3_moe-every-other": _llama(
        "qwen3_moe",
        _UNTIED,
        {"num_local_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "decoder_sparse_step": 2},
    ),
}
