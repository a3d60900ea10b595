"""Encoders with convolutions in their layers. Data only: `family.py` explains the records.

model_type    like      differences
squeezebert   bert      projections in groups of channels, stored as convolutions of size 1
convbert      electra   half of the heads convolve the text; perhaps feed-forward layers in groups
"""

from typing import Any

from keras_transformers.families.bert import (
    ACTIVATION,
    ATTENTION,
    BEFORE_POOLER,
    BERT_KEYS,
    BERT_LAYER,
    BLOCK,
    CLASSIFIERS,
    FEED_FORWARD,
    POOLER,
    ROBERTA_TEXT,
    SUMMARY,
    classifier_dropout,
    encoder_heads,
    encoder_weights,
    padding_id,
    vocabulary_head,
)
from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, links
from keras_transformers.families.fields import Fields, Values
from keras_transformers.families.keys import Group, activation, inert, key
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.dynamic_convolution import DynamicConvolution
from keras_transformers.layers.grouped import AttentionGroups, FeedForwardGroups
from keras_transformers.layers.heads import TransformConfig
from keras_transformers.models.config import ModelConfig

# SqueezeBERT


def _model_width(width: int, values: Values) -> int:
    if width != values["hidden_dim"]:  # as in transformers
        raise ValueError(f"embedding_size: expected that of hidden_size={values['hidden_dim']}, got {width}")
    return width


_SQUEEZEBERT_KEYS = BERT_KEYS.but(
    {},
    key("hidden_dropout_prob", 0.1, BLOCK + "dropout", "embeddings.dropout", *CLASSIFIERS),
    key("embedding_size", 768, "hidden_dim", adapt=_model_width),
    key("layer_norm_eps", 1e-12, "embeddings.norm.epsilon", "head.transform.norm.epsilon"),
    key("q_groups", 4, ATTENTION + "groups.query"),
    key("k_groups", 4, ATTENTION + "groups.key"),
    key("v_groups", 4, ATTENTION + "groups.value"),
    key("post_attention_groups", 1, ATTENTION + "groups.output"),
    key("intermediate_groups", 4, FEED_FORWARD + "groups.up"),
    key("output_groups", 4, FEED_FORWARD + "groups.down"),
    without=("classifier_dropout", "emb_size"),
    always={
        BLOCK + "norm.epsilon": 1e-12,  # in transformers, whatever layer_norm_eps is
        ATTENTION + "groups": AttentionGroups,
        FEED_FORWARD + "groups": FeedForwardGroups,
    },
)
_SQUEEZEBERT_LAYER = {
    **{f"self_attention.{part}": f"attention.{part}" for part in ("query", "key", "value")},
    "self_attention.output": "post_attention.conv1d",
    "self_attention_norm_after": "post_attention.layernorm",
    "feed_forward.up": "intermediate.conv1d",
    "feed_forward.down": "output.conv1d",
    "feed_forward_norm_after": "output.layernorm",
}

# ConvBERT


