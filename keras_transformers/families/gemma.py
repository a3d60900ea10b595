"""Gemma: relatives of Llama with norms that store their scale minus one, and scaled embeddings. Data only.

model_type    differences
gemma         (1)
gemma2        norms around each branch; every other layer has a window; capped scores
gemma3_text   the same, without caps; norms of queries and keys; other positions in layers with a window; both sides
"""

import dataclasses
from typing import Any

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.fields import Fields, Values
from keras_transformers.families.keys import Group, activation, expect, inert, key, optional
from keras_transformers.families.llama import (
    AFTER,
    ATTENTION,
    ATTENTION_BIAS,
    BLOCK,
    FEED_FORWARD,
    GATED,
    KEYS,
    NO_TOKENS,
    NORMED_HEADS,
    PROJECTIONS,
    WINDOW,
    decoder_family,
    heads_of_width,
    norm_heads,
)
from keras_transformers.families.registry import register
from keras_transformers.families.rotary import RotaryKeysByKind
from keras_transformers.families.windows import Slides, WindowKeys

# The first Gemma files have "gelu", but were always computed with "gelu_tanh".
_GEMMA_ACTIVATION = dataclasses.replace(
    activation("hidden_act", "gelu_pytorch_tanh", FEED_FORWARD + "activation"),
    adapt=lambda name, values: "gelu_tanh" if name == "gelu" else name,
)
_GEMMA_KEYS = KEYS.but(
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
    ATTENTION_BIAS,
    heads_of_width(256),
    expect("use_bidirectional_attention", None, False),
    expect("hidden_activation", None, "gelu_pytorch_tanh"),
    _GEMMA_ACTIVATION,
    always={"embeddings.scale": True, BLOCK + "norm.unit_offset": True},
)


def _scale_of(scalar: int, values: Values) -> float | None:
    return None if scalar == values[ATTENTION + "head_dim"] else scalar**-0.5


def _scalar(fields: Fields) -> int:
    scale = fields(ATTENTION + "scale")
    return fields(ATTENTION + "head_dim") if scale is None else round(scale**-2)


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
    key("query_pre_attn_scalar", 256, ATTENTION + "scale", adapt=_scale_of, restore=_scalar),
    optional("attn_logit_softcapping", float, 50.0, ATTENTION + "soft_cap"),
    optional("final_logit_softcapping", float, 30.0, "head.soft_cap"),
    WindowKeys(_gemma2_layers, otherwise=4096, others=("sliding_window_size",)),
    activation("hidden_activation", "gelu_pytorch_tanh", FEED_FORWARD + "activation"),
    inert("hidden_act", "cache_implementation"),
    without=("hidden_act",),
    always={BLOCK + "norm_placement": "around"},
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
    window = next((each for each in fields.layers(WINDOW) if each is not None), None)
    return {"use_bidirectional_attention": True, **({} if window is None else {"sliding_window": 2 * (window - 1)})}


_GEMMA3_KEYS = _GEMMA2_KEYS.but(
    {"vocab_size": 262208, "max_position_embeddings": 131072, "final_logit_softcapping": None},
    WindowKeys(_gemma3_layers, otherwise=4096, others=("sliding_window_size", "sliding_window_pattern")),
    Group(("use_bidirectional_attention",), _read_sides, _write_sides),
    RotaryKeysByKind(1e6, 1e4, "rope_local_base_freq"),
    norm_heads(by_head=True),
    inert("attn_logit_softcapping", "sliding_window_pattern", "_sliding_window_pattern"),
    without=("rope_theta", "attn_logit_softcapping", "is_causal", "use_bidirectional_attention", *NO_TOKENS),
)

_AROUND = AFTER | {
    "self_attention_norm_before": "input_layernorm",
    "feed_forward_norm_before": "pre_feedforward_layernorm",
}


register(
    decoder_family("gemma", "Gemma", _GEMMA_KEYS),
    decoder_family("gemma2", "Gemma2", _GEMMA2_KEYS, PROJECTIONS | GATED | _AROUND),
    decoder_family(
        "gemma3_text",
        "Gemma3",
        _GEMMA3_KEYS,
        PROJECTIONS | GATED | _AROUND | NORMED_HEADS,
        body="Gemma3TextModel",
        tokens=False,
    ),
)
