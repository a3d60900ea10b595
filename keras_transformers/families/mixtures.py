"""Mixtures of experts: relatives of Llama whose feed-forward layers choose among experts. Data only.

model_type    differences
mixtral       a window
qwen3_moe     some layers without experts; norms of queries and keys
"""

import dataclasses
from typing import Any

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.fields import Fields, Inexpressible, PerLayer, Values
from keras_transformers.families.keys import Group, Row, expect, in_training, inert, key, unwritten
from keras_transformers.families.llama import (
    ATTENTION_BIAS,
    BEFORE,
    FEED_FORWARD,
    GATED,
    KEYS,
    MISTRAL_KEYS,
    NORMED_HEADS,
    PROJECTIONS,
    SWITCHED,
    WINDOW,
    decoder_family,
    decoder_weights,
    norm_heads,
    one_window,
)
from keras_transformers.families.registry import register
from keras_transformers.families.rotary import RotaryKeys
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.families.windows import checked_window
from keras_transformers.layers.experts import ExpertsConfig

_EXPERTS = FEED_FORWARD + "experts"

_ROUTER = (
    in_training("output_router_logits", False),
    in_training("router_jitter_noise", 0.0),
    inert("router_aux_loss_coef"),
)
_MIXTRAL_KEYS = MISTRAL_KEYS.but(
    {"rms_norm_eps": 1e-5},
    RotaryKeys(default_base=1000000.0),
    one_window(None),
    key(("num_local_experts", "num_experts"), 8, _EXPERTS + ".num_experts"),
    key("num_experts_per_tok", 2, _EXPERTS + ".num_chosen"),
    *_ROUTER,
)


def _read_switched_window(read: ConfigReader, values: Values) -> None:
    window = read.optional("sliding_window", int, 4096)
    values[WINDOW] = checked_window(window if read("use_sliding_window", False) else None, values)


def _write_switched_window(fields: Fields) -> dict[str, Any]:
    window = fields(WINDOW)
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
    usual = values[FEED_FORWARD + "intermediate_dim"]
    values[FEED_FORWARD + "intermediate_dim"] = PerLayer(tuple(usual if each else width for each in mixed))
    values[_EXPERTS] = PerLayer(tuple(ExpertsConfig if each else None for each in mixed))


def _write_dense(fields: Fields) -> dict[str, Any]:
    layers = fields.layers(FEED_FORWARD.rstrip("."))
    dense = [n for n, each in enumerate(layers) if each.experts is None]
    written = {"intermediate_size": layers[dense[0]].intermediate_dim} if dense else {}
    for every in range(1, len(layers) + 1):
        if dense == [n for n in range(len(layers)) if (n + 1) % every]:
            return {**written, "decoder_sparse_step": every, "mlp_only_layers": []}
    return {**written, "decoder_sparse_step": 1, "mlp_only_layers": dense}


def _mixed(fields: Fields) -> Any:
    """Return the first feed-forward layer with experts."""
    layers = fields.layers(FEED_FORWARD.rstrip("."))
    found = next((each for each in layers if each.experts is not None), None)
    if found is None:
        raise Inexpressible("This ModelConfig has no experts.")
    return found


def _of_experts(name: str, default: Any, field: str) -> Row:
    """Return the row of a field of the experts, in layers that have experts."""
    return key(name, default, f"{_EXPERTS}.{field}", restore=lambda fields: getattr(_mixed(fields).experts, field))


_QWEN3_MOE_KEYS = KEYS.but(
    {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "num_hidden_layers": 24,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
    },
    ATTENTION_BIAS,
    norm_heads(by_head=True),
    Group(("use_sliding_window", "sliding_window"), _read_switched_window, _write_switched_window),
    SWITCHED,
    key(
        "moe_intermediate_size",
        768,
        FEED_FORWARD + "intermediate_dim",
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

_MIXTRAL_NAMES = {"gate": "w1", "up": "w3", "down": "w2"}
_MIXTRAL_EXPERTS = {
    "feed_forward.router": "block_sparse_moe.gate",
    **{f"feed_forward.{ours}": f"block_sparse_moe.experts.*.{theirs}" for ours, theirs in _MIXTRAL_NAMES.items()},
}
_QWEN_EXPERTS = {
    "feed_forward.router": "mlp.gate",
    **{f"feed_forward.{part}": f"mlp.experts.*.{part}_proj" for part in ("gate", "up", "down")},
}


def _qwen3_moe_weights(config: Any) -> WeightMap:
    table = decoder_weights(PROJECTIONS | NORMED_HEADS | BEFORE | _QWEN_EXPERTS)
    dense = tuple(
        Entry(f"decoder.block_{n}.{ours}", f"layers.{n}.{theirs}")
        for n, experts in enumerate(Fields(config).layers("decoder.block.feed_forward.experts"))
        if experts is None
        for ours, theirs in GATED.items()
    )
    return dataclasses.replace(table, body=(*dense, *table.body))


register(
    decoder_family("mixtral", "Mixtral", _MIXTRAL_KEYS, PROJECTIONS | BEFORE | _MIXTRAL_EXPERTS, spans="model."),
    decoder_family("qwen3_moe", "Qwen3Moe", _QWEN3_MOE_KEYS, _qwen3_moe_weights, spans="transformer."),
)