def _read_heads(read: ConfigReader, values: Values) -> None:
    """Read the number of heads, of which one in `head_ratio` stays; half of the width of each is for convolution."""
    width, ratio, size = values["hidden_dim"], read("head_ratio", 2), read("conv_kernel_size", 9)
    given = read("num_attention_heads", 12)
    if min(given, ratio) < 1:
        raise ValueError(f"num_attention_heads, head_ratio: expected at least 1, got {given} and {ratio}")
    heads = max(given // ratio, 1)
    if width % (2 * heads):
        raise ValueError(
            f"num_attention_heads, head_ratio: expected hidden_size={width} to be a multiple of 2 * {heads}, twice the "
            f"number of heads that {given} and {ratio} leave"
        )
    if size % 2 != 1:
        raise ValueError(f"conv_kernel_size: expected an odd number, got {size}")
    values[ATTENTION + "num_heads"], values[ATTENTION + "head_dim"] = heads, width // (2 * heads)
    values[ATTENTION + "convolution"] = DynamicConvolution(size)


def _write_heads(fields: Fields) -> dict[str, Any]:
    heads, size = fields(ATTENTION + "num_heads"), fields(ATTENTION + "convolution.kernel_size")
    return {"num_attention_heads": 2 * heads, "head_ratio": 2, "conv_kernel_size": size}


_CONVBERT_KEYS = BERT_KEYS.but(
    {},
    padding_id(1),
    activation("hidden_act", "gelu", ACTIVATION, "pooler.transform.activation"),
    key(
        "embedding_size",
        768,
        "embeddings.embedding_dim",
        adapt=lambda width, values: None if width == values["hidden_dim"] else width,
        restore=lambda fields: fields("embeddings.embedding_dim") or fields("hidden_dim"),
    ),
    key(
        "num_groups",
        1,
        FEED_FORWARD + "groups",
        adapt=lambda groups, values: None if groups == 1 else FeedForwardGroups(groups, groups),
        restore=lambda fields: 1 if fields(FEED_FORWARD + "groups") is None else fields(FEED_FORWARD + "groups.up"),
    ),
    classifier_dropout(*BEFORE_POOLER),
    Group(("num_attention_heads", "head_ratio", "conv_kernel_size"), _read_heads, _write_heads),
    inert(*SUMMARY),  # of multiple choice
    without=("num_attention_heads", "emb_size"),
    always={
        "head.transform.activation": "gelu",
        "pooler.transform": TransformConfig,
        "pooler.transform.norm": None,
    },
)


def _convbert_weights(config: ModelConfig) -> WeightMap:
    """Return the table of a body. Groups of a feed-forward layer are stored as they are, one matrix not."""
    ours, theirs = "encoder.block_{n}.", "encoder.layer.{n}."
    convolution, separable = ours + "self_attention.convolution.", theirs + "attention.self.key_conv_attn_layer."
    plain = Fields(config)(FEED_FORWARD + "groups") is None
    return encoder_weights(
        "embeddings",
        "encoder.layer.{n}",
        BERT_LAYER,
        prefix="convbert.",
        decoder="generator_lm_head",
        more=(
            Entry("embedding.projection", "embeddings_project"),
            Entry(ours + "feed_forward.up", theirs + "intermediate.dense", transposed=plain),
            Entry(ours + "feed_forward.down", theirs + "output.dense", transposed=plain),
            Entry(convolution + "kernel", separable + "depthwise.weight", output_heads=1),
            Entry(convolution + "key.kernel", separable + "pointwise.weight", pointwise=True),
            Entry(convolution + "key.bias", separable + "bias", pointwise=True),
            Entry(convolution + "kernels", theirs + "attention.self.conv_kernel_layer"),
            Entry(convolution + "value", theirs + "attention.self.conv_out_layer"),
        ),
    )


register(
    Family(
        "squeezebert",
        _SQUEEZEBERT_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layers.{n}",
            tuple(_SQUEEZEBERT_LAYER.values()),
            prefix="transformer.",
            decoder="cls.predictions.decoder",
            bias="cls.predictions.bias",
            more=(
                POOLER,
                *(
                    Entry(f"encoder.block_{{n}}.{ours}", f"encoder.layers.{{n}}.{theirs}", pointwise=True)
                    for ours, theirs in _SQUEEZEBERT_LAYER.items()
                    if "norm" not in ours
                ),
            ),
            ignored=("pooler.dense.{leaf}", "cls.seq_relationship.{leaf}"),
        ),
        encoder_heads(
            "SqueezeBert",
            vocabulary_head(
                *("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
                *("cls.predictions", "cls.predictions.decoder"),
            ),
        ),
        links("squeezebert"),
    ),
    Family(
        "convbert",
        _CONVBERT_KEYS,
        _convbert_weights,
        encoder_heads(
            "ConvBert",
            vocabulary_head(
                *("generator_predictions.dense", "generator_predictions.LayerNorm"),
                *("generator_lm_head", "generator_lm_head"),
            ),
            ROBERTA_TEXT,
        ),
        links("convbert"),
    ),
)
