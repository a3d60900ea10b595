"""Generating tokens: greedy decoding, sampling and beam search over a step function `(token_ids, cache) -> (logits,
cache)`."""

from keras_transformers.generation.beam_search import BeamSearch
from keras_transformers.generation.decoding import Generated, generate, stream
from keras_transformers.generation.penalties import (
    BadWords,
    FrequencyPenalty,
    MinNewTokens,
    NoRepeatNgram,
    PresencePenalty,
    RepetitionPenalty,
)
from keras_transformers.generation.reader import Reader
from keras_transformers.generation.samplers import MinP, Sampling, Temperature, TopK, TopP
from keras_transformers.generation.settings import GenerationConfig, from_hugging_face, to_hugging_face
from keras_transformers.generation.speculative import DraftModel, PromptLookup

__all__ = [
    "BadWords",
    "BeamSearch",
    "DraftModel",
    "FrequencyPenalty",
    "Generated",
    "GenerationConfig",
    "MinNewTokens",
    "MinP",
    "NoRepeatNgram",
    "PresencePenalty",
    "PromptLookup",
    "Reader",
    "RepetitionPenalty",
    "Sampling",
    "Temperature",
    "TopK",
    "TopP",
    "from_hugging_face",
    "generate",
    "stream",
    "to_hugging_face",
]
