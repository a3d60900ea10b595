"""A program that `test_registry.py` starts: one file is read, and one family's module is imported for it."""

import sys

from keras_transformers.families import registry

if __name__ == "__main__":
    before = {f"keras_transformers.families.{each}" for each in registry.MODULES} & set(sys.modules)
    assert not before, before
    assert registry.family_of({"model_type": "t5"}, "config.json").model_type == "t5"
    assert "keras_transformers.families.t5" in sys.modules
    assert not {f"keras_transformers.families.{each}" for each in registry.MODULES if each != "t5"} & set(sys.modules)
