"""DeBERTa: encoders with disentangled attention. Data only: `family.py` explains the records.

model_type    distances                     query, key and value     other differences
deberta       a vector for each             one tensor               no bias of keys
deberta-v2    by logarithmic buckets        three tensors            perhaps a convolution beside the first layer

Versions 2 and 3 differ in how they were trained. Both have two kinds of names for the head of a masked language model;
`legacy` tells which transformers reads.
"""

from typing import Any

from keras_transformers.families.config_reader import ConfigReader, activation_name
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Fields, Inexpressible, Values
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
    written_if,
)
from keras_transformers.families.registry import register
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.disentangled import Disentangled
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Learned
from keras_transformers.models.config import ModelConfig

# Configurations

_BLOCK, _ATTENTION, _FEED_FORWARD = "encoder.block.", "encoder.block.attention.", "encoder.block.feed_forward."
_POSITIONS, _DROPOUT = _ATTENTION + "positions", "encoder.block.dropout"
_TABLE, _LEARNED, _LONGEST = _POSITIONS + ".table", "embeddings.positions", "embeddings.context_length"
_NORMS = (_BLOCK + "norm", "embeddings.norm", "head.transform.norm")
_TERMS = {("p2c", "c2p"): "both", ("c2p",): "content_to_position", ("p2c",): "position_to_content"}


def _read_terms(read: ConfigReader, values: Values) -> None:
    """Read whether there are relative positions, and which terms with them are in the scores."""
    given = read("pos_att_type", None)
    names = [each.strip() for each in given.lower().split("|")] if isinstance(given, str) else given or []
    terms = (
        _TERMS.get(tuple(sorted(names, reverse=True)))
        if isinstance(names, list) and all(map(_is_text, names))
        else None
    )
    relative = read("relative_attention", False)
    if relative != (terms is not None) or not relative and given:
        raise ValueError(
            "relative_attention and pos_att_type: expected true beside c2p, p2c or both, or false beside null, got "
            f"{relative!r} and {given!r:.80}"
        )
    values |= {_POSITIONS + ".terms": terms} if relative else {_POSITIONS: None}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _write_terms(fields: Fields) -> dict[str, Any]:
    if fields(_POSITIONS) is None:
        return {"relative_attention": False}
    names = next(names for names, terms in _TERMS.items() if terms == fields(_POSITIONS + ".terms"))
    return {"relative_attention": True, "pos_att_type": list(names)}


def _read_lengths(read: ConfigReader, values: Values) -> None:
    """Read the longest text and distance, and whether positions are added to the embeddings."""
    longest, farthest = read("max_position_embeddings", 512), read("max_relative_positions", -1)
    if farthest < -1:
        raise ValueError(f"max_relative_positions: expected a number of positions, or -1, got {farthest}")
    biased = read("position_biased_input", True)
    values |= {_LEARNED + ".max_length": longest} if biased else {_LEARNED: None, _LONGEST: longest}
    values[_TABLE + ".max_distance"] = farthest if farthest > 0 else longest


def _write_lengths(fields: Fields) -> dict[str, Any]:
    biased, relative = fields(_LEARNED) is not None, fields(_POSITIONS) is not None
    longest = fields(_LEARNED + ".max_length" if biased else _LONGEST)
    if longest is None:
        raise Inexpressible("This ModelConfig has no longest text.")
    keys = {"max_position_embeddings": longest, "position_biased_input": biased}
    if relative:
        farthest = fields(_TABLE + ".max_distance")
        keys["max_relative_positions"] = -1 if farthest == longest else farthest
    return keys


def _read_width(width: int, values: Values) -> int | None:
    """Return the width of narrow embeddings, or None."""
    narrow = width != values["hidden_dim"]
    values["embeddings.projected"] = "sum_before_norm" if narrow else "sum"
    return width if narrow else None


def _not_negative(padding_id: int, values: Values) -> int:
    if padding_id < 0:
        raise ValueError(f"pad_token_id: expected the id by which an encoder tells padding, got {padding_id}")
    return padding_id


def _head_dim(values: Values) -> int:
    return values["hidden_dim"] // max(values[_ATTENTION + "num_heads"], 1)


_DROPOUTS = (_DROPOUT, "embeddings.dropout", "token_head.dropout", _POSITIONS + ".dropout")

