"""What transformers reads of a `config.json`, the family reads, refuses or calls inert: any other key may pass."""

import json

import numpy as np
import pytest
from keras import ops

from keras_transformers.families.config_reader import HUGGING_FACE_ACTIVATIONS
from keras_transformers.families.registry import families
from keras_transformers.families.unknown_keys import ELSEWHERE
from keras_transformers.layers.feed_forward import ACTIVATIONS
from tests.conformance.cases import IN_TRANSFORMERS
from tests.conformance.known_keys import known

pytestmark = pytest.mark.one_backend("torch")


def _defaults(model_type):
    import transformers

    return json.loads(json.dumps(transformers.CONFIG_MAPPING[model_type]().to_dict()))


@pytest.mark.parametrize("model_type", IN_TRANSFORMERS)
def test_a_key_that_transformers_reads_does_not_pass_as_unknown(model_type):
    family, values = families()[model_type], _defaults(model_type)
    passing = []
    for key in sorted(known(model_type)):
        try:
            _, reader = family.reading(values | {key: {"odd": 1}})
        except ValueError:  # refused
            continue
        passing += {key} & set(reader.passing)
    assert not passing


@pytest.mark.parametrize("model_type", IN_TRANSFORMERS)
def test_other_names_of_keys_are_those_of_transformers(model_type):
    import transformers

    theirs = transformers.CONFIG_MAPPING[model_type].attribute_map
    assert theirs.items() <= dict(families()[model_type].aliases).items()


# By these names alone, transformers contradicts the d_head that it made of its defaults.
CONTRADICTED = {("xlnet", "hidden_size"), ("xlnet", "num_attention_heads")}


@pytest.mark.parametrize("model_type", [name for name in IN_TRANSFORMERS if families()[name].aliases])
def test_another_name_says_what_the_usual_one_says(model_type):
    import transformers

    family, values = families()[model_type], _defaults(model_type)
    for alias, name in family.aliases:
        if (model_type, alias) in CONTRADICTED:
            continue
        values[name] *= 2
        usual = family.config(values)
        spelled = {alias if key == name else key: value for key, value in values.items()}
        assert family.config(spelled) == family.config(spelled | {name: None}) == usual
        assert family.config(spelled | {name: values[name]}) == usual
        theirs = transformers.CONFIG_MAPPING[model_type].from_dict(dict(spelled))
        assert getattr(theirs, name) == values[name]
        with pytest.raises(ValueError, match=f"{name} and {alias}: expected one value, got 1 and {values[name]}"):
            family.config(spelled | {name: 1})


def test_the_keys_that_any_configuration_may_have_are_read_by_transformers():
    assert set().union(*map(known, IN_TRANSFORMERS)) >= ELSEWHERE.keys()


@pytest.mark.parametrize("theirs", HUGGING_FACE_ACTIVATIONS)
def test_an_activation_is_what_transformers_calls_so(theirs):
    import torch
    from transformers.activations import ACT2FN

    numbers = np.linspace(-6, 6, 99, dtype="float32")
    wanted = ACT2FN[theirs](torch.tensor(numbers)).numpy()
    found = ops.convert_to_numpy(ACTIVATIONS[HUGGING_FACE_ACTIVATIONS[theirs]](ops.convert_to_tensor(numbers)))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
