"""Functions that change a model which is there: adapters beside its weights (LoRA), and weights of fewer bits."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