_DEBERTA_KEYS = Keys(
    (
        *ONE_STACK,
        expect("is_decoder", False),
        expect("talking_head", False),
        key("vocab_size", 50265, "embeddings.vocabulary_size"),
        key("hidden_size", 768, "hidden_dim"),
        key("num_hidden_layers", 12, "encoder.num_layers"),
        key("num_attention_heads", 12, _ATTENTION + "num_heads"),
        key("intermediate_size", 3072, _FEED_FORWARD + "intermediate_dim"),
        activation("hidden_act", "gelu", _FEED_FORWARD + "activation", "head.transform.activation"),
        key("hidden_dropout_prob", 0.1, *_DROPOUTS),
        key("attention_probs_dropout_prob", 0.1, _ATTENTION + "dropout"),
        key("type_vocab_size", 0, "embeddings.num_segments"),
        key("layer_norm_eps", 1e-7, *(f"{norm}.epsilon" for norm in _NORMS)),
        optional("pad_token_id", int, 0, "padding_id", null=lambda values: 0, adapt=_not_negative),
        Group(("relative_attention", "pos_att_type"), _read_terms, _write_terms),
        Group(
            ("max_position_embeddings", "position_biased_input", "max_relative_positions"),
            _read_lengths,
            _write_lengths,
        ),
        key(
            "embedding_size",
            lambda values: values["hidden_dim"],
            "embeddings.embedding_dim",
            adapt=_read_width,
            restore=lambda fields: fields("embeddings.embedding_dim") or OMITTED,
        ),
        key("pooler_dropout", 0.0, "pooler.input_dropout"),
        activation("pooler_hidden_act", "gelu", "pooler.transform.activation"),
        repeat("pooler_hidden_size", lambda values: values["hidden_dim"], "hidden_size"),
        optional("cls_dropout", float, None, "pooler.dropout", null=lambda values: values[_DROPOUT]),
        key("tie_word_embeddings", True, "head.tied"),
        inert("legacy"),
    ),
    {
        **dict.fromkeys(_NORMS, LayerNorm),
        _LEARNED: Learned,
        _POSITIONS: Disentangled,
        _ATTENTION + "use_bias": "all_but_keys",
        "head.use_bias": True,
        "pooler.pooling": "first",
        "pooler.transform.norm": None,
    },
)


def _read_convolution(read: ConfigReader, values: Values) -> None:
    """Read the convolution beside the first layer, if the model has one."""
    size, name = read("conv_kernel_size", 0), read.activation("conv_act", "tanh")
    if size > 0:
        path = "encoder.convolution."
        values |= {path + "kernel_size": size, path + "activation": name, path + "dropout": values[_DROPOUT]}


def _write_convolution(fields: Fields) -> dict[str, Any]:
    if fields("encoder.convolution") is None:
        return {}
    name = activation_name(fields("encoder.convolution.activation"))
    return {"conv_kernel_size": fields("encoder.convolution.kernel_size"), "conv_act": name}


def _read_norm(read: ConfigReader, values: Values) -> None:
    """Read the norm of the vectors of distances."""
    given = read("norm_rel_ebd", "none")
    if given.lower() not in ("none", "layer_norm"):
        raise ValueError(f"norm_rel_ebd: expected none or layer_norm, got {given!r:.80}")
    norm = LayerNorm(values[_BLOCK + "norm.epsilon"])
    values[_TABLE + ".norm"] = norm if given.lower() == "layer_norm" else None


def _write_norm(fields: Fields) -> dict[str, Any]:
    if fields(_POSITIONS) is None or fields(_TABLE + ".norm") is None:
        return {}
    return {"norm_rel_ebd": "layer_norm"}


_DEBERTA_V2_KEYS = _DEBERTA_KEYS.but(
    {
        "vocab_size": 128100,
        "hidden_size": 1536,
        "num_hidden_layers": 24,
        "num_attention_heads": 24,
        "intermediate_size": 6144,
    },
    repeat("attention_head_size", _head_dim, "hidden_size / num_attention_heads"),
    written_if(
        _POSITIONS,
        key(
            "share_att_key",
            False,
            _POSITIONS + ".shared_projections",
            restore=lambda fields: fields(_POSITIONS + ".shared_projections") or OMITTED,
        ),
    ),
    written_if(
        _POSITIONS,
        key(
            "position_buckets",
            -1,
            _TABLE + ".num_buckets",
            adapt=lambda buckets, values: buckets if buckets > 0 else None,
            restore=lambda fields: fields(_TABLE + ".num_buckets") or OMITTED,
        ),
    ),
    Group(("norm_rel_ebd",), _read_norm, _write_norm),
    Group(("conv_kernel_size", "conv_act"), _read_convolution, _write_convolution),
    expect("conv_groups", 1),
    without=("talking_head",),
    always={_ATTENTION + "use_bias": True},
)


# Weights

