"""Transformer layers, each usable alone in any Keras model."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
