"""T5 and its relatives: an encoder, and a decoder that attends to it, with relative positions. Data only, in the
records of `family.py` and the rows of `keys.py`.

model_type   relative positions     vocabulary head
t5           one for all layers     tied and scaled (T5); or untied and not scaled (v1.1, Flan, ByT5)
mt5          one for all layers     untied and not scaled
umt5         one for each layer     tied and scaled; or untied

Version 5 of transformers reads every file as tied, and unties a head that the file stores with other numbers, as
`formats/ties.py` does. `tie_word_embeddings` decides whether the head is scaled, as in version 4, for which these
models were published.
"""

from typing import Any

from keras_transformers.families.config_reader import HUGGING_FACE_ACTIVATIONS, ConfigReader, activation_name
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Fields, Values
from keras_transformers.families.keys import (
    OMITTED,
    TWO_STACKS,
    Group,
    Keys,
    Row,
    derive,
    inert,
    key,
    optional,
    token_id,
    written_if,
)
from keras_transformers.families.registry import register
from keras_transformers.families.two_stacks import SIDES, both, in_both, start_token
from keras_transformers.families.weight_map import Entry, WeightMap, both_ways
from keras_transformers.layers.heads import HeadConfig, PoolerConfig, TransformConfig
from keras_transformers.layers.norms import RMSNorm
from keras_transformers.layers.positions import RelativeBuckets
from keras_transformers.models.config import ModelConfig

# Configurations


def _feed_forward(default: str) -> Group:
    """Return the row of `feed_forward_proj`: the activation of the feed-forward layers, and whether they are gated."""

    def read_projection(read: ConfigReader, values: Values) -> None:
        projection = read("feed_forward_proj", default)
        gate, _, name = projection.rpartition("gated-")
        name = "gelu_new" if projection == "gated-gelu" else name
        if gate or name not in HUGGING_FACE_ACTIVATIONS:
            known = ", ".join(HUGGING_FACE_ACTIVATIONS)
            raise ValueError(
                f"feed_forward_proj: expected one of {known}, or gated- and one of them, got {projection!r}"
            )
        ours, gated = HUGGING_FACE_ACTIVATIONS[name], "gated-" in projection
        same = [theirs for theirs, each in HUGGING_FACE_ACTIVATIONS.items() if each == ours]
        given = read.values.get("dense_act_fn")  # files may repeat the activation under another name
        read.repeats("dense_act_fn", given if given in same else name, f"feed_forward_proj={projection!r}")
        read.repeats("is_gated_act", gated, f"feed_forward_proj={projection!r}")
        values |= in_both({"block.feed_forward.activation": ours, "block.feed_forward.gated": gated})

    return Group(("feed_forward_proj", "dense_act_fn", "is_gated_act"), read_projection, _write_projection)


def _write_projection(fields: Fields) -> Values:
    ours = fields("encoder.block.feed_forward.activation")
    if not fields("encoder.block.feed_forward.gated"):
        return {"feed_forward_proj": activation_name(ours)}
    names = {"gelu_tanh": "gelu", "gelu": "gelu_python"}  # gated-gelu is not "gelu" with a gate
    return {"feed_forward_proj": f"gated-{names.get(ours) or activation_name(ours)}"}


def _read_stacks(read: ConfigReader, values: Values) -> None:
    """Leave out the decoder if the file says so, or its architecture has none."""
    alone = not read("is_encoder_decoder", True) or read.task in ("TextEmbedder", "TokenClassifier")
    read.expect("is_encoder_decoder", True, False)
    if alone:
        values |= {"decoder": None, "reading": None, "head": HeadConfig(), "pooler": PoolerConfig("mean")}


_LAST = ("token_head.dropout", "pooler.input_dropout", "pooler.dropout")
_DROPOUTS = both("block.dropout", "block.attention.dropout", "block.feed_forward.dropout", "final_dropout")


def _shared_size(fields: Fields) -> Any:
    return fields("embeddings.vocabulary_size") if fields("decoder_embeddings") is None else OMITTED


