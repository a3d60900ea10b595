"""Encoders for long texts. Data only: `family.py` explains the records.

model_type   like      differences
longformer   roberta   a window for each layer; the first token of a text to be classified sees all tokens
big_bird     bert      sparse attention by blocks, in rows that are long enough

Their heads for question answering are not here. All tokens of a question see all tokens in Longformer, and are never an
answer in BigBird; where the question ends is known from the token ids alone.
"""

from typing import Any

from keras_transformers.families.bert import (
    ACTIVATION,
    ATTENTION,
    BEFORE_POOLER,
    BERT_KEYS,
    BERT_LAYER,
    BLOCK,
    ROBERTA_KEYS,
    ROBERTA_TEXT,
    ROBERTA_VOCABULARY,
    classifier_dropout,
    encoder_heads,
    encoder_weights,
    vocabulary_head,
)
from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, links
from keras_transformers.families.fields import Fields, Inexpressible, PerLayer, Values
from keras_transformers.families.keys import Group, activation, choice, inert, key
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry
from keras_transformers.layers.block_sparse import BlockSparse
from keras_transformers.layers.heads import TransformConfig

_WINDOW, _GLOBAL = ATTENTION + "window", ATTENTION + "global_tokens"
_CLASSIFIER = "LongformerForSequenceClassification"


def _read_attention(read: ConfigReader, values: Values) -> None:
    """Read the windows of all layers, or of each; a file has the width on both sides together."""
    layers, given = values["encoder.num_layers"], read("attention_window", None)
    widths = given if isinstance(given, list) else [512 if given is None else given] * layers
    if len(widths) != layers or not all(type(width) is int and width > 0 and width % 2 == 0 for width in widths):
        raise ValueError(
            f"attention_window: expected an even number, or one for each of {layers} layers, got {given!r}"
        )
    values[_WINDOW] = PerLayer(tuple(width // 2 + 1 for width in widths))
    values[_GLOBAL] = int(read.task == "TextClassifier")


def _write_attention(fields: Fields) -> dict[str, Any]:
    windows = fields.layers(_WINDOW)
    if None in windows:
        raise Inexpressible("Expected a window in each layer, got a layer without.")
    widths = [2 * (window - 1) for window in windows]
    written = {"attention_window": widths if len(set(widths)) > 1 else widths[0]}
    return written | ({"architectures": [_CLASSIFIER]} if fields(_GLOBAL) else {})


_LONGFORMER_KEYS = ROBERTA_KEYS.but(
    {"vocab_size": 30522},
    Group(("attention_window",), _read_attention, _write_attention),
    key("hidden_dropout_prob", 0.1, BLOCK + "dropout", "embeddings.dropout", *BEFORE_POOLER),
    inert("onnx_export"),
    without=("classifier_dropout",),
)
_GLOBALS = tuple(
    (f"encoder.block_{{n}}.self_attention.global_{part}", f"encoder.layer.{{n}}.attention.self.{part}_global")
    for part in ("query", "key", "value")
)


def _read_blocks(read: ConfigReader, values: Values) -> None:
    size, number = read("block_size", 64), read("num_random_blocks", 3)
    kind = read("attention_type", "block_sparse")
    if kind not in ("block_sparse", "original_full"):
        raise ValueError(f"attention_type: expected 'block_sparse' or 'original_full', got {kind!r}")
    if size < 1 or number < 0:
        raise ValueError(f"block_size, num_random_blocks: expected at least 1 and at least 0, got {size} and {number}")
    values[ATTENTION + "blocks"] = BlockSparse(size, number) if kind == "block_sparse" else None


def _write_blocks(fields: Fields) -> dict[str, Any]:
    blocks = fields(ATTENTION + "blocks")
    if blocks is None:
        return {"attention_type": "original_full"}
    return {
        "attention_type": "block_sparse",
        "block_size": blocks.block_size,
        "num_random_blocks": blocks.num_random,
    }


_BIG_BIRD_KEYS = BERT_KEYS.but(
    {"vocab_size": 50358, "max_position_embeddings": 4096},
    activation("hidden_act", "gelu_new", ACTIVATION, "head.transform.activation", "pooler.transform.activation"),
    choice("use_bias", True, ATTENTION + "use_bias", {True: True, False: "output"}),
    key("rescale_embeddings", False, "embeddings.scale"),
    Group(("attention_type", "block_size", "num_random_blocks"), _read_blocks, _write_blocks),
    classifier_dropout(*BEFORE_POOLER),
    always={"pooler.transform": TransformConfig, "pooler.transform.norm": None},
)

register(
    Family(
        "longformer",
        _LONGFORMER_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            BERT_LAYER,
            prefix="longformer.",
            decoder="lm_head.decoder",
            bias="lm_head.bias",
            more=tuple(Entry(*pair) for pair in _GLOBALS),
            ignored=("pooler.dense.{leaf}", *(f"{name}.{{leaf}}" for _, name in _GLOBALS)),
        ),
        encoder_heads("Longformer", ROBERTA_VOCABULARY, ROBERTA_TEXT)[:-1],
        links("longformer"),
    ),
    Family(
        "big_bird",
        _BIG_BIRD_KEYS,
        encoder_weights(
            "embeddings",
            "encoder.layer.{n}",
            BERT_LAYER,
            prefix="bert.",
            decoder="cls.predictions.decoder",
            bias="cls.predictions.bias",
            ignored=("pooler.{leaf}", "cls.seq_relationship.{leaf}"),
        ),
        encoder_heads(
            "BigBird",
            vocabulary_head(
                *("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
                *("cls.predictions", "cls.predictions.decoder"),
            ),
            ROBERTA_TEXT,
            others=("BigBirdForPreTraining",),
        )[:-1],
        links("big_bird"),
    ),
)
