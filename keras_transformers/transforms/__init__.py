"""Functions that change a built model: adapters beside its weights (LoRA), and quantization of its weights."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
