"""The registry of families: which there are, and that a file of one family imports that family alone."""

import subprocess
import sys

import pytest

from keras_transformers.families import registry

pytestmark = pytest.mark.one_backend("torch")


def test_one_family_is_imported_for_one_file():
    program = """
import sys
from keras_transformers.families import registry
assert registry.family_of({"model_type": "t5"}, "config.json").model_type == "t5"
assert "keras_transformers.families.t5" in sys.modules
assert not {f"keras_transformers.families.{each}" for each in registry.MODULES if each != "t5"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_module_registers_the_families_that_are_listed_for_it_in_that_order():
    listed = [model_type for model_types in registry.MODULES.values() for model_type in model_types]
    assert list(registry.families()) == listed
    for model_type in listed:
        assert registry.family(model_type).model_type == model_type


def test_a_model_type_is_registered_once():
    with pytest.raises(ValueError, match="Expected one family of each model_type, got two of 'bert'"):
        registry.register(registry.family("bert"))
