"""Llama and its relatives: decoders with RMS norms, rotary positions and gated feed-forward layers. Data only:
`family.py` explains the records.

model_type    differences
llama         (1, 2 and 3)
mistral       a window
qwen2         biases of queries, keys and values; windows in some layers
qwen3         norms of queries and keys, head by head; windows in some layers
smollm3       layers without positions; windows in some layers
olmo2         norms only after each branch; norms of queries and keys over their whole width
olmo3         the same, and windows in three of four layers, whose positions are not scaled
phi3          fused weights; rotary positions over a part of each head; factors for each frequency
gemma         norms that store their scale minus one; scaled embeddings
gemma2        the same, and norms around each branch; every other layer has a window; capped scores
gemma3_text   the same, without caps; norms of queries and keys; other positions in layers with a window; both sides
mixtral       experts
qwen3_moe     experts, but for some layers; norms of queries and keys
"""

import collections.abc
import dataclasses
from typing import Any

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, Head, links
from keras_transformers.families.fields import Fields, Inexpressible, PerLayer, Values
from keras_transformers.families.keys import (
    OMITTED,
    ONE_STACK,
    Group,
    Keys,
    Row,
    activation,
    derive,
    expect,
    in_training,
    inert,
    key,
    optional,
    repeat,
    token_id,
    unwritten,
)
from keras_transformers.families.registry import register
from keras_transformers.families.rotary import RotaryKeys, RotaryKeysByKind
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.families.windows import Slides, WindowKeys, checked_window
from keras_transformers.layers.attention import QueryKeyNorm
from keras_transformers.layers.experts import ExpertsConfig
from keras_transformers.layers.norms import RMSNorm
from keras_transformers.models.config import ModelConfig

# Configurations

_BLOCK, _ATTENTION, _FEED_FORWARD = "decoder.block.", "decoder.block.attention.", "decoder.block.feed_forward."
_POSITIONS, _WINDOW, _EXPERTS = _ATTENTION + "positions", _ATTENTION + "window", _FEED_FORWARD + "experts"
_TOKEN_DROPOUT = "token_head.dropout"


def _head_dim(values: Values) -> int | None:
    """Return the model's width divided by the number of heads; None, which is refused, if it cannot be divided."""
    width, heads = values["hidden_dim"], values[_ATTENTION + "num_heads"]
    return width // heads if heads > 0 and width % heads == 0 else None


def _own_head_dim(fields: Fields) -> Any:
    width, heads = fields(_ATTENTION + "head_dim"), fields(_ATTENTION + "num_heads")
    return OMITTED if width in (None, fields("hidden_dim") / heads) else width


def _norm_heads(by_head: bool) -> Row:
    """Return the row of norms of queries and keys, over each head or over all heads together."""

    def add(values: Values) -> None:
        norm = RMSNorm(values[_BLOCK + "norm.epsilon"], values.get(_BLOCK + "norm.unit_offset", False))
        values[_ATTENTION + "query_key_norm"] = QueryKeyNorm(norm, by_head)

    return derive(add)


def _heads_of_width(default: int) -> Row:
    """Return the row of a head width with its own default; null means the model's width divided by the heads."""
    return optional("head_dim", int, default, _ATTENTION + "head_dim", null=_head_dim)


def _one_window(default: int | None) -> Row:
    """Return the row of one window for all layers."""
    return optional("sliding_window", int, default, _WINDOW, adapt=checked_window)


# transformers reads this key of any decoder; files of embedders have it.
_CAUSAL = optional(
    "is_causal",
    bool,
    True,
    "decoder.bidirectional",
    adapt=lambda causal, values: causal is False,
    restore=lambda fields: False if fields("decoder.bidirectional") else OMITTED,
)


_ATTENTION_BIAS = key("attention_bias", False, _ATTENTION + "use_bias")
_MLP_BIAS = key("mlp_bias", False, _FEED_FORWARD + "use_bias")