_PREFIX, _TOKENS = "deberta.", "embeddings.word_embeddings.weight"
_MASKED = "cls.predictions"
_VOCABULARY = (
    Entry("head.transform.dense", f"{_MASKED}.transform.dense"),
    Entry("head.transform.norm", f"{_MASKED}.transform.LayerNorm"),
    Entry("head.dense", f"{_MASKED}.decoder"),
    Entry("head", _MASKED),
)
# The head of a masked language model as the authors' files name it, and transformers if `legacy` is false.
_OTHER_NAMES = (
    ("lm_predictions.lm_head.dense.weight", f"{_MASKED}.transform.dense.weight"),
    ("lm_predictions.lm_head.dense.bias", f"{_MASKED}.transform.dense.bias"),
    ("lm_predictions.lm_head.LayerNorm.weight", f"{_MASKED}.transform.LayerNorm.weight"),
    ("lm_predictions.lm_head.LayerNorm.bias", f"{_MASKED}.transform.LayerNorm.bias"),
    ("lm_predictions.lm_head.bias", f"{_MASKED}.bias"),
)
_BODY = (
    Entry("embedding.token", "embeddings.word_embeddings"),
    Entry("embedding.position", "embeddings.position_embeddings"),
    Entry("embedding.segment", "embeddings.token_type_embeddings"),
    Entry("embedding.projection", "embeddings.embed_proj"),
    Entry("embedding.norm", "embeddings.LayerNorm"),
    Entry("encoder.positions", "encoder.rel_embeddings"),
    Entry("encoder.positions.norm", "encoder.LayerNorm"),
    Entry("encoder.convolution.convolution", "encoder.conv.conv", convolution=True),
    Entry("encoder.convolution.norm", "encoder.conv.LayerNorm"),
)
_LAYER = {
    "self_attention.output": "attention.output.dense",
    "self_attention_norm_after": "attention.output.LayerNorm",
    "feed_forward.up": "intermediate.dense",
    "feed_forward.down": "output.dense",
    "feed_forward_norm_after": "output.LayerNorm",
}
_INPUTS = ("query", "key", "value")


def _weights(*attention: Entry) -> WeightMap:
    """Return the table of a body, given the entries of the inputs of its attentions."""
    layer = [Entry(f"encoder.block_{{n}}.{ours}", f"encoder.layer.{{n}}.{theirs}") for ours, theirs in _LAYER.items()]
    return WeightMap(
        (),
        (
            *("embeddings.position_ids", "embeddings.position_embeddings.weight"),
            *(f"mask_predictions.{part}.{{leaf}}" for part in ("dense", "LayerNorm", "classifier")),
            *(theirs for theirs, _ in _OTHER_NAMES),
        ),
        (*_BODY, *attention, *layer),
        _PREFIX,
        ((f"{_MASKED}.decoder.bias", f"{_MASKED}.bias"),),
        stand_ins=_OTHER_NAMES,
        scores=((f"{_MASKED}.decoder.weight", f"{_PREFIX}{_TOKENS}"),),
    )


def _entry(ours: str, theirs: str, **options: Any) -> Entry:
    """Return the entry of one part of an attention."""
    return Entry(
        f"encoder.block_{{n}}.self_attention.{ours}", f"encoder.layer.{{n}}.attention.self.{theirs}", **options
    )


def _one_tensor(config: ModelConfig) -> WeightMap:
    """Return the table of version 1, which holds queries, keys and values in one tensor, head by head."""
    inputs = tuple(f"encoder.block_{{n}}.self_attention.{part}" for part in _INPUTS)
    heads = Fields(config)(_ATTENTION + "num_heads")
    return _weights(
        _entry("query.bias", "q_bias"),
        _entry("value.bias", "v_bias"),
        Entry(inputs, "encoder.layer.{n}.attention.self.in_proj", groups=heads),
        _entry("position_key", "pos_proj"),
        _entry("position_query", "pos_q_proj"),
    )


_THREE_TENSORS = _weights(
    *(_entry(part, f"{part}_proj") for part in _INPUTS),
    _entry("position_key", "pos_key_proj"),
    _entry("position_query", "pos_query_proj"),
)


def _heads(name: str) -> tuple[Head, ...]:
    classifier = Entry("classifier", "classifier")
    return (
        Head("TextEmbedder", f"{name}Model"),
        Head("MaskedLM", f"{name}ForMaskedLM", _VOCABULARY),
        Head(
            "TextClassifier",
            f"{name}ForSequenceClassification",
            (Entry("pooler.transform.dense", "pooler.dense"), classifier),
        ),
        Head("TokenClassifier", f"{name}ForTokenClassification", (classifier,)),
        Head("QuestionAnswerer", f"{name}ForQuestionAnswering", (Entry("span", "qa_outputs"),)),
    )


register(
    Family("deberta", _DEBERTA_KEYS, _one_tensor, _heads("Deberta"), links("deberta")),
    Family("deberta-v2", _DEBERTA_V2_KEYS, _THREE_TENSORS, _heads("DebertaV2"), links("deberta_v2")),
)
