"""Cases of the smaller families of encoders: `(model_type, values)`, as `cases.Case` takes them."""

_BERT = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3,
    "max_position_embeddings": 24,
    "type_vocab_size": 3,
    "layer_norm_eps": 1e-3,
    "pad_token_id": 5,
    "classifier_dropout": 0.4,
    "tie_word_embeddings": True,
}


def _bert(model_type, changes=(), *, without=(), length=16):
    values = {name: value for name, value in (_BERT | dict(changes)).items() if name not in without}
    return model_type, values, length


_NO_DROPOUT = ("classifier_dropout",)
_ESM = {"position_embedding_type": "rotary", "rope_theta": 50.0}
_ESM_LACKS = (*_NO_DROPOUT, "hidden_act", "type_vocab_size")
_UNTIED = {"tie_word_embeddings": False}

_XLNET = {
    "vocab_size": 67,
    "d_model": 32,
    "n_layer": 2,
    "n_head": 4,
    "d_inner": 48,
    "ff_activation": "relu",
    "layer_norm_eps": 1e-3,
    "dropout": 0.2,
    "clamp_len": 5,
    "summary_last_dropout": 0.3,
    "summary_first_dropout": 0.25,
    "pad_token_id": 3,
}

_GROUPS = {"q_groups": 2, "k_groups": 8, "v_groups": 1, "post_attention_groups": 2}
_MOBILE = {
    "embedding_size": 8,
    "intra_bottleneck_size": 16,
    "num_feedforward_networks": 2,
    "num_attention_heads": 2,
}

CASES = {
    "xlnet": ("xlnet", _XLNET, 16),
    "ernie": _bert("ernie", {"hidden_act": "relu"}),
    "ernie-tasks": _bert("ernie", {"use_task_id": True, "task_type_vocab_size": 4} | _UNTIED),
    "megatron-bert": _bert("megatron-bert", _UNTIED, without=_NO_DROPOUT),
    "rembert": _bert(
        "rembert",
        {"input_embedding_size": 16, "output_embedding_size": 24, "classifier_dropout_prob": 0.4},
        without=(*_NO_DROPOUT, "tie_word_embeddings"),
    ),
    "bert-generation": _bert("bert-generation", without=(*_NO_DROPOUT, "tie_word_embeddings", "type_vocab_size")),
    "roberta-prelayernorm": _bert("roberta-prelayernorm", _UNTIED),
    "xlm-roberta-xl": _bert("xlm-roberta-xl", _UNTIED),
    "data2vec-text": _bert("data2vec-text", _UNTIED),
    "luke": _bert("luke", {"entity_vocab_size": 9, "entity_emb_size": 8}, without=("tie_word_embeddings",)),
    "longformer": _bert("longformer", {"attention_window": [4, 8, 8], "num_hidden_layers": 3}, without=_NO_DROPOUT),
    "longformer-alike": _bert(
        "longformer", {"attention_window": 6, "hidden_act": "relu"} | _UNTIED, without=_NO_DROPOUT
    ),
    # longer than 7 blocks
    "big_bird": _bert(
        "big_bird",
        {"block_size": 2, "num_random_blocks": 1, "use_bias": False, "rescale_embeddings": True, "hidden_act": "relu"},
    ),
    "big_bird-full": _bert("big_bird", {"attention_type": "original_full"} | _UNTIED),
    "squeezebert": _bert(
        "squeezebert",
        _GROUPS | {"intermediate_groups": 2, "output_groups": 8, "embedding_size": 32},
        without=_NO_DROPOUT,
    ),
    "squeezebert-untied": _bert(
        "squeezebert", {"embedding_size": 32, "hidden_act": "relu"} | _UNTIED, without=_NO_DROPOUT
    ),
    "mobilebert": _bert("mobilebert", _MOBILE),
    "mobilebert-plain": _bert(
        "mobilebert",
        _MOBILE | {"num_feedforward_networks": 1, "classifier_activation": False, "hidden_act": "gelu"} | _UNTIED,
    ),
    "convbert": _bert("convbert", {"embedding_size": 16, "head_ratio": 4, "conv_kernel_size": 5, "num_groups": 2}),
    "convbert-wide": _bert(
        "convbert", {"embedding_size": 32, "head_ratio": 2, "conv_kernel_size": 3, "hidden_act": "relu"} | _UNTIED
    ),
    "fnet": _bert(
        "fnet",
        {"hidden_act": "relu"} | _UNTIED,
        without=(*_NO_DROPOUT, "num_attention_heads", "attention_probs_dropout_prob"),
    ),
    # its texts have masked tokens, by chance: 8 is one of few ids
    "esm": _bert("esm", _ESM | {"vocab_size": 13, "token_dropout": True, "mask_token_id": 8}, without=_ESM_LACKS),
    "esm-absolute": _bert(
        "esm",
        _ESM | {"position_embedding_type": "absolute", "emb_layer_norm_before": True, "tie_word_embeddings": False},
        without=(*_ESM_LACKS, "rope_theta"),
    ),
    "roformer": _bert("roformer", {"embedding_size": 16, "rotary_value": True}, without=_NO_DROPOUT),
    "roformer-wide": _bert("roformer", {"hidden_act": "relu", "tie_word_embeddings": False}, without=_NO_DROPOUT),
}