def _keys(projection: str, start_id: int | None, *rows: Row) -> Keys:
    """Return the rows that all families share, with T5's default sizes."""
    return Keys(
        (
            *TWO_STACKS,
            key("vocab_size", 32128, "embeddings.vocabulary_size", restore=_shared_size),
            key(("d_model", "hidden_size"), 512, "hidden_dim"),
            key(("d_kv", "head_dim"), 64, *both("block.attention.head_dim")),
            key("d_ff", 2048, *both("block.feed_forward.intermediate_dim")),
            key(("num_layers", "num_hidden_layers"), 6, "encoder.num_layers"),
            optional(
                "num_decoder_layers",
                int,
                None,
                "decoder.num_layers",
                adapt=lambda layers, values: layers or values["encoder.num_layers"],
                restore=lambda fields: fields(f"{'encoder' if fields('decoder') is None else 'decoder'}.num_layers"),
            ),
            key(("num_heads", "num_attention_heads"), 8, *both("block.attention.num_heads")),
            key("relative_attention_num_buckets", 32, *both("block.attention.positions.num_buckets")),
            key("relative_attention_max_distance", 128, *both("block.attention.positions.max_distance")),
            key("dropout_rate", 0.1, *_DROPOUTS, "embeddings.dropout"),
            key("layer_norm_epsilon", 1e-6, *both("block.norm.epsilon")),
            _feed_forward(projection),
            key("classifier_dropout", 0.0, *_LAST),
            token_id("pad_token_id", 0, "padding_id"),
            written_if("decoder", token_id("eos_token_id", 1, "pooler.end_id")),
            written_if("decoder", start_token(start_id)),
            key("tie_word_embeddings", True, "head.tied"),
            *rows,
            Group(
                ("is_encoder_decoder",),
                _read_stacks,
                lambda fields: {"is_encoder_decoder": fields("decoder") is not None},
            ),
            inert("n_positions", "scalable_attention"),  # n_positions: in T5's first files
        ),
        {
            **in_both(
                {
                    "block.norm": RMSNorm,
                    "block.norm_placement": "pre",
                    "block.attention.use_bias": False,
                    "block.attention.scale": 1.0,
                    "block.attention.positions": RelativeBuckets,
                    "block.feed_forward.use_bias": False,
                    "final_norm": True,
                }
            ),
            "pooler.pooling": "last",
            "pooler.transform": TransformConfig("tanh", None),
        },
    )


_VOCABULARIES = tuple(f"{side}_vocab_size" for side in SIDES)


def _read_vocabularies(read: ConfigReader, values: Values) -> None:
    """Give the decoder a separate vocabulary if the file says that the vocabulary is not shared."""
    if read("shared_embedding", True):
        for name in _VOCABULARIES:
            if read.values.get(name) is not None:
                read.pass_by(name)
        return
    source, target = (read(name, 0) for name in _VOCABULARIES)
    values |= {"embeddings.vocabulary_size": source, "decoder_embeddings.vocabulary_size": target}
    values["decoder_embeddings.dropout"] = values["embeddings.dropout"]


def _write_vocabularies(fields: Fields) -> Values:
    if fields("decoder_embeddings") is None:
        return {}
    sizes = (fields("embeddings.vocabulary_size"), fields("decoder_embeddings.vocabulary_size"))
    return {"shared_embedding": False, **dict(zip(_VOCABULARIES, sizes, strict=True))}


_T5_KEYS = _keys(
    "relu",
    None,
    written_if("decoder", key("scale_decoder_outputs", lambda values: values["head.tied"], "head.scale")),
)
_SIZES = {"vocab_size": 250112, "d_ff": 1024, "num_layers": 8, "num_heads": 6}
_MT5_KEYS = _keys(
    "gated-gelu",
    0,
    Group(("shared_embedding", *_VOCABULARIES), _read_vocabularies, _write_vocabularies),
).but(_SIZES)
_UMT5_KEYS = _keys("gated-gelu", 0, derive(lambda values: values.update({"head.scale": values["head.tied"]}))).but(
    _SIZES, always=in_both({"block.attention.positions.by_layer": True})
)