# The rows that all families share, each with its own defaults.
_KEYS = Keys(
    (
        *ONE_STACK,
        inert("is_decoder"),
        key("vocab_size", 32000, "embeddings.vocabulary_size"),
        key("hidden_size", 4096, "hidden_dim"),
        key("intermediate_size", 11008, _FEED_FORWARD + "intermediate_dim"),
        key("num_hidden_layers", 32, "decoder.num_layers"),
        key("num_attention_heads", 32, _ATTENTION + "num_heads"),
        optional(
            "num_key_value_heads",
            int,
            None,
            _ATTENTION + "num_key_value_heads",
            null=lambda values: values[_ATTENTION + "num_heads"],
        ),
        optional("head_dim", int, None, _ATTENTION + "head_dim", null=_head_dim, restore=_own_head_dim),
        activation("hidden_act", "silu", _FEED_FORWARD + "activation"),
        key("max_position_embeddings", 2048, "embeddings.context_length"),
        RotaryKeys(),
        key("rms_norm_eps", 1e-6, _BLOCK + "norm.epsilon"),
        key("attention_dropout", 0.0, _ATTENTION + "dropout"),
        token_id("pad_token_id", None, "padding_id"),
        key("tie_word_embeddings", False, "head.tied"),
        _CAUSAL,
        unwritten(optional("hidden_dropout", float, None, _TOKEN_DROPOUT, null=lambda values: 0.1)),
        optional("classifier_dropout", float, None, _TOKEN_DROPOUT, null=lambda values: values[_TOKEN_DROPOUT]),
    ),
    {
        "decoder.final_norm": True,
        _BLOCK + "norm": RMSNorm,
        _BLOCK + "norm_placement": "pre",
        _ATTENTION + "use_bias": False,
        _FEED_FORWARD + "use_bias": False,
        _FEED_FORWARD + "gated": True,
        "pooler.pooling": "last",
        "pooler.classifier_bias": False,
    },
)
_NO_TOKENS = ("hidden_dropout", "classifier_dropout")  # for families without a token classifier

_LLAMA_KEYS = _KEYS.but(
    {},
    _ATTENTION_BIAS,
    _MLP_BIAS,
    expect("rope_interleaved", False),
    # InternLM's name, and the names in Meta's own files
    repeat("bias", lambda values: values[_ATTENTION + "use_bias"], "attention_bias"),
    repeat("dim", lambda values: values["hidden_dim"], "hidden_size"),
    repeat("n_layers", lambda values: values["decoder.num_layers"], "num_hidden_layers"),
    repeat("n_heads", lambda values: values[_ATTENTION + "num_heads"], "num_attention_heads"),
    repeat("n_kv_heads", lambda values: values[_ATTENTION + "num_key_value_heads"], "num_key_value_heads"),
    repeat("norm_eps", lambda values: values[_BLOCK + "norm.epsilon"], "rms_norm_eps"),
    inert("pretraining_tp", "is_llama_config", "max_sequence_length"),
)

