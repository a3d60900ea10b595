"""T5 and its relatives: an encoder, and a decoder that attends to it, with relative positions. Data alone: `family.py`
says what the records mean.

model_type   relative positions     vocabulary's head
t5           one for all layers     scaled: the token embeddings (T5); not scaled: its own (v1.1, Flan, ByT5)
mt5          one for all layers     not scaled, its own
umt5         each layer its own     the token embeddings, scaled, or its own

Version 5 of transformers reads every file as tied, and unties a head that the file stores with other numbers, as
`formats/ties.py` does. Whether the head is scaled `tie_word_embeddings` tells, as in version 4, which these models
were published with.
"""

import dataclasses

from keras_transformers.families.family import (
    HUGGING_FACE_ACTIVATIONS,
    Head,
    activation_name,
    by_functions,
    expect_two_stacks,
    links,
    register,
)
from keras_transformers.families.weight_map import Entry, WeightMap, both_ways
from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.heads import HeadConfig, PoolerConfig, TokenHeadConfig, TransformConfig
from keras_transformers.layers.norms import RMSNorm
from keras_transformers.layers.positions import RelativeBuckets
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models.config import ModelConfig, ShiftedSource

_SIDES = ("encoder", "decoder")


# Configurations


def _read(read, scale, *, start_id=0, by_layer=False, **defaults):
    """The keys that all share, with other defaults. `scale`: whether the head is scaled, of whether it is tied."""
    defaults = {"vocab_size": 250112, "d_ff": 1024, "num_layers": 8, "num_heads": 6} | defaults
    defaults = {"feed_forward_proj": "gated-gelu"} | defaults
    # what has no decoder says so, or is of a class that has none
    encodes = not read("is_encoder_decoder", True) or read.task in ("TextEmbedder", "TokenClassifier")
    expect_two_stacks(read, is_encoder_decoder=(True, False))
    dropout = read("dropout_rate", 0.1)
    buckets = RelativeBuckets(
        read("relative_attention_num_buckets", 32), read("relative_attention_max_distance", 128), by_layer
    )
    attention = AttentionConfig(
        read("num_heads", defaults["num_heads"]),
        head_dim=read("d_kv", 64),
        positions=buckets,
        use_bias=False,
        dropout=dropout,
        scale=1.0,
    )
    activation, gated = _activation(read, defaults["feed_forward_proj"])
    intermediate_dim = read("d_ff", defaults["d_ff"])
    feed_forward = FeedForwardConfig(intermediate_dim, activation, gated=gated, use_bias=False, dropout=dropout)
    block = BlockConfig(attention, feed_forward, RMSNorm(read("layer_norm_epsilon", 1e-6)), "pre", dropout)
    layers = read("num_layers", defaults["num_layers"])
    decoder_layers = read.optional("num_decoder_layers", int) or layers
    tied = read("tie_word_embeddings", True)
    last = read("classifier_dropout", 0.0)
    end_id = read.token_id("eos_token_id", 1)
    start_id = read.optional("decoder_start_token_id", int, start_id)
    config = ModelConfig(
        read("d_model", 512),
        EmbeddingsConfig(read("vocab_size", defaults["vocab_size"]), dropout=dropout),
        StackConfig(layers, block, final_norm=True, final_dropout=dropout),
        StackConfig(decoder_layers, block, final_norm=True, final_dropout=dropout),
        head=HeadConfig(tied, scale=scale(tied)),
        padding_id=read.token_id("pad_token_id", 0),
        pooler=PoolerConfig("last", TransformConfig("tanh", None), last, last, end_id=end_id),
        token_head=TokenHeadConfig(dropout=last),
        reading=None if start_id is None else ShiftedSource(start_id),
    )
    if encodes:
        alone = {"decoder": None, "reading": None, "head": HeadConfig(), "pooler": PoolerConfig("mean")}
        return dataclasses.replace(config, **alone)
    return config


def _activation(read, default):
    """The activation of the feed-forward layers, and whether they are gated: `feed_forward_proj` says both."""
    told = read("feed_forward_proj", default)
    gate, _, name = told.rpartition("gated-")
    name = "gelu_new" if told == "gated-gelu" else name
    if gate or name not in HUGGING_FACE_ACTIVATIONS:
        known = ", ".join(HUGGING_FACE_ACTIVATIONS)
        raise ValueError(f"feed_forward_proj: expected one of {known}, or gated- and one of them, got {told!r}")
    ours, gated = HUGGING_FACE_ACTIVATIONS[name], "gated-" in told
    same = [theirs for theirs, each in HUGGING_FACE_ACTIVATIONS.items() if each == ours]
    given = read.values.get("dense_act_fn")  # files say both again, and may call the same function otherwise
    read.repeats("dense_act_fn", given if given in same else name, f"feed_forward_proj={told!r}")
    read.repeats("is_gated_act", gated, f"feed_forward_proj={told!r}")
    return ours, gated


def _read_t5(read):
    defaults = {"vocab_size": 32128, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "feed_forward_proj": "relu"}
    return _read(read, lambda tied: read("scale_decoder_outputs", tied), start_id=None, **defaults)


