"""Whole training runs in one call, from files to a preset, as one YAML file describes."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