_MISTRAL_KEYS = _KEYS.but(
    {"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072}, _one_window(4096)
)


def _qwen_layers(read: ConfigReader, values: Values, window: int | None) -> tuple[int | None, Slides]:
    """Return windows from one layer on, if they are switched on."""
    slides, first = read("use_sliding_window", False), read("max_window_layers", 28)
    window = window if slides else None
    return window, lambda n: window is not None and n >= first


# One of these keys may change nothing: without the others, or beside `layer_types`.
_SWITCHED = inert("use_sliding_window", "sliding_window", "max_window_layers")
_QWEN2_KEYS = _KEYS.but(
    {
        "vocab_size": 151936,
        "intermediate_size": 22016,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
    },
    expect("use_mrope", False),
    WindowKeys(_qwen_layers, switched=True, others=("max_window_layers",)),
    _SWITCHED,
    always={_ATTENTION + "use_bias": "inputs"},
)
_QWEN3_KEYS = _QWEN2_KEYS.but(
    {}, _ATTENTION_BIAS, _heads_of_width(128), _norm_heads(by_head=True), without=("use_mrope",)
)


def _read_turned(read: ConfigReader, values: Values) -> None:
    """Read which layers have no rotary positions."""
    layers, every = values["decoder.num_layers"], read("no_rope_layer_interval", 4)
    turned = read("no_rope_layers", None) or [int((n + 1) % every != 0) for n in range(layers)]
    if len(turned) != layers or not set(turned) <= {0, 1}:
        raise ValueError(f"no_rope_layers: expected num_hidden_layers={layers} of 0 and 1, got {turned!r:.80}")
    positions = values[_POSITIONS]
    values[_POSITIONS] = PerLayer(tuple(positions if each else None for each in turned))


def _smollm3_layers(read: ConfigReader, values: Values, window: int | None) -> tuple[int | None, Slides]:
    """Return windows in the layers without positions, if they are switched on."""
    slides, positions = read("use_sliding_window", False) and window is not None, values[_POSITIONS].values
    return window, lambda n: slides and positions[n] is None


_SMOLLM3_KEYS = _KEYS.but(
    {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "pad_token_id": 128004,
        "tie_word_embeddings": True,
    },
    _ATTENTION_BIAS,
    _MLP_BIAS,
    RotaryKeys(default_base=2000000.0),
    Group(
        ("no_rope_layers", "no_rope_layer_interval"),
        _read_turned,
        lambda fields: {"no_rope_layers": [int(each is not None) for each in fields.layers(_POSITIONS)]},
    ),
    WindowKeys(_smollm3_layers, default=None, switched=True),
    _SWITCHED,
    inert("no_rope_layer_interval", "pretraining_tp"),
)

_OLMO2_KEYS = _KEYS.but(
    {"vocab_size": 50304, "pad_token_id": 1, "rms_norm_eps": 1e-5},
    _ATTENTION_BIAS,
    _norm_heads(by_head=False),
    without=_NO_TOKENS,
    always={_BLOCK + "norm_placement": "branch"},
)

_OLMO3_KEYS = _OLMO2_KEYS.but(
    {},
    WindowKeys(lambda read, values, window: (window, lambda n: (n + 1) % 4 != 0)),
    RotaryKeysByKind(500000.0, 500000.0),
    without=("rope_theta",),
)

_PHI3_KEYS = _KEYS.but(
    {
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "pad_token_id": 32000,
    },
    RotaryKeys(fraction="partial_rotary_factor", kinds=("longrope",), default_length=4096),
    _one_window(None),
    key("resid_pdrop", 0.0, _BLOCK + "dropout"),
    *(expect(name, False) for name in ("attention_bias", "mlp_bias", "lm_head_bias")),
    *(expect(name, 1) for name in ("full_attn_mod", "interpolate_factor")),
    inert("embd_pdrop", "original_max_position_embeddings"),
)

# The first Gemma files have "gelu", but were always computed with "gelu_tanh".
_GEMMA_ACTIVATION = dataclasses.replace(
    activation("hidden_act", "gelu_pytorch_tanh", _FEED_FORWARD + "activation"),
    adapt=lambda name, values: "gelu_tanh" if name == "gelu" else name,
)
_GEMMA_KEYS = _KEYS.but(
    {
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "max_position_embeddings": 8192,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
    },
    _ATTENTION_BIAS,
    _heads_of_width(256),
    expect("use_bidirectional_attention", None, False),
    expect("hidden_activation", None, "gelu_pytorch_tanh"),
    _GEMMA_ACTIVATION,
    always={"embeddings.scale": True, _BLOCK + "norm.unit_offset": True},
)


def _scale_of(scalar: int, values: Values) -> float | None:
    return None if scalar == values[_ATTENTION + "head_dim"] else scalar**-0.5


def _scalar(fields: Fields) -> int:
    scale = fields(_ATTENTION + "scale")
    return fields(_ATTENTION + "head_dim") if scale is None else round(scale**-2)


def _gemma2_layers(read: ConfigReader, values: Values, window: int | None) -> tuple[int | None, Slides]:
    """Return windows in every other layer."""
    read.repeats("sliding_window_size", window, "sliding_window")
    return window, lambda n: n % 2 == 0


_GEMMA2_KEYS = _GEMMA_KEYS.but(
    {
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
    },
    key("query_pre_attn_scalar", 256, _ATTENTION + "scale", adapt=_scale_of, restore=_scalar),
    optional("attn_logit_softcapping", float, 50.0, _ATTENTION + "soft_cap"),
    optional("final_logit_softcapping", float, 30.0, "head.soft_cap"),
    WindowKeys(_gemma2_layers, otherwise=4096, others=("sliding_window_size",)),
    activation("hidden_activation", "gelu_pytorch_tanh", _FEED_FORWARD + "activation"),
    inert("hidden_act", "cache_implementation"),
    without=("hidden_act",),
    always={_BLOCK + "norm_placement": "around"},
)


def _gemma3_layers(read: ConfigReader, values: Values, window: int | None) -> tuple[int | None, Slides]:
    """Return windows in all layers but every sixth; the key `sliding_window_pattern` may hold another number."""
    read.repeats("sliding_window_size", window, "sliding_window")
    every = read("sliding_window_pattern", 6)
    if window is not None and read.values.get("use_bidirectional_attention"):  # both sides together are so wide
        window = window // 2 + 1
    return window, lambda n: (n + 1) % every != 0


def _read_sides(read: ConfigReader, values: Values) -> None:
    """Read whether tokens see later ones."""
    values["decoder.bidirectional"] = read("use_bidirectional_attention", None) is True
    read.expect("use_bidirectional_attention", None, False, True)


def _write_sides(fields: Fields) -> dict[str, Any]:
    if not fields("decoder.bidirectional"):
        return {}
    window = next((each for each in fields.layers(_WINDOW) if each is not None), None)
    return {"use_bidirectional_attention": True, **({} if window is None else {"sliding_window": 2 * (window - 1)})}


_GEMMA3_KEYS = _GEMMA2_KEYS.but(
    {"vocab_size": 262208, "max_position_embeddings": 131072, "final_logit_softcapping": None},
    WindowKeys(_gemma3_layers, otherwise=4096, others=("sliding_window_size", "sliding_window_pattern")),
    Group(("use_bidirectional_attention",), _read_sides, _write_sides),
    RotaryKeysByKind(1e6, 1e4, "rope_local_base_freq"),
    _norm_heads(by_head=True),
    inert("attn_logit_softcapping", "sliding_window_pattern", "_sliding_window_pattern"),
    without=("rope_theta", "attn_logit_softcapping", "is_causal", "use_bidirectional_attention", *_NO_TOKENS),
)

_ROUTER = (
    in_training("output_router_logits", False),
    in_training("router_jitter_noise", 0.0),
    inert("router_aux_loss_coef"),
)
_MIXTRAL_KEYS = _MISTRAL_KEYS.but(
    {"rms_norm_eps": 1e-5},
    RotaryKeys(default_base=1000000.0),
    _one_window(None),
    key(("num_local_experts", "num_experts"), 8, _EXPERTS + ".num_experts"),
    key("num_experts_per_tok", 2, _EXPERTS + ".num_chosen"),
    *_ROUTER,
)


def _read_switched_window(read: ConfigReader, values: Values) -> None:
    window = read.optional("sliding_window", int, 4096)
    values[_WINDOW] = checked_window(window if read("use_sliding_window", False) else None, values)


def _write_switched_window(fields: Fields) -> dict[str, Any]:
    window = fields(_WINDOW)
    return {"use_sliding_window": window is not None, "sliding_window": window}


def _read_dense(read: ConfigReader, values: Values) -> None:
    """Read which layers have no experts: all but every `decoder_sparse_step`th, and the `mlp_only_layers`."""
    layers, every = values["decoder.num_layers"], read("decoder_sparse_step", 1)
    dense, width = read("mlp_only_layers", None) or [], read("intermediate_size", 6144)
    if not isinstance(dense, list) or not set(dense) <= set(range(layers)):
        raise ValueError(f"mlp_only_layers: expected numbers of num_hidden_layers={layers}, got {dense!r:.80}")
    mixed = [n not in dense and (n + 1) % every == 0 for n in range(layers)]
    if not any(mixed):
        raise ValueError(
            f"decoder_sparse_step, mlp_only_layers: expected layers with experts, got none by {every} and {dense!r:.80}"
        )
    usual = values[_FEED_FORWARD + "intermediate_dim"]
    values[_FEED_FORWARD + "intermediate_dim"] = PerLayer(tuple(usual if each else width for each in mixed))
    values[_EXPERTS] = PerLayer(tuple(ExpertsConfig if each else None for each in mixed))


def _write_dense(fields: Fields) -> dict[str, Any]:
    layers = fields.layers(_FEED_FORWARD.rstrip("."))
    dense = [n for n, each in enumerate(layers) if each.experts is None]
    written = {"intermediate_size": layers[dense[0]].intermediate_dim} if dense else {}
    for every in range(1, len(layers) + 1):
        if dense == [n for n in range(len(layers)) if (n + 1) % every]:
            return {**written, "decoder_sparse_step": every, "mlp_only_layers": []}
    return {**written, "decoder_sparse_step": 1, "mlp_only_layers": dense}


def _mixed(fields: Fields) -> Any:
    """Return the first feed-forward layer with experts."""
    layers = fields.layers(_FEED_FORWARD.rstrip("."))
    found = next((each for each in layers if each.experts is not None), None)
    if found is None:
        raise Inexpressible("This ModelConfig has no experts.")
    return found


def _of_experts(name: str, default: Any, field: str) -> Row:
    """Return the row of a field of the experts, in layers that have experts."""
    return key(name, default, f"{_EXPERTS}.{field}", restore=lambda fields: getattr(_mixed(fields).experts, field))


_QWEN3_MOE_KEYS = _KEYS.but(
    {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "num_hidden_layers": 24,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
    },
    _ATTENTION_BIAS,
    _norm_heads(by_head=True),
    Group(("use_sliding_window", "sliding_window"), _read_switched_window, _write_switched_window),
    _SWITCHED,
    key(
        "moe_intermediate_size",
        768,
        _FEED_FORWARD + "intermediate_dim",
        restore=lambda fields: _mixed(fields).intermediate_dim,
    ),
    unwritten(key(("num_local_experts", "num_experts"), 128, _EXPERTS + ".num_experts")),
    Group(  # the name that version 4 of transformers reads
        ("num_experts",),
        lambda read, values: None,
        lambda fields: {"num_experts": _mixed(fields).experts.num_experts},
    ),
    _of_experts("num_experts_per_tok", 8, "num_chosen"),
    _of_experts("norm_topk_prob", False, "normalize"),
    Group(("decoder_sparse_step", "mlp_only_layers", "intermediate_size"), _read_dense, _write_dense),
    inert("intermediate_size"),
    *_ROUTER,
    # Qwen3-Coder's files have these keys
    expect("use_qk_norm", True),
    expect("qkv_bias", False),
    expect("shared_expert_intermediate_size", 0),
    without=("intermediate_size",),
)


# Weights

Names = collections.abc.Mapping[Any, str]  # file names by this library's names; a tuple of names shares one tensor

_PROJECTIONS: dict[Any, str] = {
    f"self_attention.{part}": f"self_attn.{part[0]}_proj" for part in ("query", "key", "value", "output")
}
_NORMED_HEADS = {f"self_attention.{part}_norm": f"self_attn.{part[0]}_norm" for part in ("query", "key")}
_GATED = {f"feed_forward.{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")}
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
_LAYER = _PROJECTIONS | _GATED | _BEFORE
_MIXTRAL_NAMES = {"gate": "w1", "up": "w3", "down": "w2"}
_MIXTRAL_EXPERTS = {
    "feed_forward.router": "block_sparse_moe.gate",
    **{f"feed_forward.{ours}": f"block_sparse_moe.experts.*.{theirs}" for ours, theirs in _MIXTRAL_NAMES.items()},
}
_QWEN_EXPERTS = {
    "feed_forward.router": "mlp.gate",
    **{f"feed_forward.{part}": f"mlp.experts.*.{part}_proj" for part in ("gate", "up", "down")},
}
_FUSED: dict[Any, str] = {
    **_BEFORE,
    tuple(f"self_attention.{part}" for part in ("query", "key", "value")): "self_attn.qkv_proj",
    "self_attention.output": "self_attn.o_proj",
    tuple(f"feed_forward.{part}" for part in ("gate", "up")): "mlp.gate_up_proj",
    "feed_forward.down": "mlp.down_proj",
}


