"""Encoders whose queries and keys are rotated. Data only: `family.py` explains the records.

model_type   like      differences
esm          roberta   norms before; rotary or learned positions; masked tokens have no vector; no segments
roformer     bert      pairs of channels side by side; perhaps rotated values; perhaps narrow embeddings
"""

from typing import Any

from keras_transformers.families.bert import (
    ACTIVATION,
    ATTENTION,
    BEFORE_POOLER,
    BERT_KEYS,
    BERT_LAYER,
    BLOCK,
    FEED_FORWARD,
    POSITIONS,
    ROBERTA_TEXT,
    SUMMARY,
    encoder_heads,
    encoder_weights,
    not_negative,
    vocabulary_head,
)
from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, links
from keras_transformers.families.fields import Fields, Values
from keras_transformers.families.keys import (
    OMITTED,
    ONE_STACK,
    Group,
    Keys,
    activation,
    expect,
    inert,
    key,
    optional,
    repeat,
)
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry
from keras_transformers.layers.embeddings import TokenDropout
from keras_transformers.layers.heads import TransformConfig
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Learned, Rotary

# ESM


def _read_positions(read: ConfigReader, values: Values) -> None:
    """Read learned positions, after the padding id, or rotary ones."""
    longest = read("max_position_embeddings", 1026)
    base = read("rope_theta", 10000.0)
    kind = read("position_embedding_type", "absolute")
    if kind == "rotary":
        values[ATTENTION + "positions"] = Rotary(base)
        values["embeddings.context_length"] = longest
    elif kind == "absolute":
        first = values["padding_id"] + 1
        values[POSITIONS] = Learned(longest - first, first, skip_padding=True)
    else:
        raise ValueError(f"position_embedding_type: expected 'absolute' or 'rotary', got {kind!r}")


def _write_positions(fields: Fields) -> dict[str, Any]:
    rotary = fields(ATTENTION + "positions")
    if isinstance(rotary, Rotary):
        longest = fields("embeddings.context_length")
        return {"position_embedding_type": "rotary", "rope_theta": rotary.base, "max_position_embeddings": longest}
    longest = fields(POSITIONS + ".max_length") + fields(POSITIONS + ".offset")
    return {"position_embedding_type": "absolute", "max_position_embeddings": longest}


def _read_masked(read: ConfigReader, values: Values) -> None:
    mask_id = read.optional("mask_token_id", int)
    if read.optional("token_dropout", bool):
        values["embeddings.token_dropout"] = TokenDropout(32 if mask_id is None else mask_id)


def _write_masked(fields: Fields) -> dict[str, Any]:
    dropout = fields("embeddings.token_dropout")
    return {"token_dropout": False} if dropout is None else {"token_dropout": True, "mask_token_id": dropout.mask_id}


_NORMS = (BLOCK + "norm", "embeddings.norm", "head.transform.norm")
_ESM_KEYS = Keys(
    (
        *ONE_STACK,
        expect("is_decoder", False),
        expect("is_folding_model", False),
        optional("vocab_size", int, None, "embeddings.vocabulary_size", null=lambda values: 33),
        key("hidden_size", 768, "hidden_dim"),
        key("num_hidden_layers", 12, "encoder.num_layers"),
        key("num_attention_heads", 12, ATTENTION + "num_heads"),
        key("intermediate_size", 3072, FEED_FORWARD + "intermediate_dim"),
        key("hidden_dropout_prob", 0.1, BLOCK + "dropout", *BEFORE_POOLER),
        key("attention_probs_dropout_prob", 0.1, ATTENTION + "dropout"),
        key("layer_norm_eps", 1e-12, *(f"{norm}.epsilon" for norm in _NORMS)),
        optional("pad_token_id", int, None, "padding_id", null=lambda values: 1, adapt=not_negative),
        Group(("position_embedding_type", "max_position_embeddings", "rope_theta"), _read_positions, _write_positions),
        Group(("token_dropout",), _read_masked, _write_masked),
        optional(
            *("emb_layer_norm_before", bool, False, "embeddings.norm"),
            adapt=lambda there, values: LayerNorm(values["embeddings.norm.epsilon"]) if there else None,
            restore=lambda fields: OMITTED if fields("embeddings.norm") is None else True,
        ),
        key("tie_word_embeddings", True, "head.tied"),
        repeat(
            "head_dim",
            lambda values: values["hidden_dim"] // values[ATTENTION + "num_heads"],
            "hidden_size / num_attention_heads",
        ),
        # Keys of other positions, of texts without masked tokens, and of protein folding.
        inert("mask_token_id", "rope_theta", "embedding_size", "esmfold_config", "vocab_list"),
    ),
    {
        **dict.fromkeys(_NORMS, LayerNorm),
        BLOCK + "norm_placement": "pre",
        "encoder.final_norm": True,
        ACTIVATION: "gelu",
        "head.use_bias": True,
        "head.transform.activation": "gelu",
        "pooler.transform": TransformConfig("tanh", None),
    },
)

