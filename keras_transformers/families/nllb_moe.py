"""NLLB with experts: an M2M100 in which every so many feed-forward layers choose two of many experts for each token.
Data only, in the records of `family.py` and the rows of `keys.py`.

An expert takes no more tokens than its capacity. In evaluation this is a share of all tokens of a batch,
`moe_eval_capacity_token_fraction`. With 1, the default and the published value, no token is left out. With less, the
result of a token would depend on its batch: that is refused, and keys that matter only then are inert.
"""

import dataclasses
from typing import Any

from keras_transformers.families.bart import M2M_100_KEYS, body_weights, generation_head, layer_names
from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.family import Family, links
from keras_transformers.families.fields import Fields, Inexpressible, PerLayer, Values
from keras_transformers.families.keys import Group, expect, in_training, inert
from keras_transformers.families.registry import register
from keras_transformers.families.two_stacks import SIDES
from keras_transformers.families.weight_map import Entry, WeightMap
from keras_transformers.layers.experts import ExpertsConfig
from keras_transformers.models.config import ModelConfig

_EXPERTS = "block.feed_forward.experts"
_STEPS = tuple(f"{side}_sparse_step" for side in SIDES)


def _read_experts(read: ConfigReader, values: Values) -> None:
    """Give every so many layers of each stack experts."""
    experts = ExpertsConfig(read("num_experts", 128), 2, output_masking=read("moe_token_dropout", 0.2))
    steps = [read(name, 4) for name in _STEPS]
    for side, step in zip(SIDES, steps, strict=True):
        mixed = [step > 0 and (n + 1) % step == 0 for n in range(values[f"{side}.num_layers"])]
        values[f"{side}.{_EXPERTS}"] = PerLayer(tuple(experts if each else None for each in mixed))


def _write_experts(fields: Fields) -> dict[str, Any]:
    layers = {side: fields.layers(f"{side}.{_EXPERTS}") for side in SIDES}
    experts = {each for side in SIDES for each in layers[side] if each is not None}
    if len(experts) != 1 or (found := experts.pop()) != ExpertsConfig(
        found.num_experts, 2, output_masking=found.output_masking
    ):
        raise Inexpressible("This ModelConfig has no experts of one kind, of which each token chooses two.")
    written = {"num_experts": found.num_experts, "moe_token_dropout": found.output_masking}
    for name, each in zip(_STEPS, layers.values(), strict=True):
        step = next((n + 1 for n, one in enumerate(each) if one is not None), 0)
        if any((one is not None) != (step > 0 and (n + 1) % step == 0) for n, one in enumerate(each)):
            raise Inexpressible("This ModelConfig has experts in other layers than every so many.")
        written[name] = step
    return written


_KEYS = M2M_100_KEYS.but(
    {},
    Group(("num_experts", "moe_token_dropout", *_STEPS), _read_experts, _write_experts),
    expect("router_bias", False),
    expect("router_dtype", "float32"),
    expect("second_expert_policy", "all"),
    expect("moe_eval_capacity_token_fraction", 1.0),
    in_training("expert_capacity", 64),
    in_training("output_router_logits", False),
    inert(
        *("router_ignore_padding_tokens", "normalize_router_prob_before_dropping", "batch_prioritized_routing"),
        *("router_z_loss_coef", "router_aux_loss_coef"),
    ),
)

_NAMES = layer_names("cross_attention", "ff_layer_norm")
_PROJECTIONS = {"up": "fc1", "down": "fc2"}


def _weights(config: ModelConfig) -> WeightMap:
    table, fields, entries = body_weights(config, _NAMES), Fields(config), []
    for side in SIDES:
        for n, experts in enumerate(fields.layers(f"{side}.{_EXPERTS}")):
            ours, theirs = f"{side}.block_{n}.feed_forward", f"{side}.layers.{n}.ffn"
            place = theirs if experts is None else f"{theirs}.experts.expert_*"
            entries += [Entry(f"{ours}.{a}", f"{place}.{b}") for a, b in _PROJECTIONS.items()]
            entries += [] if experts is None else [Entry(f"{ours}.router", f"{theirs}.router.classifier")]
    return dataclasses.replace(table, body=(*entries, *table.body))


_HEADS = (generation_head("NllbMoeForConditionalGeneration", bias=False),)
register(Family("nllb-moe", _KEYS, _weights, _HEADS, links("nllb_moe")))