def _weights(layer: Names) -> WeightMap:
    """Return the table of a body, given the names inside a layer."""

    def path(ours: str | tuple[str, ...]) -> str | tuple[str, ...]:
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


def _qwen3_moe_weights(config: Any) -> WeightMap:
    table = _weights(_PROJECTIONS | _NORMED_HEADS | _BEFORE | _QWEN_EXPERTS)
    dense = tuple(
        Entry(f"decoder.block_{n}.{ours}", f"layers.{n}.{theirs}")
        for n, experts in enumerate(Fields(config).layers("decoder.block.feed_forward.experts"))
        if experts is None
        for ours, theirs in _GATED.items()
    )
    return dataclasses.replace(table, body=(*dense, *table.body))


def _heads(name: str, body: str, tokens: bool, spans: str | None) -> tuple[Head, ...]:
    score, ends = (Entry("classifier", "score"),), (Entry("span", "qa_outputs"),)
    return (
        Head("TextEmbedder", body),
        Head("CausalLM", f"{name}ForCausalLM", (Entry("head.dense", "lm_head"),)),
        Head("TextClassifier", f"{body.removesuffix('Model')}ForSequenceClassification", score),
        *((Head("TokenClassifier", f"{name}ForTokenClassification", score),) if tokens else ()),
        *((Head("QuestionAnswerer", f"{name}ForQuestionAnswering", ends, prefix=spans),) if spans else ()),
    )


