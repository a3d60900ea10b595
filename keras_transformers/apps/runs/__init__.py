"""Whole runs, from files to a preset: what is in one YAML file, in one call."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
