"""Text containers to arrays: readers, cleaning, token ids with their labels, and batches."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
