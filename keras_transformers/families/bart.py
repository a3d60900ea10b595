"""BART and its relatives: an encoder, and a decoder that attends to it. Data alone: `family.py` says what the records
mean.

model_type   positions                       norms    embeddings' norm   what else is its own
bart         learned, 2 rows before          after    yes                reads texts for classifiers
mbart        learned, 2 rows before          before   yes                the same, begun by the text's language
marian       sinusoidal                      after                       perhaps two vocabularies
pegasus      sinusoidal                      before
m2m_100      sinusoidal, without padding     before                      no bias in the head (also NLLB)
"""

import dataclasses

from keras_transformers.families.family import (
    Family,
    Functions,
    Head,
    activation_name,
    expect_two_stacks,
    links,
    register,
)
from keras_transformers.families.weight_map import Entry, WeightMap, both_ways
from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.heads import HeadConfig, PoolerConfig, TransformConfig
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Learned, Sinusoidal
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models.config import ModelConfig, ShiftedSource

_SIDES = ("encoder", "decoder")


# Configurations


def _read_both(read, positions, placement="post", *, embedding_norm=False, **defaults):
    """The keys that all share, with other defaults: a `ModelConfig` whose stacks read one table, if they say so."""
    defaults = {"vocab_size": 50265, "activation_function": "gelu", "pad_token_id": 1} | defaults
    defaults = {"attention_dropout": 0.0, "layerdrop": 0.0, "scale_embedding": False} | defaults
    expect_two_stacks(read)
    is_before = placement == "pre"
    # old files say what transformers goes by the model_type for
    read.expect("normalize_before", is_before)
    read.expect("add_final_layer_norm", is_before)
    read.expect("normalize_embedding", embedding_norm)
    read.expect("static_position_embeddings", positions is not _learned)
    norm, dropout = LayerNorm(1e-5), read("dropout", 0.1)
    attention_dropout = read("attention_dropout", defaults["attention_dropout"])
    activation = read.activation("activation_function", defaults["activation_function"])
    inner_dropout = read("activation_dropout", 0.0)
    read.expect("do_blenderbot_90_layernorm", False)

    def stack(side, layers):
        attention = AttentionConfig(read(f"{side}_attention_heads", 16), dropout=attention_dropout)
        feed_forward = FeedForwardConfig(read(f"{side}_ffn_dim", 4096), activation, dropout=inner_dropout)
        block = BlockConfig(attention, feed_forward, norm, placement, dropout)
        return StackConfig(
            layers, block, final_norm=is_before, layer_dropout=read(f"{side}_layerdrop", defaults["layerdrop"])
        )

    padding_id = read.token_id("pad_token_id", defaults["pad_token_id"])
    source, target = positions(read("max_position_embeddings", 1024), padding_id)
    embeddings = EmbeddingsConfig(
        read("vocab_size", defaults["vocab_size"]),
        source,
        scale=read("scale_embedding", defaults["scale_embedding"]),
        norm=norm if embedding_norm else None,
        dropout=dropout,
    )
    tied = read("tie_word_embeddings", True)
    decoder_embeddings = None  # all of the encoder's
    if positions is not _sinusoidal or not tied:
        decoder_embeddings = dataclasses.replace(embeddings, positions=target, shared_tokens=tied)
    return ModelConfig(
        read("d_model", 1024),
        embeddings,
        stack("encoder", read("encoder_layers", 12)),
        stack("decoder", read("decoder_layers", 12)),
        decoder_embeddings,
        HeadConfig(tied, use_bias=True),
        padding_id,
    )


# Of source and target:


def _learned(max_length, padding_id):
    return (Learned(max_length, offset=2),) * 2


def _sinusoidal(max_length, padding_id):
    return (Sinusoidal(max_length, "halves"),) * 2


def _counted(max_length, padding_id):
    """fairseq's: the first real token has the row after the padding's, of which a target has none before its end."""
    if padding_id is None:
        raise ValueError("pad_token_id: expected a token id, after which positions are counted, got none")
    target = Sinusoidal(max_length, "halves", endpoint=True, offset=padding_id + 1)
    return dataclasses.replace(target, skip_padding=True), target


