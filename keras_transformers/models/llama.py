"""Llama and its relatives: decoders with RMS norms, rotary positions and gated feed-forward layers, and no biases.
Data alone: `family.py` says what the records mean.

model_type      what else is its own
llama           (1, 2 and 3; many others call themselves so)
"""

from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.heads import HeadConfig
from keras_transformers.layers.norms import RMSNorm
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.family import Family, Head, activation_name, register
from keras_transformers.models.rotary import read_rotary, written_rotary
from keras_transformers.models.weight_map import Entry, WeightMap

_SOURCE = "https://github.com/huggingface/transformers/blob/v5.0.0/src/transformers/models"

# Configurations

_LLAMA = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "pad_token_id": None,
    "tie_word_embeddings": False,
}


def _read_body(read, defaults):
    """Llama's keys, which all share with other defaults, and a `ModelConfig` of them."""
    defaults = _LLAMA | defaults
    width, heads = (
        read("hidden_size", defaults["hidden_size"]),
        read("num_attention_heads", defaults["num_attention_heads"]),
    )
    whole = width // heads if heads > 0 and width % heads == 0 else None  # else the model's width does not divide
    context_length = read("max_position_embeddings", defaults["max_position_embeddings"])
    attention = AttentionConfig(
        heads,
        read.optional("num_key_value_heads", int, defaults["num_key_value_heads"]) or heads,
        read.optional("head_dim", int, defaults["head_dim"]) or whole,
        read_rotary(read, context_length),
        use_bias=read("attention_bias", False),
        dropout=read("attention_dropout", 0.0),
    )
    feed_forward = FeedForwardConfig(
        read("intermediate_size", defaults["intermediate_size"]),
        read.activation("hidden_act", defaults["hidden_act"]),
        gated=True,
        use_bias=read("mlp_bias", False),
    )
    norm = RMSNorm(read("rms_norm_eps", defaults["rms_norm_eps"]))
    padding_id = read.optional("pad_token_id", int, defaults["pad_token_id"])
    return ModelConfig(
        width,
        EmbeddingsConfig(read("vocab_size", defaults["vocab_size"]), context_length=context_length),
        decoder=StackConfig(
            read("num_hidden_layers", defaults["num_hidden_layers"]),
            BlockConfig(attention, feed_forward, norm, "pre"),
            final_norm=True,
        ),
        head=HeadConfig(read("tie_word_embeddings", defaults["tie_word_embeddings"])),
        padding_id=padding_id if padding_id is not None and padding_id >= 0 else 0,
    )


def _read_llama(read):
    return _read_body(read, {})


def _write_llama(config):
    block = config.decoder.block
    attention, feed_forward = block.attention, block.feed_forward
    return {
        "vocab_size": config.embeddings.vocabulary_size,
        "hidden_size": config.hidden_dim,
        "intermediate_size": feed_forward.intermediate_dim,
        "num_hidden_layers": config.decoder.num_layers,
        "num_attention_heads": attention.num_heads,
        "num_key_value_heads": attention.num_key_value_heads,
        "head_dim": attention.head_dim,
        "hidden_act": activation_name(feed_forward.activation),
        "max_position_embeddings": config.embeddings.context_length,
        "rms_norm_eps": block.norm.epsilon,
        "pad_token_id": config.padding_id,
        "tie_word_embeddings": config.head.tied,
        **written_rotary(attention.positions),
        "attention_bias": attention.use_bias,
        "attention_dropout": attention.dropout,
        "mlp_bias": feed_forward.use_bias,
    }


# Weights

_LAYER = {
    **{f"self_attention.{part}": f"self_attn.{part[0]}_proj" for part in ("query", "key", "value", "output")},
    **{f"feed_forward.{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")},
    "self_attention_norm_before": "input_layernorm",
    "feed_forward_norm_before": "post_attention_layernorm",
}


def _weights(layer):
    """The table of a body, with the names inside a layer."""
    return WeightMap(
        (),
        ("layers.{n}.self_attn.rotary_emb.inv_freq",),
        (
            Entry("embedding.token", "embed_tokens"),
            *(Entry(f"decoder.block_{{n}}.{ours}", f"layers.{{n}}.{theirs}") for ours, theirs in layer.items()),
            Entry("decoder.norm", "norm"),
        ),
        "model.",
        (("lm_head.weight", "model.embed_tokens.weight"),),
    )


def _heads(name):
    return (Head("CausalLM", f"{name}ForCausalLM", (Entry("head.dense", "lm_head"),)),)


def _family(model_type, name, read, write, layer=_LAYER, inert=()):
    links = tuple(f"{_SOURCE}/{model_type}/{kind}_{model_type}.py" for kind in ("configuration", "modeling"))
    return Family(model_type, read, write, _weights(layer), _heads(name), links, inert)


register(
    _family("llama", "Llama", _read_llama, _write_llama, inert=("pretraining_tp",)),
)
