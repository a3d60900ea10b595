"""Generating tokens: greedy decoding, sampling and beam search over a step function `(token_ids, cache) -> (logits,
cache)`."""

from keras_transformers import lazy
from keras_transformers.generation.beam_search import BeamSearch
from keras_transformers.generation.decoding import Generated, generate, stream
from keras_transformers.generation.penalties import (
    BadWords,
    CountPenalty,
    Forced,
    NoRepeatNgram,
    RepetitionPenalty,
    Suppressed,
)
from keras_transformers.generation.reader import Reader
from keras_transformers.generation.samplers import MinP, Sampling, Temperature, TopK, TopP
from keras_transformers.generation.settings import GenerationConfig, from_hugging_face, to_hugging_face
from keras_transformers.generation.speculative import DraftModel, PromptLookup

__all__ = [
    "BadWords",
    "BeamSearch",
    "CountPenalty",
    "DraftModel",
    "Forced",
    "Generated",
    "GenerationConfig",
    "MinP",
    "NoRepeatNgram",
    "PromptLookup",
    "Reader",
    "RepetitionPenalty",
    "Sampling",
    "Suppressed",
    "Temperature",
    "TopK",
    "TopP",
    "from_hugging_face",
    "generate",
    "stream",
    "to_hugging_face",
]

__getattr__ = lazy.refusal(__name__, __all__)
