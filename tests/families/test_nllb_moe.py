"""NLLB-MoE: what bends numbers and is not computed is refused by name; layers with experts are every so many."""

import dataclasses

import pytest

from keras_transformers.families.fields import Inexpressible
from keras_transformers.families.registry import families
from tests.conformance.bart_cases import CASES

pytestmark = pytest.mark.one_backend("torch")
VALUES = CASES["nllb-moe"][1]


@pytest.mark.parametrize(
    "name, value",
    [
        ("moe_eval_capacity_token_fraction", 0.5),
        ("moe_eval_capacity_token_fraction", -1.0),
        ("second_expert_policy", "sampling"),
        ("router_bias", True),
        ("router_dtype", "bfloat16"),
        ("num_experts", 1),
    ],
)
def test_keys_that_are_not_computed_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        families()["nllb-moe"].config(VALUES | {name: value})


def test_layers_with_experts():
    family = families()["nllb-moe"]
    config = family.config(VALUES | {"decoder_layers": 4, "encoder_sparse_step": 0, "decoder_sparse_step": 2})
    mixed = [each.experts is not None for each in config.decoder.feed_forwards]
    assert mixed == [False, True, False, True] and config.encoder.feed_forward_pattern in (None, ())
    written = family.write(config)
    assert (written["encoder_sparse_step"], written["decoder_sparse_step"], written["num_experts"]) == (0, 2, 5)
    assert family.config(written) == config
    other = [
        each and dataclasses.replace(each, num_chosen=3) for each in (f.experts for f in config.decoder.feed_forwards)
    ]
    layers = [dataclasses.replace(f, experts=e) for f, e in zip(config.decoder.feed_forwards, other, strict=True)]
    changed = dataclasses.replace(config.decoder, feed_forward_pattern=tuple(layers))
    with pytest.raises(Inexpressible, match="of which each token chooses two"):
        family.write(dataclasses.replace(config, decoder=changed))
    first = tuple(reversed(config.decoder.feed_forwards))
    block = dataclasses.replace(config.decoder.block, feed_forward=first[0])
    changed = dataclasses.replace(config.decoder, block=block, feed_forward_pattern=first)
    with pytest.raises(Inexpressible, match="in other layers than every so many"):
        family.write(dataclasses.replace(config, decoder=changed))
