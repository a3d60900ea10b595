"""No family is forgotten, and its cases leave out nothing that it reads."""

import pytest

from keras_transformers.families.registry import families
from tests.conformance.cases import CASES
from tests.conformance.changes import others

pytestmark = pytest.mark.one_backend

# What a head's architecture says too: of T5's, some have no decoder.
BY_HEAD = ("architectures", "is_encoder_decoder")
# Where the code of a family lies that is not in transformers.
WITHOUT_MEANING = ("auto_map",)


@pytest.mark.parametrize("model_type", families())
def test_a_family_has_a_case(model_type):
    cases = [case for case in CASES.values() if case.model_type == model_type]
    assert cases, f"Give {model_type} a case in tests/conformance/cases.py."


@pytest.mark.parametrize("model_type", families())
def test_the_cases_set_every_key_away_from_its_default(model_type):
    family = families()[model_type]
    cases = [case.values for case in CASES.values() if case.model_type == model_type]
    for key in family.write(family.config(cases[0])):
        is_set = [key in values and _read(family, _without(values, key)) != _read(family, values) for values in cases]
        assert any(is_set) or _is_fixed(family, cases[0], key), f"Set {key} away from its default in a case."


def _is_fixed(family, values, key):
    """Whether a key has one legal value only, or differs between the heads of one case."""
    return key in (*BY_HEAD, *WITHOUT_MEANING) or all(
        _read(family, values | {key: other}) is None for other in others(values[key])
    )


def _without(values, key):
    return {name: value for name, value in values.items() if name != key}


def _read(family, values):
    try:
        return family.config(values)
    except ValueError:
        return None
