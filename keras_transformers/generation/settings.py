"""How to generate: a record of settings, and the same in a `generation_config.json`."""

import math

import numpy as np

from keras_transformers.generation.samplers import MinP, Temperature, TopK, TopP
from keras_transformers.records import record


@record
class GenerationConfig:
    """How to generate: a checkpoint's own settings, or a call's.

    Args:
        num_beams: int, at least 1. 1 is greedy decoding (or sampling), more is beam search.
        do_sample: bool, whether tokens are drawn at random. Not together with beams.
        temperature, top_k, top_p, min_p: what sampling draws from, in this order: see `samplers`. None leaves one out.
        max_new_tokens: int or None, the limit on generated tokens, the end token among them.
        max_length: int, the limit on prompt and generated tokens together, where `max_new_tokens` is None.
        length_penalty: float, for beam search: hypotheses compare by sum of log-probabilities / length **
            length_penalty.
        early_stopping: False, True or "never", for beam search: see `BeamSearch`.
        num_return_sequences: int, how many results a sentence gets: at most `num_beams` of a beam search, any number
            when sampling.
        start_id: int or None, what a decoder's prompt begins with. For those who make the prompt; nothing here adds it.
        end_ids: tuple of ints, the tokens that end a sequence. It may be empty.
        padding_id: int, what follows the end.
        stop: tuple of strings; a text ends before the first of them that it comes to. Not with beams.
        log_probabilities: whether to tell how likely the model finds each token. Not with beams, which have scores.
        seed: int or None. With a seed, sampling repeats itself; without, it follows NumPy's global seed, which
            `keras.utils.set_random_seed` sets.

    Raises:
        ValueError: for values outside these, naming what was expected.

    Example:

    >>> GenerationConfig(num_beams=4, end_ids=(2,), max_new_tokens=64).num_beams
    4
    """

    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    max_new_tokens: int | None = None
    max_length: int = 256
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    num_return_sequences: int = 1
    start_id: int | None = None
    end_ids: tuple = ()
    padding_id: int = 0
    stop: tuple = ()
    log_probabilities: bool = False
    seed: int | None = None

    def __post_init__(self):
        for name in ("num_beams", "num_return_sequences", "max_length", "max_new_tokens"):
            value = getattr(self, name)
            if not (_is_id(value) and value >= 1) and not (name == "max_new_tokens" and value is None):
                raise ValueError(f"Expected {name} to be an int of at least 1, got {value!r}.")
        if self.early_stopping not in (False, True, "never") or not isinstance(self.early_stopping, (bool, str)):
            raise ValueError(f'Expected early_stopping to be False, True or "never", got {self.early_stopping!r}.')
        if self.do_sample and self.num_beams > 1:
            raise ValueError(
                f"Expected num_beams=1 with do_sample=True, got num_beams={self.num_beams}. "
                "Sample without beams, or search without sampling."
            )
        if self.num_return_sequences > self.num_beams and not self.do_sample:
            raise ValueError(
                f"Expected num_return_sequences to be at most num_beams={self.num_beams}, "
                f"got {self.num_return_sequences}. "
                "Raise num_beams, or sample with do_sample=True."
            )
        if not isinstance(self.end_ids, tuple) or not all(_is_id(token_id) for token_id in self.end_ids):
            raise ValueError(f"Expected end_ids to be a tuple of token ids (ints of at least 0), got {self.end_ids!r}.")
        if not all(isinstance(text, str) and text for text in self.stop):
            raise ValueError(f"Expected stop to be a tuple of strings that are not empty, got {self.stop!r}.")
        if self.num_beams > 1 and (self.stop or self.log_probabilities):
            what = "stop" if self.stop else "log_probabilities"
            raise ValueError(
                f"Expected num_beams=1 with {what}, got num_beams={self.num_beams}. Decode greedily or sampling."
            )
        if self.start_id is not None and not _is_id(self.start_id):
            raise ValueError(
                f"Expected start_id to be None or a token id (an int of at least 0), got {self.start_id!r}."
            )
        if not math.isfinite(self.length_penalty):
            raise ValueError(f"Expected a finite length_penalty, got {self.length_penalty!r}.")
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"Expected seed to be None or at least 0, got {self.seed}.")
        if not _is_id(self.padding_id):
            raise ValueError(
                f"Expected padding_id to be a token id (an int of at least 0), got {self.padding_id!r}. "
                "Any id will do where the model has none."
            )
        # Built here for their checks: a wrong value is an error even where do_sample is False.
        samplers(self)


