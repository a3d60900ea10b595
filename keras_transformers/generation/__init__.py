"""Generating tokens: greedy decoding, sampling and beam search over a step function `(token_ids, cache) -> (logits,
cache)`."""

from keras_transformers import lazy
from keras_transformers.generation.beam_search import BeamSearch
from keras_transformers.generation.decoding import Generated, generate, stream
from keras_transformers.generation.penalties import (
    BadWords,
    ForcedEnd,
    ForcedStart,
    FrequencyPenalty,
    MinLength,
    MinNewTokens,
    NoRepeatNgram,
    NoSourceNgram,
    PresencePenalty,
    RepetitionPenalty,
    Suppressed,
    SuppressedAtStart,
)
from keras_transformers.generation.reader import Reader
from keras_transformers.generation.samplers import MinP, Sampling, Temperature, TopK, TopP
from keras_transformers.generation.settings import GenerationConfig, from_hugging_face, to_hugging_face
from keras_transformers.generation.speculative import DraftModel, PromptLookup

__all__ = [
    "BadWords",
    "BeamSearch",
    "DraftModel",
    "ForcedEnd",
    "ForcedStart",
    "FrequencyPenalty",
    "Generated",
    "GenerationConfig",
    "MinLength",
    "MinNewTokens",
    "MinP",
    "NoRepeatNgram",
    "NoSourceNgram",
    "PresencePenalty",
    "PromptLookup",
    "Reader",
    "RepetitionPenalty",
    "Sampling",
    "Suppressed",
    "SuppressedAtStart",
    "Temperature",
    "TopK",
    "TopP",
    "from_hugging_face",
    "generate",
    "stream",
    "to_hugging_face",
]

__getattr__ = lazy.refusal(__name__, __all__)
