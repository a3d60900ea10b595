"""Encoders with rotary positions that many embedders are made of, and the rows and entries that such families share.
Data only: `family.py` explains the records.

family     files                                  differences from BERT
gte        of transformers; arctic-embed-m-v2.0   rotary positions, gated feed-forward layers
new        of gte-v1.5 and gte-multilingual       the same; RMS norms, another scaling of positions
eurobert   of both                                Llama's layers, which see both sides

The files of `new` name code of their own (`auto_map`), which is not in transformers. `jina.py` and `nomic.py` have the
families of Jina and Nomic.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_transformers.families.bert import (
    ACTIVATION,
    ATTENTION,
    BERT_KEYS,
    BLOCK,
    FEED_FORWARD,
    POOLER,
    POSITIONS,
    encoder_heads,
    not_negative,
    padding_id,
    vocabulary_head,
)
from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Fields, Values
from keras_transformers.families.keys import (
    OMITTED,
    ONE_STACK,
    Group,
    Key,
    Keys,
    Row,
    activation,
    choice,
    expect,
    inert,
    key,
    optional,
    repeat,
)
from keras_transformers.families.registry import register
from keras_transformers.families.rotary import RotaryKeys
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.heads import TransformConfig
from keras_transformers.layers.norms import LayerNorm, RMSNorm

# Configurations

DROPOUTS = (BLOCK + "dropout", "embeddings.dropout")
NO_POSITIONS = {POSITIONS: None}  # none are added to the embeddings
NO_OTHER_WIDTH = ("embedding_size", "emb_size", "directionality")


def length(default: int) -> Row:
    """Return the row of the longest text, where positions have no table."""
    return key("max_position_embeddings", default, "embeddings.context_length")


def rotary(default_base: float, **options: Any) -> RotaryKeys:
    """Return the row of an encoder's rotary positions."""
    return RotaryKeys(default_base=default_base, stack="encoder", **options)


def heads_width(values: Values) -> int:
    """Return the width of a head that follows from the model's."""
    return values["hidden_dim"] // max(values[ATTENTION + "num_heads"], 1)


def own_head_dim() -> Key:
    """Return the row of a head width that is written only if it does not follow from the model's."""
    return optional(
        "head_dim",
        int,
        None,
        ATTENTION + "head_dim",
        adapt=lambda width, values: None if width == heads_width(values) else width,
        restore=lambda fields: fields(ATTENTION + "head_dim") or OMITTED,
    )


def code_of(home: str, **classes: str) -> dict[str, Any]:
    """Return the `auto_map` of files whose code lies in a repository on the Hugging Face Hub."""
    return {"auto_map": {name: f"{home}--{each}" for name, each in classes.items()}}


def own_code(home: str, **classes: str) -> Group:
    """Return the row of `auto_map` for files whose code lies in a repository, so that transformers finds it."""
    return Group(("auto_map",), lambda read, values: None, lambda fields: code_of(home, **classes))


GATED_WITH_ONE_BIAS = {FEED_FORWARD + "gated": True, FEED_FORWARD + "use_bias": "output"}
_GTE_KEYS = BERT_KEYS.but(
    {"vocab_size": 250048, "attention_probs_dropout_prob": 0.0},
    activation("hidden_act", "gelu", ACTIVATION),
    key("hidden_dropout_prob", 0.1, *DROPOUTS, FEED_FORWARD + "dropout"),
    key("type_vocab_size", 1, "embeddings.num_segments"),
    padding_id(1),
    length(8192),
    rotary(160000.0),
    repeat("head_dim", heads_width, "hidden_size / num_attention_heads"),
    # of the published code
    expect("position_embedding_type", "rope"),
    expect("layer_norm_type", "layer_norm"),
    expect("logn_attention_scale", False),
    inert("logn_attention_clip1", "pack_qkv", "unpad_inputs", "use_memory_efficient_attention"),
    without=(*NO_OTHER_WIDTH, "position_embedding_type"),
    always={**NO_POSITIONS, **GATED_WITH_ONE_BIAS, "head.transform.activation": "gelu"},
)


def _refuse_mixed(read: ConfigReader, values: Values) -> None:
    scaling = read.values.get("rope_scaling")
    if isinstance(scaling, dict) and scaling.get("mixed_b") is not None:
        raise ValueError(f"rope_scaling: only mixed_b of null is supported, got {scaling['mixed_b']!r:.80}")


