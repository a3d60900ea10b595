"""Tasks: models that take texts and return answers."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
