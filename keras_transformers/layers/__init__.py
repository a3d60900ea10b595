"""Transformer layers: tensors in, tensors out, each usable alone in anyone's Keras model."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
