"""Generating tokens: greedy decoding, sampling and beam search over a step function `(token_ids, cache) -> (logits,
cache)`."""

from keras_transformers.generation.beam_search import BeamSearch
from keras_transformers.generation.decoding import Generated, generate, stream
from keras_transformers.generation.samplers import MinP, Sampling, Temperature, TopK, TopP
from keras_transformers.generation.settings import GenerationConfig, from_hugging_face, to_hugging_face

__all__ = [
    "BeamSearch",
    "Generated",
    "GenerationConfig",
    "MinP",
    "Sampling",
    "Temperature",
    "TopK",
    "TopP",
    "from_hugging_face",
    "generate",
    "stream",
    "to_hugging_face",
]
