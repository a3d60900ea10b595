"""Generating tokens: greedy decoding, sampling and beam search over a step function `(token_ids, cache) -> (logits,
cache)`."""

from keras_transformers import lazy

__getattr__, __dir__, __all__ = lazy.names(
    __name__,
    {
        "beam_search": ("BeamSearch",),
        "decoding": ("Generated", "generate", "stream"),
        "penalties": ("BadWords", "CountPenalty", "Forced", "NoRepeatNgram", "RepetitionPenalty", "Suppressed"),
        "reader": ("Reader",),
        "samplers": ("MinP", "Sampling", "Temperature", "TopK", "TopP"),
        "settings": ("GenerationConfig", "from_hugging_face", "to_hugging_face"),
        "speculative": ("DraftModel", "PromptLookup"),
    },
)
