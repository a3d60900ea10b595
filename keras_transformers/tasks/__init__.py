"""What models do: text in, answers out."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
