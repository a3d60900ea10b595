"""BART and its relatives: an encoder, and a decoder that attends to it. Data only, in the records of `family.py` and
the rows of `keys.py`.

model_type   positions                       norms    embeddings' norm   other differences
bart         learned, 2 rows before          after    yes                reads texts for classifiers
mbart        learned, 2 rows before          before   yes                the same; a text begins with its language
marian       sinusoidal                      after                       may have two vocabularies
pegasus      sinusoidal                      before
m2m_100      sinusoidal, without padding     before                      no bias in the head (also NLLB; nllb_moe.py)
"""

from collections.abc import Mapping

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Fields, Values
from keras_transformers.families.keys import (
    TWO_STACKS,
    Group,
    Keys,
    Row,
    activation,
    derive,
    expect,
    inert,
    key,
    optional,
    state,
    token_id,
)
from keras_transformers.families.registry import register
from keras_transformers.families.two_stacks import SIDES, both, in_both, start_token
from keras_transformers.families.weight_map import Entry, WeightMap, both_ways
from keras_transformers.layers.heads import TransformConfig
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Learned, Sinusoidal
from keras_transformers.models.config import ModelConfig, ShiftedSource

# Configurations


def _own_embeddings(values: Values, **changes: object) -> None:
    """Give the decoder separate embeddings: those of the encoder, with some fields changed."""
    source = "embeddings."
    copy = {path.removeprefix(source): value for path, value in values.items() if path.startswith(source)}
    values |= {f"decoder_{source}{path}": value for path, value in {**copy, **changes}.items()}


def _separate(values: Values) -> None:
    _own_embeddings(values, shared_tokens=values["head.tied"])


def _separate_if_untied(values: Values) -> None:
    if not values["head.tied"]:
        _separate(values)


def _count_tokens(values: Values) -> None:
    """Set the positions of fairseq: the first real token has the row after that of padding. A target has no padding
    before its end."""
    if values["padding_id"] is None:
        raise ValueError("pad_token_id: expected a token id, after which positions are counted, got none")
    values["embeddings.positions.offset"] = values["padding_id"] + 1
    _separate(values)
    values["embeddings.positions.skip_padding"] = True


_LEARNED = {"embeddings.positions": Learned, "embeddings.positions.offset": 2}
_SINUSOIDAL = {"embeddings.positions": Sinusoidal, "embeddings.positions.layout": "halves"}
_COUNTED = {**_SINUSOIDAL, "embeddings.positions.endpoint": True}


def _stack(side: str) -> tuple[Row, ...]:
    """Return the keys of one stack, with further names in transformers for those of the encoder."""
    second = (
        {"attention_heads": ("num_attention_heads",), "layers": ("num_hidden_layers",)} if side == "encoder" else {}
    )
    return tuple(
        key((f"{side}_{name}", *second.get(name, ())), default, f"{side}.{path}")
        for name, default, path in (
            ("layers", 12, "num_layers"),
            ("attention_heads", 16, "block.attention.num_heads"),
            ("ffn_dim", 4096, "block.feed_forward.intermediate_dim"),
            ("layerdrop", 0.0, "layer_dropout"),
        )
    )


def _keys(positions: Values, placement: str, embeddings: Row, *rows: Row, embedding_norm: bool = False) -> Keys:
    """Return the rows that all families share, with BART's defaults.

    Args:
        positions: the values of the encoder's positions.
        placement: the norm placement in a block.
        embeddings: the row that gives the decoder separate embeddings.
        *rows: further rows.
        embedding_norm: whether a norm follows the embeddings.
    """
    is_before, norm = placement == "pre", LayerNorm(1e-5)
    return Keys(
        (
            state("is_encoder_decoder", True),
            *TWO_STACKS,
            # old files state what transformers derives from the model_type
            expect("normalize_before", is_before),
            expect("add_final_layer_norm", is_before),
            expect("normalize_embedding", embedding_norm),
            expect("static_position_embeddings", positions is not _LEARNED),
            expect("do_blenderbot_90_layernorm", False),
            key("vocab_size", 50265, "embeddings.vocabulary_size"),
            key(("d_model", "hidden_size"), 1024, "hidden_dim"),
            *(row for side in SIDES for row in _stack(side)),
            key("max_position_embeddings", 1024, "embeddings.positions.max_length"),
            key("scale_embedding", False, "embeddings.scale"),
            activation("activation_function", "gelu", *both("block.feed_forward.activation")),
            key("dropout", 0.1, *both("block.dropout"), "embeddings.dropout"),
            key("attention_dropout", 0.0, *both("block.attention.dropout")),
            key("activation_dropout", 0.0, *both("block.feed_forward.dropout")),
            token_id("pad_token_id", 1, "padding_id"),
            key("tie_word_embeddings", True, "head.tied"),
            embeddings,
            *rows,
            inert("init_std", "add_bias_logits", "classif_dropout", "extra_pos_embeddings"),
            inert("force_bos_token_to_be_generated"),
        ),
        {
            **positions,
            **in_both({"block.norm": norm, "block.norm_placement": placement, "final_norm": is_before}),
            "embeddings.norm": norm if embedding_norm else None,
            "head.use_bias": True,
        },
    )


# Classifiers read the decoder's state at the last end token.
_READING = (
    optional("classifier_dropout", float, 0.0, "pooler.dropout", "pooler.input_dropout", null=lambda values: 0.0),
    token_id("eos_token_id", 2, "pooler.end_id"),
)
_LAST = {"pooler.pooling": "last", "pooler.transform": TransformConfig("tanh", None)}


