"""Text generation: greedy search, sampling and beam search with a step function `(token_ids, cache) -> (logits,
cache)`."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(__name__)
