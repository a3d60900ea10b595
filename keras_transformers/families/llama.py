"""Llama and its relatives: decoders with RMS norms, rotary positions and gated feed-forward layers. Data alone:
`family.py` says what the records mean.

model_type    what is its own
llama         (1, 2 and 3)
mistral       a window
qwen2         biases of queries, keys and values; windows in some layers
qwen3         norms of queries and keys, head by head; windows in some layers
smollm3       layers without positions; windows in some layers
olmo2         norms after each branch alone; norms of queries and keys over their whole width
phi3          fused weights; heads turned in part; factors for each frequency
gemma         norms that store their scale less one; scaled embeddings
gemma2        the same, and norms around each branch; every other layer has a window; capped scores
gemma3_text   the same, without caps; norms of queries and keys; other positions where there is a window
mixtral       experts
qwen3_moe     experts, but for some layers; norms of queries and keys
"""

import dataclasses

from keras_transformers.families.family import Head, activation_name, by_functions, expect_one_stack, links, register
from keras_transformers.families.patterns import KINDS, layer_types, repeating, written_layer_types
from keras_transformers.families.rotary import read_rotary, rotary_of, written_rotary, written_scaling
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.attention import AttentionConfig, QueryKeyNorm
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.experts import ExpertsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.heads import HeadConfig, PoolerConfig, TokenHeadConfig
from keras_transformers.layers.norms import RMSNorm
from keras_transformers.layers.rotary_scaling import LongScaling
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models.config import ModelConfig

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
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-6,
    "pad_token_id": None,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "classifier_dropout": 0.1,
}
_BIASES = ("attention_bias", "mlp_bias")
_MISTRAL = {"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072}
_QWEN = {
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
}
_SMOLLM3 = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "rope_theta": 2000000.0,
    "pad_token_id": 128004,
    "tie_word_embeddings": True,
}
_OLMO2 = {"vocab_size": 50304, "pad_token_id": 1, "rms_norm_eps": 1e-5}
_PHI3 = {
    "vocab_size": 32064,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "pad_token_id": 32000,
}
_GEMMA = {
    "vocab_size": 256000,
    "hidden_size": 3072,
    "intermediate_size": 24576,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "pad_token_id": 0,
    "tie_word_embeddings": True,
}
_GEMMA2 = _GEMMA | {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
}
_GEMMA3 = _GEMMA2 | {"vocab_size": 262208, "max_position_embeddings": 131072}
_MIXTRAL = _MISTRAL | {"rms_norm_eps": 1e-5, "rope_theta": 1000000.0}
_QWEN3_MOE = _QWEN | {
    "hidden_size": 2048,
    "num_hidden_layers": 24,
    "num_key_value_heads": 4,
    "intermediate_size": 768,
}


def _read_body(read, defaults, *, without=(), called=(), rotary=read_rotary):
    """Llama's keys, which all share with other `defaults`, and a `ModelConfig` of them.

    `without` names the keys that a family has not, `called` the pairs of those that are called otherwise there;
    `rotary(read, context_length, base=…)` reads the positions.
    """
    expect_one_stack(read)
    defaults, called = _LLAMA | defaults, dict(called)

    def get(name, how=read):
        return defaults[name] if name in without else how(called.get(name, name), defaults[name])

    def number(name):
        return read.optional(name, int, defaults[name])

    width, heads, context_length = get("hidden_size"), get("num_attention_heads"), get("max_position_embeddings")
    whole = width // heads if heads > 0 and width % heads == 0 else None  # else it is refused, where head_dim is not
    attention = AttentionConfig(
        heads,
        number("num_key_value_heads") or heads,
        number("head_dim") or whole,
        rotary(read, context_length, base=defaults["rope_theta"]),
        use_bias=get("attention_bias"),
        dropout=read("attention_dropout", 0.0),
    )
    feed_forward = FeedForwardConfig(
        get("intermediate_size"), get("hidden_act", read.activation), gated=True, use_bias=get("mlp_bias")
    )
    padding_id, dropout = read.token_id("pad_token_id", defaults["pad_token_id"]), 0.0
    if "classifier_dropout" not in without:
        told = [read.optional(name, float) for name in ("classifier_dropout", "hidden_dropout")]
        dropout = next((each for each in told if each is not None), defaults["classifier_dropout"])
    block = BlockConfig(attention, feed_forward, RMSNorm(get("rms_norm_eps")), "pre")
    return ModelConfig(
        width,
        EmbeddingsConfig(get("vocab_size"), context_length=context_length),
        decoder=StackConfig(get("num_hidden_layers"), block, final_norm=True),
        head=HeadConfig(get("tie_word_embeddings")),
        padding_id=padding_id,
        pooler=PoolerConfig("last", classifier_bias=False),
        token_head=TokenHeadConfig(dropout=dropout),
    )


