"""Training: batches of sentence pairs, the loss, schedules, metrics and callbacks, as functions over Keras models."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