_NEW_KEYS = _GTE_KEYS.but(
    {"vocab_size": 30528, "hidden_dropout_prob": 0.1},
    activation("hidden_act", "gelu", ACTIVATION, "head.transform.activation"),
    padding_id(0),
    length(2048),
    rotary(10000.0, kinds=("ntk",)),
    dataclasses.replace(
        choice("layer_norm_type", "layer_norm", BLOCK + "norm", {"layer_norm": LayerNorm, "rms_norm": RMSNorm}),
        restore=lambda fields: "rms_norm" if isinstance(fields(BLOCK + "norm"), RMSNorm) else "layer_norm",
    ),
    Group((), _refuse_mixed),
    own_code(
        "Alibaba-NLP/new-impl",
        AutoConfig="configuration.NewConfig",
        AutoModel="modeling.NewModel",
        AutoModelForMaskedLM="modeling.NewForMaskedLM",
        AutoModelForQuestionAnswering="modeling.NewForQuestionAnswering",
        AutoModelForSequenceClassification="modeling.NewForSequenceClassification",
        AutoModelForTokenClassification="modeling.NewForTokenClassification",
    ),
)

_POOLINGS = {"bos": ("first", False), "mean": ("mean", False), "late": ("mean", True)}


def _read_pooling(read: ConfigReader, values: Values) -> None:
    pooling = read("classifier_pooling", "late")
    if pooling not in _POOLINGS:
        raise ValueError(f"classifier_pooling: expected one of {', '.join(_POOLINGS)}, got {pooling!r}")
    read.repeats("clf_pooling", pooling, "classifier_pooling")  # the name in the published code
    values["pooler.pooling"], values["pooler.by_token"] = _POOLINGS[pooling]


def _write_pooling(fields: Fields) -> dict[str, Any]:
    pooling = fields("pooler.pooling"), fields("pooler.by_token")
    return {"classifier_pooling": next((name for name, each in _POOLINGS.items() if each == pooling), None)}


_EUROBERT_KEYS = Keys(
    (
        *ONE_STACK,
        inert("is_decoder", "pretraining_tp", *(f"{name}_token" for name in ("bos", "eos", "mask", "pad"))),
        key("vocab_size", 128256, "embeddings.vocabulary_size"),
        key("hidden_size", 768, "hidden_dim"),
        key("intermediate_size", 3072, FEED_FORWARD + "intermediate_dim"),
        key("num_hidden_layers", 12, "encoder.num_layers"),
        key("num_attention_heads", 12, ATTENTION + "num_heads"),
        optional(
            "num_key_value_heads",
            int,
            None,
            ATTENTION + "num_key_value_heads",
            null=lambda values: values[ATTENTION + "num_heads"],
        ),
        own_head_dim(),
        activation("hidden_act", "silu", ACTIVATION),
        length(8192),
        rotary(10000.0),
        key("rms_norm_eps", 1e-5, BLOCK + "norm.epsilon"),
        key("attention_dropout", 0.0, ATTENTION + "dropout"),
        expect("hidden_dropout", 0.0),
        key("attention_bias", False, ATTENTION + "use_bias"),
        key("mlp_bias", False, FEED_FORWARD + "use_bias", "head.use_bias"),
        optional("pad_token_id", int, 128001, "padding_id", null=lambda values: 0, adapt=not_negative),
        key("tie_word_embeddings", False, "head.tied"),
        Group(("classifier_pooling", "clf_pooling"), _read_pooling, _write_pooling),
    ),
    {
        BLOCK + "norm": RMSNorm,
        BLOCK + "norm_placement": "pre",
        FEED_FORWARD + "gated": True,
        "encoder.final_norm": True,
        "pooler.transform": TransformConfig("gelu", None),
    },
)


# Weights

QUERY_KEY_VALUE = tuple(f"self_attention.{part}" for part in ("query", "key", "value"))
EMBEDDINGS = (
    Entry("embedding.token", "embeddings.word_embeddings"),
    Entry("embedding.segment", "embeddings.token_type_embeddings"),
    Entry("embedding.norm", "embeddings.LayerNorm"),
)


def in_layers(path: str, names: Mapping[Any, str]) -> tuple[Entry, ...]:
    """Return the entries of the weights in layer `{n}` at a path, given their names there by ours."""

    def ours(name: str | tuple[str, ...]) -> str | tuple[str, ...]:
        block = "encoder.block_{n}."
        return block + name if isinstance(name, str) else tuple(block + each for each in name)

    return tuple(Entry(ours(name), f"{path}.{theirs}") for name, theirs in names.items())


