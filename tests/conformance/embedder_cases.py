"""The cases of encoders with rotary positions or ALiBi, by name: `(model_type, values)`."""

_BERT = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3,
    "max_position_embeddings": 40,
    "type_vocab_size": 3,
    "layer_norm_eps": 1e-3,
    "pad_token_id": 5,
    "classifier_dropout": 0.4,
    "tie_word_embeddings": True,
}
_ROTARY = {"rope_theta": 50.0}
_LINEAR = {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 50.0}}
# as version 4 of transformers writes it
_OLD_LINEAR = {"rope_scaling": {"rope_type": "linear", "factor": 3.0}}
_UNTIED = {"tie_word_embeddings": False, "hidden_act": "silu"}
_NOMIC = {
    "vocab_size": 67,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": 256,
    "n_positions": 40,
    "activation_function": "swiglu",
    "type_vocab_size": 3,
    "layer_norm_epsilon": 1e-3,
    "resid_pdrop": 0.2,
    "attn_pdrop": 0.3,
    "embd_pdrop": 0.4,
    "classifier_dropout": 0.35,
    "qkv_proj_bias": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "rotary_emb_base": 50.0,
    "rotary_emb_fraction": 0.5,
    "rotary_emb_interleaved": True,
    "rotary_scaling_factor": 2.0,
    "max_trained_positions": 7,
    "pad_token_id": 5,
    "tie_word_embeddings": True,
}
_EUROBERT = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "intermediate_size": 24,
    "hidden_act": "gelu",
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-3,
    "rope_theta": 50.0,
    "attention_dropout": 0.3,
    "pad_token_id": 5,
}

CASES = {
    "gte": ("gte", _BERT | _ROTARY | _OLD_LINEAR),
    "gte-untied": ("gte", _BERT | _ROTARY | _UNTIED | {"type_vocab_size": 0}),
    "jina_embeddings_v3": ("jina_embeddings_v3", _BERT | _ROTARY),
    "jina_embeddings_v3-untied": ("jina_embeddings_v3", _BERT | _LINEAR | _UNTIED),
    "eurobert": ("eurobert", _EUROBERT | {"tie_word_embeddings": True}),
    "eurobert-biases": (
        "eurobert",
        {name: value for name, value in _EUROBERT.items() if name != "rope_theta"}
        | _LINEAR
        | {"attention_bias": True, "mlp_bias": True, "classifier_pooling": "bos"},
    ),
    "new": (
        "new",
        _BERT | _ROTARY | {"layer_norm_type": "rms_norm", "rope_scaling": {"type": "ntk", "factor": 3.0}},
    ),
    "new-untied": ("new", _BERT | _ROTARY | _UNTIED | {"type_vocab_size": 0}),
    "jina_xlm_roberta": (
        "jina_xlm_roberta",
        _BERT | {"position_embedding_type": "rotary", "rotary_emb_base": 50.0, "tie_word_embeddings": False},
    ),
    # 6 heads: their slopes are of two geometric sequences
    "jina_bert": (
        "jina_bert",
        _BERT
        | {
            "position_embedding_type": "alibi",
            "feed_forward_type": "reglu",
            "hidden_size": 24,
            "num_attention_heads": 6,
        },
    ),
    "jina_bert-normed": (
        "jina_bert",
        _BERT
        | {
            "position_embedding_type": "alibi",
            "feed_forward_type": "geglu",
            "tie_word_embeddings": False,
            "auto_map": {"AutoModel": "jinaai/jina-bert-v2-qk-post-norm--modeling_bert.JinaBertModel"},
        },
    ),
    "nomic_bert": ("nomic_bert", _BERT | _ROTARY | _OLD_LINEAR | {"head_dim": 12}),
    "nomic_bert-untied": ("nomic_bert", _BERT | _ROTARY | {"tie_word_embeddings": False, "hidden_act": "gelu"}),
    "hf_nomic_bert": ("hf_nomic_bert", _NOMIC),
    "hf_nomic_bert-experts": (
        "hf_nomic_bert",
        _NOMIC
        | {
            "n_inner": 24,
            "activation_function": "gelu",
            "qkv_proj_bias": True,
            "mlp_fc1_bias": True,
            "mlp_fc2_bias": True,
            "moe_every_n_layers": 2,
            "num_experts": 5,
            "moe_top_k": 2,
            "moe_normalize_expert_weights": True,
            "rotary_emb_fraction": 1.0,
            "rotary_emb_interleaved": False,
            "rotary_scaling_factor": None,
            "classifier_dropout": None,  # that of embeddings is taken
            "tie_word_embeddings": False,
        },
    ),
}