def _is_id(value):
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 0


def samplers(config):
    """The samplers that a config names, as a tuple of records."""
    named = ((Temperature, config.temperature), (TopK, config.top_k), (TopP, config.top_p), (MinP, config.min_p))
    return tuple(make(value) for make, value in named if value is not None and (make, value) != (Temperature, 1.0))


_HUGGING_FACE_NAMES = {
    "num_beams": "num_beams",
    "do_sample": "do_sample",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "max_new_tokens": "max_new_tokens",
    "max_length": "max_length",
    "length_penalty": "length_penalty",
    "early_stopping": "early_stopping",
    "num_return_sequences": "num_return_sequences",
    "decoder_start_token_id": "start_id",
    "pad_token_id": "padding_id",
}
# All that a file may set; old ones have it in the model's `config.json`.
GENERATION_KEYS = (*_HUGGING_FACE_NAMES, "eos_token_id", "bos_token_id")
# These change no token.
_INERT = {
    "_from_model_config",
    "bos_token_id",
    "cache_implementation",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "renormalize_logits",  # beam search normalises anyway, before anything is ruled out
    "return_dict_in_generate",
    "transformers_version",
    "use_cache",
}
# These say "off" by 1; other numbers by 0, but for token ids, of which 0 is one.
_OFF_AT_ONE = {"encoder_repetition_penalty", "guidance_scale", "num_beam_groups", "repetition_penalty", "typical_p"}


def _is_off(name, value):
    if value is None or value is False or value == [] or value == {}:
        return True
    if isinstance(value, bool) or name.endswith("_id"):
        return False
    return value == (1 if name in _OFF_AT_ONE else 0)


def from_hugging_face(values):
    """A `GenerationConfig` from the values of a `generation_config.json`.

    What a file leaves out has our defaults, except that without `top_k` sampling keeps the 50 likeliest tokens, as
    transformers does. `bos_token_id` begins a prompt where there is no `decoder_start_token_id`.

    Raises:
        ValueError: for settings that would change the result and that we do not have, naming all of them.
    """
    known = {*_HUGGING_FACE_NAMES, *_INERT, "eos_token_id"}
    unknown = {name: value for name, value in values.items() if name not in known and not _is_off(name, value)}
    if unknown:
        raise ValueError(
            f"Expected settings among {', '.join(_HUGGING_FACE_NAMES)} and eos_token_id, got also {unknown}. "
            "They would change what is generated: set them to null if that is all right."
        )
    ends = values.get("eos_token_id")
    fields = {ours: values[theirs] for theirs, ours in _HUGGING_FACE_NAMES.items() if values.get(theirs) is not None}
    fields["end_ids"] = () if ends is None else tuple(ends) if isinstance(ends, (list, tuple)) else (ends,)
    fields["top_k"] = values.get("top_k", 50) or None
    fields.setdefault("start_id", values.get("bos_token_id"))
    return GenerationConfig(**fields)


def to_hugging_face(config):
    """The values of a `generation_config.json` that `from_hugging_face`, and transformers, read back. The seed is a
    call's, so it is left out."""
    values = {theirs: getattr(config, ours) for theirs, ours in _HUGGING_FACE_NAMES.items()}
    ends = [int(token_id) for token_id in config.end_ids]
    values |= {"eos_token_id": ends[0] if len(ends) == 1 else ends or None, "top_k": config.top_k or 0}
    return {name: value for name, value in values.items() if value is not None}
