"""The cases of T5 and its relatives, by name: `(model_type, values, length)`. Texts are longer than the distances that
buckets tell apart, and vectors narrow: scores that nothing scales make much of a rounding where they are large."""

_T5 = {
    "is_encoder_decoder": True,
    "vocab_size": 67,
    "d_model": 16,
    "d_kv": 6,
    "d_ff": 40,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "relative_attention_num_buckets": 12,
    "relative_attention_max_distance": 20,
    "dropout_rate": 0.2,
    "layer_norm_epsilon": 1e-3,
    "feed_forward_proj": "gated-gelu",
    "classifier_dropout": 0.4,
    "eos_token_id": 7,
    "pad_token_id": 5,
    "decoder_start_token_id": 9,
    "tie_word_embeddings": True,
}
_UNTIED = {"tie_word_embeddings": False, "feed_forward_proj": "silu", "num_decoder_layers": 1}

CASES = {
    "t5": ("t5", _T5 | {"scale_decoder_outputs": True}, 44),
    "t5-untied": ("t5", _T5 | _UNTIED | {"feed_forward_proj": "gated-silu"}, 44),
    "t5-tied-unscaled": ("t5", _T5 | {"scale_decoder_outputs": False, "feed_forward_proj": "gelu"}, 44),
    "mt5": ("mt5", _T5 | {"feed_forward_proj": "relu"}, 44),
    "mt5-untied": ("mt5", _T5 | _UNTIED, 44),
    "umt5": ("umt5", _T5 | {"feed_forward_proj": "gated-relu"}, 44),
    "umt5-untied": ("umt5", _T5 | _UNTIED, 44),
}
