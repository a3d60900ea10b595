"""GPT and its relatives: decoders that normalise by LayerNorm. Data alone: `family.py` says what the records mean.

model_type   positions                     residual          what else is its own
gpt2         learned                       sequential        query, key and value in one, untransposed
gpt_neox     rotary, in part               parallel          query, key and value in one, head by head (Pythia)
gptj         rotary, in part, interleaved  parallel, shared  no biases in attention, one in the head
opt          learned, 2 rows before        sequential        norms before, or after in one size
bloom        ALiBi                         sequential        a norm after the embeddings
falcon       rotary, or ALiBi rounded      all three         grouped heads, query, key and value group by group
phi          rotary, in part               parallel, shared  a bias in the head
"""

from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.heads import HeadConfig, PoolerConfig, TokenHeadConfig
from keras_transformers.layers.norms import LayerNorm
from keras_transformers.layers.positions import Learned
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.family import Family, Head, activation_name, register
from keras_transformers.models.weight_map import Entry, WeightMap

_SOURCE = "https://github.com/huggingface/transformers/blob/v5.0.0/src/transformers/models"


def _links(name):
    return tuple(f"{_SOURCE}/{name}/{kind}_{name}.py" for kind in ("configuration", "modeling"))


# Configurations


def _either(read, names, default):
    """What a key holds that has several names."""
    given = {name: read(name, default) for name in names if name in read.values}
    if len(set(given.values())) > 1:
        raise ValueError(f"{' and '.join(given)}: expected one value, got {' and '.join(map(repr, given.values()))}")
    return next(iter(given.values())) if given else read(names[0], default)


def _or(value, default):
    return default if value is None else value


def _expect_decoder(read):
    """What every configuration may say of other kinds of models, and a decoder's does not."""
    for name in ("is_encoder_decoder", "add_cross_attention"):
        read.expect(name, False)
    read.expect("cross_attention_hidden_size", None)
    read.expect("pruned_heads", {}, None)


def _model(read, width, embeddings, stack, head, classifier_dropout=0.1):
    """A `ModelConfig` of these, with what all of these families share."""
    _expect_decoder(read)
    return ModelConfig(
        width,
        embeddings,
        decoder=stack,
        head=head,
        padding_id=_or(read("pad_token_id", None), 0),
        pooler=PoolerConfig("last", classifier_bias=False),
        token_head=TokenHeadConfig(dropout=float(_or(read("classifier_dropout", None), classifier_dropout))),
    )


def _read_gpt2(read):
    read.expect("scale_attn_weights", True)
    read.expect("scale_attn_by_inverse_layer_idx", False)
    width = _either(read, ("n_embd", "hidden_size"), 768)
    dropout = read("resid_pdrop", 0.1)
    attention = AttentionConfig(
        _either(read, ("n_head", "num_attention_heads"), 12), dropout=read("attn_pdrop", 0.1)
    )
    feed_forward = FeedForwardConfig(
        _or(read("n_inner", None), 4 * width), read.activation("activation_function", "gelu_new")
    )
    norm = LayerNorm(read("layer_norm_epsilon", 1e-5))
    return _model(
        read,
        width,
        EmbeddingsConfig(
            read("vocab_size", 50257),
            Learned(_either(read, ("n_positions", "max_position_embeddings"), 1024)),
            dropout=read("embd_pdrop", 0.1),
        ),
        StackConfig(
            _either(read, ("n_layer", "num_hidden_layers"), 12),
            BlockConfig(attention, feed_forward, norm, "pre", dropout),
            final_norm=True,
        ),
        HeadConfig(read("tie_word_embeddings", True)),
    )


def _write_gpt2(config):
    embeddings, stack, block = config.embeddings, config.decoder, config.decoder.block
    return {
        "vocab_size": embeddings.vocabulary_size,
        "n_positions": embeddings.positions.max_length,
        "n_embd": config.hidden_dim,
        "n_layer": stack.num_layers,
        "n_head": block.attention.num_heads,
        "n_inner": block.feed_forward.intermediate_dim,
        "activation_function": activation_name(block.feed_forward.activation),
        "resid_pdrop": block.dropout,
        "embd_pdrop": embeddings.dropout,
        "attn_pdrop": block.attention.dropout,
        "layer_norm_epsilon": block.norm.epsilon,
        "pad_token_id": config.padding_id,
        "classifier_dropout": config.token_head.dropout,
        "tie_word_embeddings": config.head.tied,
    }


# Weights

_PARTS = {
    "fused": ("self_attention.query", "self_attention.key", "self_attention.value"),
    "query": "self_attention.query",
    "key": "self_attention.key",
    "value": "self_attention.value",
    "output": "self_attention.output",
    "up": "feed_forward.up",
    "down": "feed_forward.down",
    "attention_norm": "self_attention_norm_before",
    "feed_forward_norm": "feed_forward_norm_before",
}


def _layer(theirs, *, groups=1, transposed=True, **names):
    """The entries of layer `{n}`, whose path over there is `theirs`, by what its parts are called there."""

    def ours(part):
        path = _PARTS[part]
        return f"decoder.block_{{n}}.{path}" if isinstance(path, str) else tuple(f"decoder.block_{{n}}.{p}" for p in path)

    return tuple(
        Entry(ours(part), f"{theirs}.{name}", transposed, groups if part == "fused" else 1)
        for part, name in names.items()
    )


def _heads(name, vocabulary="ForCausalLM", tokens="classifier"):
    """The heads that most have."""
    return (
        Head("TextEmbedder", f"{name}Model"),
        Head("CausalLM", f"{name}{vocabulary}", (Entry("head.dense", "lm_head"), Entry("head", "lm_head"))),
        Head("TextClassifier", f"{name}ForSequenceClassification", (Entry("classifier", "score"),)),
        *((Head("TokenClassifier", f"{name}ForTokenClassification", (Entry("classifier", tokens),)),) if tokens else ()),
    )


register(
    Family(
        "gpt2",
        _read_gpt2,
        _write_gpt2,
        WeightMap(
            (),
            ("h.{n}.attn.bias", "h.{n}.attn.masked_bias"),
            (
                Entry("embedding.token", "wte"),
                Entry("embedding.position", "wpe"),
                *_layer(
                    "h.{n}",
                    transposed=False,
                    attention_norm="ln_1",
                    fused="attn.c_attn",
                    output="attn.c_proj",
                    feed_forward_norm="ln_2",
                    up="mlp.c_fc",
                    down="mlp.c_proj",
                ),
                Entry("decoder.norm", "ln_f"),
            ),
            "transformer.",
            (("lm_head.weight", "transformer.wte.weight"),),
        ),
        _heads("GPT2", "LMHeadModel"),
        _links("gpt2"),
        (
            "is_decoder",
            "n_ctx",
            "reorder_and_upcast_attn",
            *(f"summary_{kind}" for kind in ("type", "use_proj", "activation", "proj_to_labels", "first_dropout")),
        ),
    ),
)
