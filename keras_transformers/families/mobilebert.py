"""MobileBERT: BERT with a bottleneck around each layer. Data only: `family.py` explains the records."""

from keras_transformers.families.bert import (
    ACTIVATION,
    ATTENTION,
    BERT_KEYS,
    BLOCK,
    CLASSIFIERS,
    POOLER,
    classifier_dropout,
    encoder_heads,
)
from keras_transformers.families.family import Family, links
from keras_transformers.families.fields import Fields, Values
from keras_transformers.families.keys import activation, derive, expect, key, repeat
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.bottleneck import Bottleneck
from keras_transformers.layers.heads import TransformConfig
from keras_transformers.layers.norms import Affine
from keras_transformers.models.config import ModelConfig

_NARROW = "encoder.bottleneck"


def _narrower(width: int, values: Values) -> int:
    if not 0 < width < values["hidden_dim"]:  # its head has a matrix for the channels between
        raise ValueError(f"embedding_size: expected less than hidden_size={values['hidden_dim']}, got {width}")
    return width


def _head_dim(values: Values) -> None:
    width, heads = values[_NARROW + ".dim"], values[ATTENTION + "num_heads"]
    if heads < 1 or width % heads:
        raise ValueError(f"intra_bottleneck_size: expected a multiple of num_attention_heads={heads}, got {width}")
    values[ATTENTION + "head_dim"] = width // heads


_KEYS = BERT_KEYS.but(
    {"hidden_size": 512, "num_hidden_layers": 24, "num_attention_heads": 4, "intermediate_size": 512},
    activation("hidden_act", "relu", ACTIVATION, "head.transform.activation"),
    key("hidden_dropout_prob", 0.0, BLOCK + "dropout", "embeddings.dropout"),
    key("layer_norm_eps", 1e-12, "head.transform.norm.epsilon"),
    key("embedding_size", 128, "embeddings.embedding_dim", adapt=_narrower),
    key("intra_bottleneck_size", 128, _NARROW + ".dim"),
    repeat("true_hidden_size", lambda values: values[_NARROW + ".dim"], "intra_bottleneck_size"),
    derive(_head_dim),
    key("num_feedforward_networks", 4, _NARROW + ".num_feed_forwards"),
    key(
        "classifier_activation",
        True,
        "pooler.transform",
        adapt=lambda there, values: TransformConfig("tanh", None) if there else None,
        restore=lambda fields: fields("pooler.transform") is not None,
    ),
    classifier_dropout(*CLASSIFIERS),
    expect("trigram_input", True),
    expect("use_bottleneck", True),
    expect("use_bottleneck_attention", False),
    expect("key_query_shared_bottleneck", True),
    expect("normalization_type", "no_norm"),
    without=("emb_size",),
    always={
        BLOCK + "norm": Affine(),
        "embeddings.norm": Affine(),
        "embeddings.projected": "trigrams",
        "head.wide": True,
        _NARROW: Bottleneck,
    },
)

_OURS, _THEIRS = "encoder.block_{n}.", "encoder.layer.{n}."
_LAYER = {
    "narrow.dense": "bottleneck.input.dense",
    "narrow.norm": "bottleneck.input.LayerNorm",
    "narrow_attention.dense": "bottleneck.attention.dense",
    "narrow_attention.norm": "bottleneck.attention.LayerNorm",
    **{f"self_attention.{part}": f"attention.self.{part}" for part in ("query", "key", "value")},
    "self_attention.output": "attention.output.dense",
    "self_attention_norm_after": "attention.output.LayerNorm",
    "widen": "output.bottleneck.dense",
    "widen_norm": "output.bottleneck.LayerNorm",
}
_TABLES = {
    "token": "word_embeddings",
    "position": "position_embeddings",
    "segment": "token_type_embeddings",
    "token_projection": "embedding_transformation",
    "norm": "LayerNorm",
}
_TOKENS = "mobilebert.embeddings.word_embeddings.weight"


def _weights(config: ModelConfig) -> WeightMap:
    """Return the table of a body. The last feed-forward layer of a block stands apart from those before it."""
    last = Fields(config)(_NARROW + ".num_feed_forwards") - 1
    layers = dict(_LAYER)
    for number in range(last + 1):
        theirs = f"ffn.{number}." if number < last else ""
        layers[f"feed_forward_{number}.up"] = f"{theirs}intermediate.dense"
        layers[f"feed_forward_{number}.down"] = f"{theirs}output.dense"
        layers[f"feed_forward_{number}_norm_after"] = f"{theirs}output.LayerNorm"
    return WeightMap(
        (),
        ("embeddings.position_ids", "pooler.dense.{leaf}", "cls.seq_relationship.{leaf}"),
        (
            POOLER,
            *(Entry(f"embedding.{ours}", f"embeddings.{theirs}") for ours, theirs in _TABLES.items()),
            *(Entry(_OURS + ours, _THEIRS + theirs) for ours, theirs in layers.items()),
        ),
        "mobilebert.",
        (("cls.predictions.decoder.bias", "cls.predictions.bias"),),
        scores=(("cls.predictions.decoder.weight", _TOKENS),),
    )


_VOCABULARY = (
    Entry("head.transform.dense", "cls.predictions.transform.dense"),
    Entry("head.transform.norm", "cls.predictions.transform.LayerNorm"),
    Entry("head.wide", "cls.predictions.dense", transposed=False),
    Entry("head.dense", "cls.predictions.decoder"),
    Entry("head", "cls.predictions"),
)

register(
    Family(
        "mobilebert",
        _KEYS,
        _weights,
        encoder_heads("MobileBert", _VOCABULARY, others=("MobileBertForPreTraining",)),
        links("mobilebert"),
    ),
)
