"""Losses: of the tokens of a language model, and of the vectors of a `TextEmbedder`."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
