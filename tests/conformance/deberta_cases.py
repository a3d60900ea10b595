"""DeBERTa's cases: texts are longer than the distances that have a vector of their own."""

_DEBERTA = {
    "vocab_size": 67,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.2,
    "attention_probs_dropout_prob": 0.3,
    "max_position_embeddings": 40,
    "type_vocab_size": 3,
    "layer_norm_eps": 1e-3,
    "pad_token_id": 5,
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "max_relative_positions": 9,
    "pooler_dropout": 0.25,
    "pooler_hidden_act": "tanh",
    "cls_dropout": 0.4,
}
_V2 = _DEBERTA | {
    "position_buckets": 8,
    "max_relative_positions": 24,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
}

CASES = {
    "deberta": ("deberta", _DEBERTA | {"embedding_size": 16}),
    "deberta-content-to-position": (
        "deberta",
        _DEBERTA
        | {"pos_att_type": "c2p", "position_biased_input": False, "type_vocab_size": 0, "tie_word_embeddings": False},
    ),
    "deberta-v2": ("deberta-v2", _V2 | {"conv_kernel_size": 3, "conv_act": "gelu"}),
    "deberta-v2-own-projections": (
        "deberta-v2",
        _DEBERTA | {"pos_att_type": "p2c", "embedding_size": 16, "tie_word_embeddings": False},
    ),
}