SEPARATE: dict[Any, str] = {
    f"self_attention.{part}": f"self_attn.{part[0]}_proj" for part in ("query", "key", "value", "output")
}
GATED: dict[Any, str] = {f"feed_forward.{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")}
PLAIN: dict[Any, str] = {"feed_forward.up": "mlp.fc1", "feed_forward.down": "mlp.fc2"}


def norms(attention: str, feed_forward: str) -> dict[Any, str]:
    """Return the names of the norms after both branches, by ours."""
    return {"self_attention_norm_after": attention, "feed_forward_norm_after": feed_forward}


NORMS = norms("post_attention_layernorm", "post_mlp_layernorm")


def embedder_weights(
    prefix: str, *body: Entry, decoder: str, bias: str | None = None, others: tuple[str, ...] = (), **options: Any
) -> WeightMap:
    """Return the table of a body.

    `decoder` is the path of the vocabulary head's matrix, and `bias` the second name of its bias, if it has two.
    `others` are prefixes of the body's tensors in files of other code; `options` are further arguments."""
    token = "embeddings.word_embeddings.weight"
    return WeightMap(
        (),
        ("pooler.dense.{leaf}", *options.pop("ignored", ())),
        body,
        prefix,
        () if bias is None else ((f"{decoder}.bias", bias),),
        others,
        scores=tuple((f"{decoder}.weight", f"{each}{token}") for each in (prefix, *others)),
        **options,
    )


_NEW_LAYERS = in_layers(
    "encoder.layer.{n}",
    {
        QUERY_KEY_VALUE: "attention.qkv_proj",
        **{f"self_attention.{part}": f"attention.{part[0]}_proj" for part in ("query", "key", "value", "output")},
        ("feed_forward.up", "feed_forward.gate"): "mlp.up_gate_proj",
        "feed_forward.down": "mlp.down_proj",
        **norms("attn_ln", "mlp_ln"),
    },
)
# Heads

_GTE_VOCABULARY = vocabulary_head("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", "lm_head.decoder")
_OWN_NORM = Entry("head.transform.norm", "lm_head.norm")
_CLASSIFIER = (Entry("classifier", "classifier"),)


def without_spans(heads: tuple[Head, ...]) -> tuple[Head, ...]:
    """Return heads without the one for question answering, for families without it."""
    return tuple(head for head in heads if head.task != "QuestionAnswerer")


def on_hub(*paths: str) -> tuple[str, ...]:
    """Return the links of files on the Hugging Face Hub."""
    return tuple(f"https://huggingface.co/{path}" for path in paths)


register(
    Family(
        "gte",
        _GTE_KEYS,
        embedder_weights(
            "gte.",
            *(*EMBEDDINGS, *in_layers("layers.{n}", SEPARATE | GATED | NORMS), *_NEW_LAYERS, POOLER),
            decoder="lm_head.decoder",
            others=("new.",),
        ),
        without_spans(encoder_heads("Gte", (*_GTE_VOCABULARY, _OWN_NORM))),
        links("gte"),
        own_code=True,
    ),
    Family(
        "eurobert",
        _EUROBERT_KEYS,
        WeightMap(
            (),
            (),
            (
                Entry("embedding.token", "embed_tokens"),
                *in_layers(
                    "layers.{n}",
                    SEPARATE
                    | GATED
                    | {
                        "self_attention_norm_before": "input_layernorm",
                        "feed_forward_norm_before": "post_attention_layernorm",
                    },
                ),
                Entry("encoder.norm", "norm"),
            ),
            "model.",
            scores=(("lm_head.weight", "model.embed_tokens.weight"),),
        ),
        (
            Head("TextEmbedder", "EuroBertModel"),
            Head("MaskedLM", "EuroBertForMaskedLM", (Entry("head.dense", "lm_head"), Entry("head", "lm_head"))),
            Head(
                "TextClassifier",
                "EuroBertForSequenceClassification",
                (Entry("pooler.transform.dense", "dense"), *_CLASSIFIER),
            ),
            Head("TokenClassifier", "EuroBertForTokenClassification", _CLASSIFIER),
        ),
        links("eurobert"),
        own_code=True,
    ),
    Family(
        "new",
        _NEW_KEYS,
        embedder_weights("new.", *EMBEDDINGS, *_NEW_LAYERS, POOLER, decoder="lm_head.decoder"),
        encoder_heads("New", (*(entry for entry in _GTE_VOCABULARY if entry.ours != _OWN_NORM.ours), _OWN_NORM)),
        on_hub("Alibaba-NLP/new-impl/blob/main/modeling.py"),
        own_code=True,
    ),
)