def _with(config, attentions=None, feed_forwards=None, **block):
    """`config` with the attention, or the feed-forward layer, of one layer after the other, and other fields of its
    blocks."""
    stack = config.decoder
    attention, pattern = repeating(attentions or stack.attentions)
    feed_forward, feed_forward_pattern = repeating(feed_forwards or stack.feed_forwards)
    block = dataclasses.replace(stack.block, attention=attention, feed_forward=feed_forward, **block)
    patterns = {"pattern": pattern, "feed_forward_pattern": feed_forward_pattern}
    return dataclasses.replace(config, decoder=dataclasses.replace(stack, block=block, **patterns))


def _attending(config, **fields):
    """`config` with other fields of all its attentions."""
    return _with(config, [dataclasses.replace(each, **fields) for each in config.decoder.attentions])


def _with_windows(read, config, window, usual):
    """`config` with a window in those layers that slide; `usual(n)` is the kind of layer `n` where no file says it."""
    types = layer_types(read, config.decoder.num_layers, usual)
    if window is None and "sliding_attention" in types:
        raise ValueError("layer_types: expected a sliding_window where there is sliding_attention, got none")
    attentions = [
        dataclasses.replace(attention, window=window if kind == "sliding_attention" else None)
        for attention, kind in zip(config.decoder.attentions, types, strict=True)
    ]
    return _with(config, attentions)


def _kind(slides):
    return KINDS[bool(slides)]


def _norms_of_heads(config, by_head=True):
    return _attending(config, query_key_norm=QueryKeyNorm(config.decoder.block.norm, by_head))


def _read_llama(read):
    read.expect("rope_interleaved", False)
    config = _read_body(read, {})
    block = config.decoder.block
    names = {  # InternLM's, and those of Meta's own files
        "bias": ("attention_bias", block.attention.use_bias),
        "dim": ("hidden_size", config.hidden_dim),
        "n_layers": ("num_hidden_layers", config.decoder.num_layers),
        "n_heads": ("num_attention_heads", block.attention.num_heads),
        "n_kv_heads": ("num_key_value_heads", block.attention.num_key_value_heads),
        "norm_eps": ("rms_norm_eps", block.norm.epsilon),
    }
    for name, (usual, value) in names.items():
        read.repeats(name, value, usual)
    return config


def _read_mistral(read):
    config = _read_body(read, _MISTRAL, without=_BIASES)
    return _attending(config, window=read.optional("sliding_window", int, 4096))


def _read_qwen2(read):
    read.expect("use_mrope", False)
    config = _read_body(read, _QWEN, without=_BIASES)
    return _qwen_windows(read, _attending(config, use_bias="inputs"))


def _read_qwen3(read):
    config = _read_body(read, _QWEN | {"head_dim": 128}, without=("mlp_bias",))
    return _qwen_windows(read, _norms_of_heads(config))


def _qwen_windows(read, config):
    window, first = read.optional("sliding_window", int, 4096), read("max_window_layers", 28)
    window = window if read("use_sliding_window", False) else None
    return _with_windows(read, config, window, lambda n: _kind(window is not None and n >= first))