def _read_mt5(read):
    config = _read(read, lambda tied: False)
    if read("shared_embedding", True):
        return config
    sizes = [read(f"{side}_vocab_size", 0) for side in _SIDES]
    source, target = (dataclasses.replace(config.embeddings, vocabulary_size=size) for size in sizes)
    return dataclasses.replace(config, embeddings=source, decoder_embeddings=target)


def _read_umt5(read):
    return _read(read, lambda tied: tied, by_layer=True)


def _write(config):
    block, buckets = config.encoder.block, config.encoder.block.attention.positions
    values = {
        "is_encoder_decoder": config.decoder is not None,
        "vocab_size": config.embeddings.vocabulary_size,
        "d_model": config.hidden_dim,
        "d_kv": block.attention.head_dim,
        "d_ff": block.feed_forward.intermediate_dim,
        "num_layers": config.encoder.num_layers,
        "num_decoder_layers": (config.decoder or config.encoder).num_layers,
        "num_heads": block.attention.num_heads,
        "relative_attention_num_buckets": buckets.num_buckets,
        "relative_attention_max_distance": buckets.max_distance,
        "dropout_rate": block.dropout,
        "layer_norm_epsilon": block.norm.epsilon,
        "feed_forward_proj": _projection(block.feed_forward),
        "classifier_dropout": config.token_head.dropout,
        "pad_token_id": config.padding_id,
        "tie_word_embeddings": config.head.tied,
    }
    if config.decoder is None:
        return values
    reading = {"decoder_start_token_id": config.reading and config.reading.start_id}
    return values | {"eos_token_id": config.pooler.end_id} | reading


def _projection(feed_forward):
    """`feed_forward_proj`, where gated-gelu is not that with a gate."""
    if not feed_forward.gated:
        return activation_name(feed_forward.activation)
    names = {"gelu_tanh": "gelu", "gelu": "gelu_python"}
    return f"gated-{names.get(feed_forward.activation) or activation_name(feed_forward.activation)}"


def _write_t5(config):
    return _write(config) | ({} if config.decoder is None else {"scale_decoder_outputs": config.head.scale})


def _write_mt5(config):
    if config.decoder_embeddings is None:
        return _write(config)
    sizes = (config.embeddings.vocabulary_size, config.decoder_embeddings.vocabulary_size)
    own = {"shared_embedding": False} | {f"{side}_vocab_size": size for side, size in zip(_SIDES, sizes, strict=True)}
    return {name: value for name, value in _write(config).items() if name != "vocab_size"} | own


# Weights

_PREFIX = "transformer."
_ATTENTION = ("query", "key", "value", "output")


def _layer(side, gated):
    """A block's layers: each branch is a "layer" over there, with its norm."""
    branches = [("self_attention", "SelfAttention"), ("cross_attention", "EncDecAttention")][: 1 + (side == "decoder")]
    layer = {}
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


def _weights(config):
    """The table of a body, and of a stack that a file has besides: its decoder, for an encoder alone."""
    block = config.encoder.block
    tables = [[], []]
    for entries, side in zip(tables, _SIDES, strict=True):
        layer = _layer(side, block.feed_forward.gated)
        entries += [Entry(f"{side}.block_{{n}}.{ours}", f"{side}.block.{{n}}.{name}") for ours, name in layer.items()]
        entries.append(Entry(f"{side}.norm", f"{side}.final_layer_norm"))
        own = block.attention.positions.by_layer
        bias = f"{side}.block.{'{n}' if own else 0}.layer.0.SelfAttention.relative_attention_bias"
        entries.append(Entry(f"{side}.positions_{{n}}" if own else f"{side}.positions", bias))
    # transformers left it there once, with nothing in it
    ignored = ["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"]
    if config.decoder is None:
        ignored += [f"{entry.theirs}.weight" for entry in tables.pop()] + ["decoder.embed_tokens.weight"]
    body = [entry for table in tables for entry in table]
    copies = [(f"{side}.embed_tokens.weight", "shared.weight") for side in _SIDES[: len(tables)]]
    if config.decoder_embeddings is None:
        body.append(Entry("embedding.token", "shared"))
    else:  # as chemical-converters 0.0.1 spells them
        body += [Entry("embedding.token", "encoder_embedding"), Entry("decoder_embedding.token", "decoder_emebedding")]
        copies = []
    scores = [("lm_head.weight", f"{prefix}shared.weight") for prefix in (_PREFIX, "")]
    copies = both_ways(_PREFIX, copies)
    return WeightMap((), tuple(ignored), tuple(body), _PREFIX, copies, scores=(*copies, *scores))


def _heads(name):
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


# n_positions: of T5's first files, whose positions have no end
_INERT = ("n_positions", "scalable_attention")
_NAMES = (
    ("hidden_size", "d_model"),
    ("num_attention_heads", "num_heads"),
    ("num_hidden_layers", "num_layers"),
    ("head_dim", "d_kv"),
)

register(
    *(
        by_functions(
            name.lower(),
            read,
            write,
            _weights,
            _heads(name),
            links(name.lower()),
            _INERT,
            _NAMES,
        )
        for name, read, write in (
            ("T5", _read_t5, _write_t5),
            ("MT5", _read_mt5, _write_mt5),
            ("UMT5", _read_umt5, _write),
        )
    )
)