def _read_vocabularies(read: ConfigReader, values: Values) -> None:
    """Give the decoder a separate vocabulary if the file says that the vocabulary is not shared."""
    source_size = values["embeddings.vocabulary_size"]
    target_size = read.optional("decoder_vocab_size", int) or source_size
    if not read("share_encoder_decoder_embeddings", True):
        _own_embeddings(values, vocabulary_size=target_size, shared_tokens=False)
    elif target_size != source_size:
        raise ValueError(
            f"decoder_vocab_size: only vocab_size={source_size} is supported with share_encoder_decoder_embeddings, "
            f"got {target_size}"
        )


def _write_vocabularies(fields: Fields) -> Values:
    own = fields("decoder_embeddings") is not None
    return {
        "decoder_vocab_size": fields(f"{'decoder_' if own else ''}embeddings.vocabulary_size"),
        "share_encoder_decoder_embeddings": not own,
    }


_UNREAD = inert("classifier_dropout")
_BART_KEYS = _keys(_LEARNED, "post", derive(_separate), *_READING, start_token(2), embedding_norm=True).but(
    always=_LAST
)
_MBART_KEYS = _keys(_LEARNED, "pre", derive(_separate), *_READING, embedding_norm=True).but(
    always=_LAST | {"reading": ShiftedSource()}
)
_MARIAN_KEYS = _keys(
    _SINUSOIDAL,
    "post",
    derive(_separate_if_untied),
    Group(("decoder_vocab_size", "share_encoder_decoder_embeddings"), _read_vocabularies, _write_vocabularies),
    _UNREAD,
).but({"vocab_size": 58101, "pad_token_id": 58100})
_PEGASUS_KEYS = _keys(_SINUSOIDAL, "pre", derive(_separate_if_untied), _UNREAD).but({"pad_token_id": 0})
M2M_100_KEYS = _keys(_COUNTED, "pre", derive(_count_tokens), _UNREAD).but(
    {
        "vocab_size": 128112,
        "activation_function": "relu",
        "attention_dropout": 0.1,
        "encoder_layerdrop": 0.05,
        "decoder_layerdrop": 0.05,
        "scale_embedding": True,
    },
    always={"head.use_bias": False},
)


# Weights

_PREFIX = "model."


def layer_names(cross_attention: str, feed_forward_norm: str) -> dict[str, str]:
    """Return the names of attention and norms in a layer, given those that differ between families."""
    attentions = {"self_attention": "self_attn", "cross_attention": cross_attention}
    parts = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"}
    norms = {ours: f"{theirs}_layer_norm" for ours, theirs in attentions.items()} | {"feed_forward": feed_forward_norm}
    return {
        **{f"{a}.{ours}": f"{b}.{theirs}" for a, b in attentions.items() for ours, theirs in parts.items()},
        # a block has one of the two norms
        **{f"{branch}_norm_{place}": name for branch, name in norms.items() for place in ("before", "after")},
    }


_LAYER = {
    **layer_names("encoder_attn", "final_layer_norm"),
    "feed_forward.up": "fc1",
    "feed_forward.down": "fc2",
}


def body_weights(config: ModelConfig, layer: Mapping[str, str] = _LAYER) -> WeightMap:
    """Return the table of a body with the given names in a layer. Files may store shared token embeddings once, or
    again for each stack."""
    tables = {"encoder": "embedding", "decoder": "decoder_embedding"}
    body = [Entry(f"{side}.block_{{n}}.{a}", f"{side}.layers.{{n}}.{b}") for side in SIDES for a, b in layer.items()]
    for side, ours in tables.items():
        body.append(Entry(f"{ours}.position", f"{side}.embed_positions"))
        body.append(Entry(f"{ours}.norm", f"{side}.layernorm_embedding"))
        body.append(Entry(f"{side}.norm", f"{side}.layer_norm"))
    ignored = [f"{side}.{name}" for side in SIDES for name in ("version", "embed_positions.weights")]
    ignored += [f"{side}.embed_positions.weight" for side in SIDES if _is_sinusoidal(config)]
    shared, own = "shared.weight", [f"{side}.embed_tokens.weight" for side in SIDES]
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


def _is_sinusoidal(config: ModelConfig) -> bool:
    return isinstance(config.embeddings.positions, Sinusoidal)


_BIAS = "final_logits_bias"  # [1, V]


def generation_head(architecture: str, bias: bool = True) -> Head:
    """Return the head over the target vocabulary, of files that have a bias for it or not."""
    biases = tuple(Entry(ours, _BIAS, output_heads=1, zero=True) for ours in ("head.dense.bias", "head.bias") if bias)
    return Head("Seq2SeqLM", architecture, (*biases, Entry("head.dense", "lm_head")))


def _heads(name: str, num_classes: int | None = None) -> tuple[Head, ...]:
    """Return the heads of families whose decoder reads texts."""
    return (
        generation_head(f"{name}ForConditionalGeneration"),
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


register(
    *(
        Family(model_type, keys, body_weights, heads, links(model_type))
        for model_type, keys, heads in (
            ("bart", _BART_KEYS, _heads("Bart", num_classes=3)),
            ("mbart", _MBART_KEYS, _heads("MBart")),
            ("marian", _MARIAN_KEYS, (generation_head("MarianMTModel"),)),
            ("pegasus", _PEGASUS_KEYS, (generation_head("PegasusForConditionalGeneration"),)),
            ("m2m_100", M2M_100_KEYS, (generation_head("M2M100ForConditionalGeneration", bias=False),)),
        )
    )
)