def _read_smollm3(read):
    config = _read_body(read, _SMOLLM3)
    layers, every = config.decoder.num_layers, read("no_rope_layer_interval", 4)
    turned = read("no_rope_layers", None) or [int((n + 1) % every != 0) for n in range(layers)]
    if len(turned) != layers or not set(turned) <= {0, 1}:
        raise ValueError(f"no_rope_layers: expected num_hidden_layers={layers} of 0 and 1, got {turned!r:.80}")
    attention, window = config.decoder.block.attention, read.optional("sliding_window", int)
    slides = read("use_sliding_window", False) and window is not None
    config = _with(
        config,
        [dataclasses.replace(attention, positions=attention.positions if turned[n] else None) for n in range(layers)],
    )
    return _with_windows(read, config, window, lambda n: _kind(slides and not turned[n]))


def _read_olmo2(read):
    config = _read_body(read, _OLMO2, without=("mlp_bias", "classifier_dropout"))
    return _with(_norms_of_heads(config, by_head=False), norm_placement="branch")


def _read_phi3(read):
    for name in ("attention_bias", "mlp_bias", "lm_head_bias"):
        read.expect(name, False)
    for name in ("full_attn_mod", "interpolate_factor"):
        read.expect(name, 1)
    config = _read_body(read, _PHI3, without=_BIASES, rotary=_read_phi3_rotary)
    config = _attending(config, window=read.optional("sliding_window", int))
    return _with(config, dropout=read("resid_pdrop", 0.0))


def _read_phi3_rotary(read, context_length, base):
    original = read(_ORIGINAL, 4096)
    return read_rotary(read, context_length, base=base, kinds=("longrope",), partial=True, original_length=original)


def _read_gemma_body(read, defaults, *, without=(), **names):
    read.expect("use_bidirectional_attention", None, False)
    config = _read_body(read, defaults, without=("mlp_bias", *without), **names)
    config = dataclasses.replace(config, embeddings=dataclasses.replace(config.embeddings, scale=True))
    return _with(config, norm=dataclasses.replace(config.decoder.block.norm, unit_offset=True))


def _read_gemma(read):
    config = _read_gemma_body(read, _GEMMA)
    read.expect("hidden_activation", None, "gelu_pytorch_tanh")
    feed_forward = config.decoder.block.feed_forward
    if feed_forward.activation == "gelu":  # what its first files say, and none computed
        feed_forward = dataclasses.replace(feed_forward, activation="gelu_tanh")
    return _with(config, feed_forwards=[feed_forward])


def _read_gemma2_body(read, defaults, usual, cap, **names):
    config = _read_gemma_body(read, defaults, called={"hidden_act": "hidden_activation"}, **names)
    scalar, head_dim = read("query_pre_attn_scalar", 256), config.decoder.block.attention.head_dim
    config = _attending(config, scale=None if scalar == head_dim else scalar**-0.5)
    cap = read.optional("final_logit_softcapping", float, cap)
    config = dataclasses.replace(config, head=dataclasses.replace(config.head, soft_cap=cap))
    config = _with(config, norm_placement="around")
    window = read.optional("sliding_window", int, 4096)
    read.repeats("sliding_window_size", window, "sliding_window")
    return _with_windows(read, config, window, usual)


def _read_gemma2(read):
    config = _read_gemma2_body(read, _GEMMA2, lambda n: _kind(n % 2 == 0), cap=30.0)
    return _attending(config, soft_cap=read.optional("attn_logit_softcapping", float, 50.0))


def _read_gemma3(read):
    every = read("sliding_window_pattern", 6)
    names = {"rotary": _read_gemma3_rotary, "without": ("classifier_dropout",)}
    config = _read_gemma2_body(read, _GEMMA3, lambda n: _kind((n + 1) % every), None, **names)
    config, local = _norms_of_heads(config), _read_gemma3_rotary(read, None, None, "sliding_attention")
    attentions = config.decoder.attentions
    return _with(config, [each if each.window is None else _turned(each, local) for each in attentions])


def _turned(attention, rotary):
    return dataclasses.replace(attention, positions=rotary)


