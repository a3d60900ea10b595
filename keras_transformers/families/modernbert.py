"""ModernBERT: an encoder with rotary positions and two kinds of attention in turn. Its norms come before the branches,
its feed-forward layers are gated, and it has no biases. Data only: `family.py` explains the records.
"""

from typing import Any

from keras_transformers.families.bert import (
    ACTIVATION,
    ATTENTION,
    BLOCK,
    CLASSIFIERS,
    ENCODER,
    FEED_FORWARD,
    not_negative,
)
from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Fields, PerLayer, Values
from keras_transformers.families.keys import Group, Keys, activation, choice, expect, inert, key, optional, repeat
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.families.windows import layer_types, written_layer_types
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Rotary

_TRANSFORMS = ("head.transform", "pooler.transform", "token_head.transform", "span_head.transform")
_NORMS = (BLOCK + "norm", "embeddings.norm", *(f"{each}.norm" for each in _TRANSFORMS))
_WINDOW = ATTENTION + "window"
_BASES = {"full_attention": ("global_rope_theta", 160000.0), "sliding_attention": ("local_rope_theta", 10000.0)}


def _read_windows(read: ConfigReader, values: Values) -> None:
    """Read the window of each layer. A file has its width, half of that, or both."""
    every = read("global_attn_every_n_layers", 3)
    types = layer_types(read, values["encoder.num_layers"], lambda n: n % every != 0)
    whole = read("local_attention", 2 * (read.optional("sliding_window", int) or 64))
    read.repeats("sliding_window", whole // 2, "half of local_attention")
    values[_WINDOW] = PerLayer(tuple(whole // 2 + 1 if kind == "sliding_attention" else None for kind in types))


def _write_windows(fields: Fields) -> dict[str, Any]:
    windows = fields.layers(_WINDOW)
    window = next((each for each in windows if each is not None), 65)
    return {"layer_types": written_layer_types(windows), "local_attention": 2 * (window - 1)}


def _read_bases(read: ConfigReader, values: Values) -> None:
    """Read the rotary base of each kind of layer, from version 5's `rope_parameters` or version 4's two keys."""
    read.expect("rope_scaling", None)
    parameters, bases = read.optional("rope_parameters", dict) or {}, []
    for kind, (name, base) in _BASES.items():
        given = {"rope_type": "default", **(parameters.get(kind) or {})}
        if given["rope_type"] != "default" or set(given) - {"rope_type", "rope_theta"}:
            raise ValueError(f"rope_parameters: only rope_theta of the default type is supported, got {given!r}")
        old = read(name, None)
        stated = (given.get("rope_theta"), old, base)
        bases.append(float(next(each for each in stated if each is not None)))
        read.repeats(name, bases[-1], "rope_parameters")
    if set(parameters) - set(_BASES):
        raise ValueError(f"rope_parameters: expected {' and '.join(_BASES)}, got {sorted(parameters)}")
    rotaries = [Rotary(base) for base in bases]
    windows = values[_WINDOW].values
    values[ATTENTION + "positions"] = PerLayer(tuple(rotaries[window is not None] for window in windows))


def _write_bases(fields: Fields) -> dict[str, Any]:
    kinds, bases = written_layer_types(fields.layers(_WINDOW)), fields.layers(ATTENTION + "positions.base")
    return {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": base} for kind, base in zip(kinds, bases, strict=True)
        }
    }


_KEYS = Keys(
    (
        *ENCODER,
        expect("attention_dropout", 0.0),  # transformers drops at two places under this one name
        key("vocab_size", 50368, "embeddings.vocabulary_size"),
        key("hidden_size", 768, "hidden_dim"),
        key("intermediate_size", 1152, FEED_FORWARD + "intermediate_dim"),
        key("num_hidden_layers", 22, "encoder.num_layers"),
        key("num_attention_heads", 12, ATTENTION + "num_heads"),
        repeat(
            "head_dim",
            lambda values: values["hidden_dim"] // max(values[ATTENTION + "num_heads"], 1),
            "hidden_size / num_attention_heads",
        ),
        activation("hidden_activation", "gelu", ACTIVATION),
        key("norm_eps", 1e-5, *(f"{norm}.epsilon" for norm in _NORMS)),
        key("norm_bias", False, *(f"{norm}.use_bias" for norm in _NORMS)),
        repeat("layer_norm_eps", lambda values: values[BLOCK + "norm.epsilon"], "norm_eps"),
        optional("pad_token_id", int, 50283, "padding_id", null=lambda values: 0, adapt=not_negative),
        key("attention_bias", False, ATTENTION + "use_bias"),
        Group(
            ("layer_types", "local_attention", "sliding_window", "global_attn_every_n_layers"),
            _read_windows,
            _write_windows,
        ),
        Group(("rope_parameters", "global_rope_theta", "local_rope_theta", "rope_scaling"), _read_bases, _write_bases),
        key("embedding_dropout", 0.0, "embeddings.dropout"),
        key("mlp_bias", False, FEED_FORWARD + "use_bias"),
        key("mlp_dropout", 0.0, FEED_FORWARD + "dropout"),
        key("decoder_bias", True, "head.use_bias"),
        choice("classifier_pooling", "cls", "pooler.pooling", {"cls": "first", "mean": "mean"}),
        key("classifier_dropout", 0.0, *CLASSIFIERS, "span_head.dropout"),
        key("classifier_bias", False, *(f"{each}.use_bias" for each in _TRANSFORMS)),
        activation("classifier_activation", "gelu", *(f"{each}.activation" for each in _TRANSFORMS)),
        key("tie_word_embeddings", True, "head.tied"),
        expect("sparse_prediction", False),
        inert(
            "max_position_embeddings", "position_embedding_type", "repad_logits_with_grad", "sparse_pred_ignore_index"
        ),
    ),
    {
        **dict.fromkeys(_NORMS, LayerNorm),
        BLOCK + "norm_placement": "pre",
        FEED_FORWARD + "gated": True,
        "encoder.final_norm": True,
        "encoder.first_norm": False,
    },
)


register(
    Family(
        "modernbert",
        _KEYS,
        WeightMap(
            tuple(
                Entry(f"{ours}transform.{part}", f"head.{part}")
                for ours in ("head.", "pooler.", "")
                for part in ("dense", "norm")
            ),
            ("head.dense.{leaf}", "head.norm.{leaf}"),
            (
                Entry("embedding.token", "embeddings.tok_embeddings"),
                Entry("embedding.norm", "embeddings.norm"),
                Entry(
                    tuple(f"encoder.block_{{n}}.self_attention.{part}" for part in ("query", "key", "value")),
                    "layers.{n}.attn.Wqkv",
                ),
                Entry("encoder.block_{n}.self_attention.output", "layers.{n}.attn.Wo"),
                Entry("encoder.block_{n}.self_attention_norm_before", "layers.{n}.attn_norm"),
                Entry(
                    tuple(f"encoder.block_{{n}}.feed_forward.{part}" for part in ("gate", "up")), "layers.{n}.mlp.Wi"
                ),
                Entry("encoder.block_{n}.feed_forward.down", "layers.{n}.mlp.Wo"),
                Entry("encoder.block_{n}.feed_forward_norm_before", "layers.{n}.mlp_norm"),
                Entry("encoder.norm", "final_norm"),
            ),
            "model.",
            scores=(("decoder.weight", "model.embeddings.tok_embeddings.weight"),),
        ),
        (
            Head("TextEmbedder", "ModernBertModel"),
            Head("MaskedLM", "ModernBertForMaskedLM", (Entry("head.dense", "decoder"), Entry("head", "decoder"))),
            *(
                Head(task, f"ModernBertFor{kind}", (Entry(ours, "classifier"),))
                for task, kind, ours in (
                    ("TextClassifier", "SequenceClassification", "classifier"),
                    ("TokenClassifier", "TokenClassification", "classifier"),
                    ("QuestionAnswerer", "QuestionAnswering", "span"),
                )
            ),
        ),
        links("modernbert"),
    ),
)