def _with_reading(read, config, reading):
    """`config` with what classifiers of BART's kind have: the decoder's state at the last end token."""
    dropout = read.optional("classifier_dropout", float, 0.0) or 0.0
    end_id = read.token_id("eos_token_id", 2)
    pooler = PoolerConfig("last", TransformConfig("tanh", None), dropout, dropout, end_id=end_id)
    return dataclasses.replace(config, pooler=pooler, reading=reading)


def _read_bart(read):
    config = _read_both(read, _learned, embedding_norm=True)
    start_id = read.optional("decoder_start_token_id", int, 2)
    return _with_reading(read, config, None if start_id is None else ShiftedSource(start_id))


def _read_mbart(read):
    return _with_reading(read, _read_both(read, _learned, "pre", embedding_norm=True), ShiftedSource())


def _read_marian(read):
    config = _read_both(read, _sinusoidal, vocab_size=58101, pad_token_id=58100)
    source_size = config.embeddings.vocabulary_size
    target_size = read.optional("decoder_vocab_size", int) or source_size
    if not read("share_encoder_decoder_embeddings", True):
        decoder_embeddings = dataclasses.replace(config.embeddings, vocabulary_size=target_size)
        return dataclasses.replace(config, decoder_embeddings=decoder_embeddings)
    if target_size != source_size:
        raise ValueError(
            f"decoder_vocab_size: only vocab_size={source_size} is supported with share_encoder_decoder_embeddings, "
            f"got {target_size}"
        )
    return config


def _read_pegasus(read):
    return _read_both(read, _sinusoidal, "pre", pad_token_id=0)


def _read_m2m_100(read):
    config = _read_both(
        read,
        _counted,
        "pre",
        vocab_size=128112,
        activation_function="relu",
        attention_dropout=0.1,
        layerdrop=0.05,
        scale_embedding=True,
    )
    return dataclasses.replace(config, head=dataclasses.replace(config.head, use_bias=False))


def _write_both(config):
    embeddings, block = config.embeddings, config.encoder.block
    values = {
        "is_encoder_decoder": True,
        "vocab_size": embeddings.vocabulary_size,
        "d_model": config.hidden_dim,
        "max_position_embeddings": embeddings.positions.max_length,
        "scale_embedding": embeddings.scale,
        "activation_function": activation_name(block.feed_forward.activation),
        "dropout": block.dropout,
        "attention_dropout": block.attention.dropout,
        "activation_dropout": block.feed_forward.dropout,
        "pad_token_id": config.padding_id,
        "tie_word_embeddings": config.head.tied,
    }
    for side in _SIDES:
        stack = getattr(config, side)
        values |= {
            f"{side}_layers": stack.num_layers,
            f"{side}_attention_heads": stack.block.attention.num_heads,
            f"{side}_ffn_dim": stack.block.feed_forward.intermediate_dim,
            f"{side}_layerdrop": stack.layer_dropout,
        }
    return values


def _write_mbart(config):
    return _write_both(config) | {
        "classifier_dropout": config.pooler.dropout,
        "eos_token_id": config.pooler.end_id,
    }


def _write_bart(config):
    return _write_mbart(config) | {"decoder_start_token_id": config.reading and config.reading.start_id}


def _write_marian(config):
    return _write_both(config) | {
        "decoder_vocab_size": config.target_embeddings.vocabulary_size,
        "share_encoder_decoder_embeddings": config.decoder_embeddings is None,
    }


# Weights

_PREFIX = "model."
_LAYER = {
    **{
        f"{ours}.{part}": f"{theirs}.{name}"
        for ours, theirs in (("self_attention", "self_attn"), ("cross_attention", "encoder_attn"))
        for part, name in (*((part, f"{part[0]}_proj") for part in ("query", "key", "value")), ("output", "out_proj"))
    },
    "feed_forward.up": "fc1",
    "feed_forward.down": "fc2",
    **{
        f"{branch}_norm_{place}": name
        for branch, name in (
            ("self_attention", "self_attn_layer_norm"),
            ("cross_attention", "encoder_attn_layer_norm"),
            ("feed_forward", "final_layer_norm"),
        )
        for place in ("before", "after")  # a block has one of the two
    },
}