def _family(
    model_type: str,
    name: str,
    keys: Keys,
    layer: Names | collections.abc.Callable[[ModelConfig], WeightMap] = _LAYER,
    *,
    body: str | None = None,
    tokens: bool = True,
    spans: str | None = None,
) -> Family:
    """Return a family of decoders.

    Args:
        model_type: as in `config.json`.
        name: the start of the names of transformers' classes.
        keys: the rows of `config.json`.
        layer: the names inside a layer, or a function that makes the whole table from a configuration.
        body: transformers' class of the body alone, if its name starts differently.
        tokens: whether the family has a token classifier.
        spans: the prefix of the body's tensors in the class for question answering; None without such a class.
    """
    heads = _heads(name, body or f"{name}Model", tokens, spans)
    weights = layer if callable(layer) else _weights(layer)
    return Family(model_type, keys, weights, heads, links(model_type.removesuffix("_text")))


register(
    _family("llama", "Llama", _LLAMA_KEYS, spans="transformer."),
    _family("mistral", "Mistral", _MISTRAL_KEYS, spans="model."),
    _family("qwen2", "Qwen2", _QWEN2_KEYS, spans="transformer."),
    _family("qwen3", "Qwen3", _QWEN3_KEYS, _LAYER | _NORMED_HEADS, spans="transformer."),
    _family("smollm3", "SmolLM3", _SMOLLM3_KEYS, spans="transformer."),
    _family("olmo2", "Olmo2", _OLMO2_KEYS, _PROJECTIONS | _GATED | _AFTER | _NORMED_HEADS, tokens=False),
    _family("olmo3", "Olmo3", _OLMO3_KEYS, _PROJECTIONS | _GATED | _AFTER | _NORMED_HEADS, tokens=False),
    _family("phi3", "Phi3", _PHI3_KEYS, _FUSED),
    _family("gemma", "Gemma", _GEMMA_KEYS),
    _family("gemma2", "Gemma2", _GEMMA2_KEYS, _PROJECTIONS | _GATED | _AROUND),
    _family(
        "gemma3_text",
        "Gemma3",
        _GEMMA3_KEYS,
        _PROJECTIONS | _GATED | _AROUND | _NORMED_HEADS,
        body="Gemma3TextModel",
        tokens=False,
    ),
    _family("mixtral", "Mixtral", _MIXTRAL_KEYS, _PROJECTIONS | _BEFORE | _MIXTRAL_EXPERTS, spans="model."),
    _family("qwen3_moe", "Qwen3Moe", _QWEN3_MOE_KEYS, _qwen3_moe_weights, spans="transformer."),
)