_ESM_LAYER = (*BERT_LAYER[:4], "attention.LayerNorm", "intermediate.dense", "output.dense", "LayerNorm")

_ESM_VOCABULARY = (
    Entry("head.dense.bias", "lm_head.bias"),
    *vocabulary_head("lm_head.dense", "lm_head.layer_norm", "lm_head", "lm_head.decoder"),
)

# RoFormer

_ROFORMER_KEYS = BERT_KEYS.but(
    {"vocab_size": 50000},
    activation("hidden_act", "gelu", ACTIVATION, "head.transform.activation", "pooler.transform.activation"),
    key("hidden_dropout_prob", 0.1, BLOCK + "dropout", "embeddings.dropout", *BEFORE_POOLER),
    key("max_position_embeddings", 1536, "embeddings.context_length"),
    key("rotary_value", False, ATTENTION + "positions.values"),
    optional(
        *("embedding_size", int, None, "embeddings.embedding_dim"),
        adapt=lambda width, values: None if width == values["hidden_dim"] else width,
        restore=lambda fields: fields("embeddings.embedding_dim") or fields("hidden_dim"),
    ),
    inert(*SUMMARY),  # of multiple choice
    without=("classifier_dropout", "emb_size"),
    always={
        POSITIONS: None,
        ATTENTION + "positions": Rotary,
        ATTENTION + "positions.layout": "interleaved",
        "pooler.transform": TransformConfig,
        "pooler.transform.norm": None,
    },
)


register(
    Family(
        "esm",
        _ESM_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            _ESM_LAYER,
            prefix="esm.",
            decoder="lm_head.decoder",
            norms="before",
            more=(
                Entry("embedding.norm", "embeddings.layer_norm"),
                Entry("encoder.norm", "encoder.emb_layer_norm_after"),
            ),
            ignored=(
                *("pooler.dense.{leaf}", "contact_head.regression.{leaf}", "embeddings.position_embeddings.weight"),
                "encoder.layer.*.attention.self.rotary_embeddings.inv_freq",
                "rotary_embeddings.inv_freq",
            ),
        ),
        encoder_heads("Esm", _ESM_VOCABULARY, ROBERTA_TEXT)[:-1],  # without a head for question answering
        links("esm"),
    ),
    Family(
        "roformer",
        _ROFORMER_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            BERT_LAYER,
            prefix="roformer.",
            decoder="cls.predictions.decoder",
            bias="cls.predictions.bias",
            more=(Entry("embedding.projection", "embeddings_project"),),
            ignored=("encoder.embed_positions.weight",),
        ),
        encoder_heads(
            "RoFormer",
            vocabulary_head(
                *("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
                *("cls.predictions", "cls.predictions.decoder"),
            ),
            ROBERTA_TEXT,
        ),
        links("roformer"),
    ),
)
