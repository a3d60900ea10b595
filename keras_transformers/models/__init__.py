"""What a model is: data, and one class that reads it."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