def _read_gemma3_rotary(read, context_length, base, kind="full_attention"):
    """The positions of one kind of layer: version 4 has a key for each that is another, version 5 one for all."""
    key, base = {"full_attention": ("rope_theta", 1e6), "sliding_attention": ("rope_local_base_freq", 1e4)}[kind]
    given, scaling = (read.optional(name, dict) or {} for name in ("rope_parameters", "rope_scaling"))
    if set(given) - set(KINDS):
        raise ValueError(f"rope_parameters: expected {' and '.join(KINDS)}, got {', '.join(sorted(given))}")
    values = {"rope_theta": read(key, base), **(given.get(kind) or {}), **(scaling if kind == "full_attention" else {})}
    read.repeats(key, values["rope_theta"], "rope_parameters")
    return rotary_of(read, values, context_length or read("max_position_embeddings", 131072), "rope_parameters")


def _read_mixtral(read):
    config = _read_body(read, _MIXTRAL, without=_BIASES)
    config = _attending(config, window=read.optional("sliding_window", int))
    return _with_experts(read, config, read("num_local_experts", 8), read("num_experts_per_tok", 2))


def _read_qwen3_moe(read):
    for name, value in (("use_qk_norm", True), ("qkv_bias", False), ("shared_expert_intermediate_size", 0)):
        read.expect(name, value)  # Qwen3-Coder says what all of them have
    config = _read_body(read, _QWEN3_MOE, without=("mlp_bias",), called={"intermediate_size": "moe_intermediate_size"})
    window = read.optional("sliding_window", int, 4096)
    config = _attending(_norms_of_heads(config), window=window if read("use_sliding_window", False) else None)
    num_experts = read("num_local_experts", 128)
    chosen = read("num_experts_per_tok", 8), read("norm_topk_prob", False)
    return _without_experts(read, _with_experts(read, config, num_experts, *chosen))


def _with_experts(read, config, *experts):
    read.in_training("output_router_logits", False)
    read.in_training("router_jitter_noise", 0.0)
    feed_forward = dataclasses.replace(config.decoder.block.feed_forward, experts=ExpertsConfig(*experts))
    return _with(config, feed_forwards=[feed_forward])


def _without_experts(read, config):
    """`config`, all of whose layers have experts, without them where the file says so."""
    layers, every, dense = (
        config.decoder.num_layers,
        read("decoder_sparse_step", 1),
        read("mlp_only_layers", None) or [],
    )
    if every < 1:
        raise ValueError(f"decoder_sparse_step: expected at least 1, got {every}")
    if not isinstance(dense, list) or not set(dense) <= set(range(layers)):
        raise ValueError(f"mlp_only_layers: expected numbers of num_hidden_layers={layers}, got {dense!r:.80}")
    mixed = config.decoder.block.feed_forward
    alone = dataclasses.replace(mixed, intermediate_dim=read("intermediate_size", 6144), experts=None)
    feed_forwards = [alone if n in dense or (n + 1) % every else mixed for n in range(layers)]
    if mixed not in feed_forwards:
        raise ValueError(
            f"decoder_sparse_step, mlp_only_layers: expected layers with experts, got none by {every} and {dense!r:.80}"
        )
    return _with(config, feed_forwards=feed_forwards)


_ORIGINAL = "original_max_position_embeddings"


def _write_body(config, *, without=(), called=()):
    """Llama's keys, the inverse of `_read_body`."""
    block, called = config.decoder.block, dict(called)
    attention, feed_forward = block.attention, block.feed_forward
    values = {
        "vocab_size": config.embeddings.vocabulary_size,
        "hidden_size": config.hidden_dim,
        "intermediate_size": feed_forward.intermediate_dim,
        "num_hidden_layers": config.decoder.num_layers,
        "num_attention_heads": attention.num_heads,
        "num_key_value_heads": attention.num_key_value_heads,
        "hidden_act": activation_name(feed_forward.activation),
        "max_position_embeddings": config.embeddings.context_length,
        "rms_norm_eps": block.norm.epsilon,
        "pad_token_id": config.padding_id,
        "tie_word_embeddings": config.head.tied,
        **written_rotary(_rotary(config)),
        "attention_bias": attention.use_bias,
        "attention_dropout": attention.dropout,
        "mlp_bias": feed_forward.use_bias,
        "classifier_dropout": config.token_head.dropout,
    }
    if attention.head_dim * attention.num_heads != config.hidden_dim:
        values["head_dim"] = attention.head_dim
    return {called.get(name, name): value for name, value in values.items() if name not in without}


