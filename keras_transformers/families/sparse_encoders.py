"""Encoders for long texts. Data only: `family.py` explains the records.

model_type   like      differences
longformer   roberta   a window for each layer; the first token of a text to be classified sees all tokens

Longformer's head for question answering is not here: all tokens of a question see all tokens, and where the question
ends is known from the token ids alone. Nor is BigBird: it also sees blocks that NumPy's random numbers choose.
"""

from typing import Any

from keras_transformers.families.bert import (
    ATTENTION,
    BEFORE_POOLER,
    BERT_LAYER,
    BLOCK,
    ROBERTA_KEYS,
    ROBERTA_TEXT,
    ROBERTA_VOCABULARY,
    encoder_heads,
    encoder_weights,
)
from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, links
from keras_transformers.families.fields import Fields, Inexpressible, PerLayer, Values
from keras_transformers.families.keys import Group, inert, key
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry

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
)
