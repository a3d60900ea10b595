"""The cases of BART and its relatives, by name: `(model_type, values)`. Stacks differ in all that they may."""

_BART = {
    "is_encoder_decoder": True,
    "vocab_size": 67,
    "d_model": 32,
    "max_position_embeddings": 40,
    "scale_embedding": True,
    "activation_function": "gelu_new",
    "dropout": 0.2,
    "attention_dropout": 0.3,
    "activation_dropout": 0.25,
    "pad_token_id": 5,
    "tie_word_embeddings": True,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "encoder_layerdrop": 0.15,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 40,
    "decoder_layerdrop": 0.1,
    "forced_eos_token_id": None,
}
_READING = {"classifier_dropout": 0.4, "eos_token_id": 7}
# Where norms stand before, the two forms of GELU are too alike to be told apart in what comes out.
_NORMS_BEFORE = _BART | {"activation_function": "silu"}
_UNTIED = {"tie_word_embeddings": False, "activation_function": "silu", "decoder_layers": 3}
_MARIAN = _BART | {"decoder_vocab_size": 67, "share_encoder_decoder_embeddings": True}
_MIXED = {"num_experts": 5, "moe_token_dropout": 0.3, "encoder_sparse_step": 2, "decoder_sparse_step": 2}

CASES = {
    "bart": ("bart", _BART | _READING | {"decoder_start_token_id": 9}),
    "bart-untied": ("bart", _BART | _READING | _UNTIED | {"decoder_start_token_id": 3, "scale_embedding": False}),
    "mbart": ("mbart", _NORMS_BEFORE | _READING),
    "mbart-untied": ("mbart", _BART | _READING | _UNTIED),
    "marian": ("marian", _MARIAN),
    "marian-untied": ("marian", _MARIAN | _UNTIED | {"share_encoder_decoder_embeddings": False}),
    "marian-two-vocabularies": (
        "marian",
        _MARIAN | {"decoder_vocab_size": 51, "share_encoder_decoder_embeddings": False, "scale_embedding": False},
    ),
    "pegasus": ("pegasus", _NORMS_BEFORE),
    "pegasus-untied": ("pegasus", _BART | _UNTIED),
    "m2m_100": ("m2m_100", _NORMS_BEFORE | {"scale_embedding": False}),
    "m2m_100-untied": ("m2m_100", _BART | _UNTIED),
    "nllb-moe": ("nllb-moe", _NORMS_BEFORE | _MIXED),
    "nllb-moe-untied": ("nllb-moe", _BART | _UNTIED | _MIXED | {"encoder_sparse_step": 1, "scale_embedding": False}),
}