def _rotary(config):
    """The positions of the first layer that has any, and sees all."""
    attentions = sorted(config.decoder.attentions, key=lambda each: each.window is not None)
    return next((each.positions for each in attentions if each.positions is not None), None)


def _window(config):
    return next((each.window for each in config.decoder.attentions if each.window is not None), None)


def _write_llama(config):
    return _write_body(config)


def _write_mistral(config):
    return {**_write_body(config, without=_BIASES), "sliding_window": _window(config)}


def _write_windows(config):
    window = _window(config)
    return {
        "use_sliding_window": window is not None,
        "sliding_window": window,
        "layer_types": written_layer_types(config.decoder),
    }


def _write_qwen2(config):
    return _write_body(config, without=_BIASES) | _write_windows(config)


def _write_qwen3(config):
    head_dim = {"head_dim": config.decoder.block.attention.head_dim}
    return _write_body(config, without=("mlp_bias",)) | head_dim | _write_windows(config)


def _write_smollm3(config):
    turned = [int(each.positions is not None) for each in config.decoder.attentions]
    return _write_body(config) | _write_windows(config) | {"no_rope_layers": turned}


def _write_olmo2(config):
    return _write_body(config, without=("mlp_bias", "classifier_dropout"))


def _write_phi3(config):
    values, scaling = _write_mistral(config), _rotary(config).scaling
    if isinstance(scaling, LongScaling):  # version 4 takes these three alone
        written = written_scaling(scaling)
        kept = {"type": "longrope", **{name: written[name] for name in ("short_factor", "long_factor")}}
        if scaling.factor != config.embeddings.context_length / scaling.original_length:
            kept["factor"] = scaling.factor
        if scaling.attention_factor is not None:
            kept["attention_factor"] = scaling.attention_factor
        values |= {"rope_scaling": kept, _ORIGINAL: scaling.original_length}
    return values | {"resid_pdrop": config.decoder.block.dropout}


def _write_gemma(config, *, without=(), **names):
    head_dim = {"head_dim": config.decoder.block.attention.head_dim}
    return _write_body(config, without=("mlp_bias", *without), **names) | head_dim


def _write_gemma2_body(config, without=()):
    attention = config.decoder.block.attention
    return _write_gemma(config, without=without, called={"hidden_act": "hidden_activation"}) | {
        "query_pre_attn_scalar": attention.head_dim if attention.scale is None else round(attention.scale**-2),
        "final_logit_softcapping": config.head.soft_cap,
        "sliding_window": _window(config) or 4096,
        "layer_types": written_layer_types(config.decoder),
    }


def _write_gemma2(config):
    return _write_gemma2_body(config) | {"attn_logit_softcapping": config.decoder.block.attention.soft_cap}


def _write_gemma3(config):
    local = next((each.positions for each in config.decoder.attentions if each.window is not None), None)
    values = _write_gemma2_body(config, without=("classifier_dropout",))
    return values | ({} if local is None else {"rope_local_base_freq": local.base})


def _write_mixtral(config):
    experts = config.decoder.block.feed_forward.experts
    return _write_mistral(config) | {
        "num_local_experts": experts.num_experts,
        "num_experts_per_tok": experts.num_chosen,
    }