# Weights

_PREFIX = "transformer."
_ATTENTION = ("query", "key", "value", "output")


def _layer(side: str, gated: bool) -> dict[str, str]:
    """Return the names inside a block. In T5, each branch with its norm is called a "layer"."""
    branches = [("self_attention", "SelfAttention"), ("cross_attention", "EncDecAttention")][: 1 + (side == "decoder")]
    layer: dict[str, str] = {}
    for number, (ours, theirs) in enumerate(branches):
        layer |= {f"{ours}.{part}": f"layer.{number}.{theirs}.{part[0]}" for part in _ATTENTION}
        layer[f"{ours}_norm_before"] = f"layer.{number}.layer_norm"
    dense = f"layer.{len(branches)}.DenseReluDense"
    return layer | {
        "feed_forward.gate": f"{dense}.wi_0",
        "feed_forward.up": f"{dense}.{'wi_1' if gated else 'wi'}",
        "feed_forward.down": f"{dense}.wo",
        "feed_forward_norm_before": f"layer.{len(branches)}.layer_norm",
    }


def _weights(config: ModelConfig) -> WeightMap:
    """Return the table of a body. For an encoder alone, it ignores the decoder that the file may have."""
    fields = Fields(config)
    gated, own = fields("encoder.block.feed_forward.gated"), fields("encoder.block.attention.positions.by_layer")
    tables: list[list[Entry]] = [[], []]
    for entries, side in zip(tables, SIDES, strict=True):
        layer = _layer(side, gated)
        entries += [Entry(f"{side}.block_{{n}}.{ours}", f"{side}.block.{{n}}.{name}") for ours, name in layer.items()]
        entries.append(Entry(f"{side}.norm", f"{side}.final_layer_norm"))
        bias = f"{side}.block.{'{n}' if own else 0}.layer.0.SelfAttention.relative_attention_bias"
        entries.append(Entry(f"{side}.positions_{{n}}" if own else f"{side}.positions", bias))
    # an unused tensor of old versions of transformers
    ignored = ["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"]
    if config.decoder is None:
        ignored += [f"{entry.theirs}.weight" for entry in tables.pop()] + ["decoder.embed_tokens.weight"]
    body = [entry for table in tables for entry in table]
    copies = [(f"{side}.embed_tokens.weight", "shared.weight") for side in SIDES[: len(tables)]]
    if config.decoder_embeddings is None:
        body.append(Entry("embedding.token", "shared"))
    else:  # the spelling of chemical-converters 0.0.1
        body += [Entry("embedding.token", "encoder_embedding"), Entry("decoder_embedding.token", "decoder_emebedding")]
        copies = []
    scores = [("lm_head.weight", f"{prefix}shared.weight") for prefix in (_PREFIX, "")]
    everywhere = both_ways(_PREFIX, copies)
    return WeightMap((), tuple(ignored), tuple(body), _PREFIX, everywhere, scores=(*everywhere, *scores))


def _heads(name: str) -> tuple[Head, ...]:
    return (
        Head(
            "Seq2SeqLM",
            f"{name}ForConditionalGeneration",
            (Entry("head.dense", "lm_head"),),
            others=(f"{name}WithLMHeadModel",),
            prefix="",
        ),
        Head("TextEmbedder", f"{name}EncoderModel"),
        Head(
            "TextClassifier",
            f"{name}ForSequenceClassification",
            (
                Entry("pooler.transform.dense", "classification_head.dense"),
                Entry("classifier", "classification_head.out_proj"),
            ),
        ),
        Head("TokenClassifier", f"{name}ForTokenClassification", (Entry("classifier", "classifier"),)),
        Head("QuestionAnswerer", f"{name}ForQuestionAnswering", (Entry("span", "qa_outputs"),), prefix=""),
    )


register(
    *(
        Family(name.lower(), keys, _weights, _heads(name), links(name.lower()))
        for name, keys in (("T5", _T5_KEYS), ("MT5", _MT5_KEYS), ("UMT5", _UMT5_KEYS))
    )
)
