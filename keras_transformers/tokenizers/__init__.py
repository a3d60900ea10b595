"""Strings to token ids and back, and token ids to arrays."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