def _write_qwen3_moe(config):
    feed_forwards, window = config.decoder.feed_forwards, _window(config)
    mixed, *others = sorted(dict.fromkeys(feed_forwards), key=lambda each: each.experts is None)
    experts = mixed.experts
    dense = {"intermediate_size": others[0].intermediate_dim} if others else {}
    return _write_body(config, without=("mlp_bias", "intermediate_size")) | {
        **dense,
        "moe_intermediate_size": mixed.intermediate_dim,
        **_written_dense([n for n, each in enumerate(feed_forwards) if each.experts is None], len(feed_forwards)),
        "use_sliding_window": window is not None,
        "sliding_window": window,
        "num_experts": experts.num_experts,
        "num_experts_per_tok": experts.num_chosen,
        "norm_topk_prob": experts.normalize,
    }


def _written_dense(dense, layers):
    """Which layers have no experts: all but one in so many, or a list."""
    for every in range(1, layers + 1):
        if dense == [n for n in range(layers) if (n + 1) % every]:
            return {"decoder_sparse_step": every, "mlp_only_layers": []}
    return {"decoder_sparse_step": 1, "mlp_only_layers": dense}


# Weights

_ATTENTION = {f"self_attention.{part}": f"self_attn.{part[0]}_proj" for part in ("query", "key", "value", "output")}
_NORMED_HEADS = {f"self_attention.{part}_norm": f"self_attn.{part[0]}_norm" for part in ("query", "key")}
_FEED_FORWARD = {f"feed_forward.{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")}
_BEFORE = {
    "self_attention_norm_before": "input_layernorm",
    "feed_forward_norm_before": "post_attention_layernorm",
}
_AFTER = {
    "self_attention_norm_after": "post_attention_layernorm",
    "feed_forward_norm_after": "post_feedforward_layernorm",
}
_AROUND = _AFTER | {
    "self_attention_norm_before": "input_layernorm",
    "feed_forward_norm_before": "pre_feedforward_layernorm",
}
_LAYER = _ATTENTION | _FEED_FORWARD | _BEFORE
_MIXTRAL_NAMES = {"gate": "w1", "up": "w3", "down": "w2"}
_MIXTRAL_EXPERTS = {
    "feed_forward.router": "block_sparse_moe.gate",
    **{f"feed_forward.{ours}": f"block_sparse_moe.experts.*.{theirs}" for ours, theirs in _MIXTRAL_NAMES.items()},
}
_QWEN_EXPERTS = {
    "feed_forward.router": "mlp.gate",
    **{f"feed_forward.{part}": f"mlp.experts.*.{part}_proj" for part in ("gate", "up", "down")},
}
_FUSED = _BEFORE | {
    tuple(f"self_attention.{part}" for part in ("query", "key", "value")): "self_attn.qkv_proj",
    "self_attention.output": "self_attn.o_proj",
    tuple(f"feed_forward.{part}" for part in ("gate", "up")): "mlp.gate_up_proj",
    "feed_forward.down": "mlp.down_proj",
}


def _weights(layer):
    """The table of a body, with the names inside a layer."""

    def path(ours):
        block = "decoder.block_{n}."
        return block + ours if isinstance(ours, str) else tuple(block + each for each in ours)

    return WeightMap(
        (),
        ("layers.{n}.self_attn.rotary_emb.inv_freq",),
        (
            Entry("embedding.token", "embed_tokens"),
            *(Entry(path(ours), f"layers.{{n}}.{theirs}") for ours, theirs in layer.items()),
            Entry("decoder.norm", "norm"),
        ),
        "model.",
        scores=(("lm_head.weight", "model.embed_tokens.weight"),),
    )


def _qwen3_moe_weights(config):
    table = _weights(_ATTENTION | _NORMED_HEADS | _BEFORE | _QWEN_EXPERTS)
    dense = tuple(
        Entry(f"decoder.block_{n}.{ours}", f"layers.{n}.{theirs}")
        for n, each in enumerate(config.decoder.feed_forwards)
        if each.experts is None
        for ours, theirs in _FEED_FORWARD.items()
    )
    return dataclasses.replace(table, body=(*dense, *table.body))