def _weights(config):
    """The table of a body: of one table of tokens, which files say once or again for each stack, or of two."""
    tables = {"encoder": "embedding", "decoder": "decoder_embedding"}
    body = [Entry(f"{side}.block_{{n}}.{a}", f"{side}.layers.{{n}}.{b}") for side in _SIDES for a, b in _LAYER.items()]
    for side, ours in tables.items():
        body.append(Entry(f"{ours}.position", f"{side}.embed_positions"))
        body.append(Entry(f"{ours}.norm", f"{side}.layernorm_embedding"))
        body.append(Entry(f"{side}.norm", f"{side}.layer_norm"))
    ignored = [f"{side}.{name}" for side in _SIDES for name in ("version", "embed_positions.weights")]
    ignored += [f"{side}.embed_positions.weight" for side in _SIDES if _is_sinusoidal(config)]
    shared, own = "shared.weight", [f"{side}.embed_tokens.weight" for side in _SIDES]
    if config.decoder_embeddings is None or config.decoder_embeddings.shared_tokens:
        body.append(Entry("embedding.token", "shared"))
        copies, stand_ins, scores = [(each, shared) for each in own], [], shared
    else:
        body += [Entry(f"{ours}.token", f"{side}.embed_tokens") for side, ours in tables.items()]
        ignored.append(shared)
        copies, stand_ins, scores = [], [(shared, each) for each in own], own[1]
    return WeightMap(
        (),
        tuple(ignored),
        tuple(body),
        _PREFIX,
        both_ways(_PREFIX, copies),
        stand_ins=both_ways(_PREFIX, stand_ins),
        scores=(("lm_head.weight", f"{_PREFIX}{scores}"),),
    )


def _is_sinusoidal(config):
    return isinstance(config.embeddings.positions, Sinusoidal)


_BIAS = "final_logits_bias"  # [1, V]


def _generation(architecture, bias=True):
    biases = tuple(Entry(ours, _BIAS, output_heads=1, zero=True) for ours in ("head.dense.bias", "head.bias") if bias)
    return Head("Seq2SeqLM", architecture, (*biases, Entry("head.dense", "lm_head")))


def _heads(name, num_classes=None):
    """The heads of those whose decoder reads texts."""
    return (
        _generation(f"{name}ForConditionalGeneration"),
        Head("TextEmbedder", f"{name}Model"),
        Head(
            "TextClassifier",
            f"{name}ForSequenceClassification",
            (
                Entry("pooler.transform.dense", "classification_head.dense"),
                Entry("classifier", "classification_head.out_proj"),
            ),
            num_classes=num_classes,
        ),
        Head("QuestionAnswerer", f"{name}ForQuestionAnswering", (Entry("span", "qa_outputs"),)),
    )


_INERT = ("init_std", "add_bias_logits", "classif_dropout", "extra_pos_embeddings", "force_bos_token_to_be_generated")

_NAMES = (
    ("hidden_size", "d_model"),
    ("num_attention_heads", "encoder_attention_heads"),
    ("num_hidden_layers", "encoder_layers"),
)


def _family(model_type, read, write, heads, inert=()):
    return Family(model_type, Functions(read, write, (*_INERT, *inert), _NAMES), _weights, heads, links(model_type))


register(
    _family("bart", _read_bart, _write_bart, _heads("Bart", num_classes=3)),
    _family("mbart", _read_mbart, _write_mbart, _heads("MBart")),
    _family("marian", _read_marian, _write_marian, (_generation("MarianMTModel"),), ("classifier_dropout",)),
    _family(
        "pegasus",
        _read_pegasus,
        _write_both,
        (_generation("PegasusForConditionalGeneration"),),
        ("classifier_dropout",),
    ),
    _family(
        "m2m_100",
        _read_m2m_100,
        _write_both,
        (_generation("M2M100ForConditionalGeneration", bias=False),),
        ("classifier_dropout",),
    ),
)