def _heads(name, body, tokens, spans):
    score, ends = (Entry("classifier", "score"),), (Entry("span", "qa_outputs"),)
    return (
        Head("TextEmbedder", body),
        Head("CausalLM", f"{name}ForCausalLM", (Entry("head.dense", "lm_head"),)),
        Head("TextClassifier", f"{body.removesuffix('Model')}ForSequenceClassification", score),
        *((Head("TokenClassifier", f"{name}ForTokenClassification", score),) if tokens else ()),
        *((Head("QuestionAnswerer", f"{name}ForQuestionAnswering", ends, prefix=spans),) if spans else ()),
    )


def _family(model_type, name, read, write, layer=_LAYER, inert=(), *, body=None, tokens=True, spans=None, aliases=()):
    """A family by the name that transformers' classes begin with.

    `layer` has the names inside a layer, or is a function that makes the whole table of a configuration; `body` is its
    class of the body alone, where that begins otherwise, `tokens` whether it has one for each token, `spans` what
    stands before the body's tensors in its class for question answering, where it has one.
    """
    heads = _heads(name, body or f"{name}Model", tokens, spans)
    weights = layer if callable(layer) else _weights(layer)
    where = links(model_type.removesuffix("_text"))
    return by_functions(model_type, read, write, weights, heads, where, ("is_decoder", *inert), aliases)


# Of these each says something only together with the others, or where no longer list stands beside it.
_SLIDING = ("use_sliding_window", "sliding_window", "max_window_layers")
_LLAMA_INERT = ("pretraining_tp", "is_llama_config", "max_sequence_length")
_EXPERTS = (("num_experts", "num_local_experts"),)

register(
    _family("llama", "Llama", _read_llama, _write_llama, inert=_LLAMA_INERT, spans="transformer."),
    _family("mistral", "Mistral", _read_mistral, _write_mistral, spans="model."),
    _family("qwen2", "Qwen2", _read_qwen2, _write_qwen2, inert=_SLIDING, spans="transformer."),
    _family("qwen3", "Qwen3", _read_qwen3, _write_qwen3, _LAYER | _NORMED_HEADS, _SLIDING, spans="transformer."),
    _family(
        "smollm3",
        "SmolLM3",
        _read_smollm3,
        _write_smollm3,
        inert=(*_SLIDING, "no_rope_layer_interval", "pretraining_tp"),
        spans="transformer.",
    ),
    _family(
        "olmo2",
        "Olmo2",
        _read_olmo2,
        _write_olmo2,
        _ATTENTION | _FEED_FORWARD | _AFTER | _NORMED_HEADS,
        tokens=False,
    ),
    _family("phi3", "Phi3", _read_phi3, _write_phi3, _FUSED, ("embd_pdrop", _ORIGINAL)),
    _family("gemma", "Gemma", _read_gemma, _write_gemma),
    _family(
        "gemma2",
        "Gemma2",
        _read_gemma2,
        _write_gemma2,
        _ATTENTION | _FEED_FORWARD | _AROUND,
        ("hidden_act", "cache_implementation"),
    ),
    _family(
        "gemma3_text",
        "Gemma3",
        _read_gemma3,
        _write_gemma3,
        _ATTENTION | _FEED_FORWARD | _AROUND | _NORMED_HEADS,
        (
            "hidden_act",
            "cache_implementation",
            "attn_logit_softcapping",
            "sliding_window_pattern",
            "_sliding_window_pattern",
        ),
        body="Gemma3TextModel",
        tokens=False,
    ),
    _family(
        "mixtral",
        "Mixtral",
        _read_mixtral,
        _write_mixtral,
        _ATTENTION | _BEFORE | _MIXTRAL_EXPERTS,
        ("router_aux_loss_coef",),
        spans="model.",
        aliases=_EXPERTS,
    ),
    _family(
        "qwen3_moe",
        "Qwen3Moe",
        _read_qwen3_moe,
        _write_qwen3_moe,
        _qwen3_moe_weights,
        (*_SLIDING, "router_aux_loss_coef", "intermediate_size"),
        spans="transformer.",
        aliases=_EXPERTS,
    ),
)
