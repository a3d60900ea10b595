"""Generation settings: a record, its checks, and the penalties and samplers that follow from it."""

import dataclasses
import typing
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from keras_transformers.generation.penalties import (
    BadWords,
    CountPenalty,
    Forced,
    NoRepeatNgram,
    RepetitionPenalty,
    Suppressed,
)
from keras_transformers.generation.samplers import MinP, Temperature, TopK, TopP
from keras_transformers.records import record

NEW_TOKENS = 256  # the default limit


@record
class GenerationConfig:
    """Generation settings, of a checkpoint or of a call.

    Args:
        num_beams: int, at least 1. 1 is greedy search (or sampling), more is beam search.
        do_sample: bool, whether tokens are sampled. Not with beams.
        temperature, top_k, top_p, min_p: restrictions of sampling, applied in this order: see `samplers`. None for no
            restriction.
        repetition_penalty: float above 0. Positive logits of tokens in the text, including the prompt, are divided by
            it; negative ones are multiplied. 1 for no penalty.
        presence_penalty, frequency_penalty: floats, subtracted from the logits of generated tokens: once, and once for
            each occurrence.
        no_repeat_ngram_size: int, the length of n-grams that may not occur twice in the text. 0 for no limit.
        encoder_no_repeat_ngram_size: int, the length of n-grams of the source that may not be generated. 0 for no
            limit.
        bad_words_ids: tuple of tuples of ints, sequences of tokens that may not be generated. A single end token among
            them is ignored.
        suppress_tokens, begin_suppress_tokens: tuples of ints, tokens that may never be generated, or not as the first.
        min_new_tokens: int, the number of generated tokens before which no text ends.
        min_length: int, the same for prompt and generated tokens together, if `min_new_tokens` is 0.
        max_new_tokens: int or None, the limit on generated tokens, including the end token.
        max_length: int or None, the limit on prompt and generated tokens together, if `max_new_tokens` is None. With
            neither, the limit is 256 generated tokens.
        length_penalty: float, for beam search: hypotheses compare by sum of log-probabilities / length **
            length_penalty.
        early_stopping: False, True or "never", for beam search: see `BeamSearch`.
        num_return_sequences: int, the number of results for each sentence: at most `num_beams` with beam search, any
            number with sampling.
        start_id: int or None, the first token of a decoder's prompt. The caller puts it there; generation does not.
        forced_start_id: int or None, the first generated token after a prompt of one token. In many models it is the
            target language.
        forced_end_id: int, tuple of ints or None, the last generated token if the limit is reached.
        renormalize_logits: bool, for beam search: whether the probabilities left by the settings above are scaled to a
            sum of 1 again.
        end_ids: tuple of ints, the tokens that end a sequence. It may be empty.
        padding_id: int, the token after the end.
        stop: tuple of stop strings; a text ends before the first one in it. Not with beams.
        log_probabilities: whether to return the log-probability of each token. Not with beams, which have scores.
        shortlist: bool, whether only tokens of the model's lexical shortlist are scored, if the model has one: see
            `Seq2SeqLM`.
        seed: int or None. With a seed, sampling is reproducible. Without, it follows the global seed of NumPy, which
            `keras.utils.set_random_seed` sets.

    Raises:
        ValueError: for values out of range, naming the expected ones.

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
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    no_repeat_ngram_size: int = 0
    encoder_no_repeat_ngram_size: int = 0
    bad_words_ids: tuple = ()
    suppress_tokens: tuple = ()
    begin_suppress_tokens: tuple = ()
    min_new_tokens: int = 0
    min_length: int = 0
    max_new_tokens: int | None = None
    max_length: int | None = None
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    num_return_sequences: int = 1
    start_id: int | None = None
    forced_start_id: int | None = None
    forced_end_id: int | tuple | None = None
    renormalize_logits: bool = False
    end_ids: tuple = ()
    padding_id: int = 0
    stop: tuple = ()
    log_probabilities: bool = False
    shortlist: bool = True
    seed: int | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{name} to be {expected}, got {getattr(self, name)!r}"
            for name, (expected, fits) in _EXPECTED.items()
            if not fits(getattr(self, name))
        ]
        problems += [*_contradictions(self), *_wrong_words(self.bad_words_ids)]
        # Make the samplers to check their arguments: a wrong value is an error even if do_sample is False.
        for make, arguments in _samplers(self):
            try:
                make(*arguments)
            except ValueError as error:
                problems.append(str(error).removeprefix("Expected ").removesuffix("."))
        if self.repetition_penalty <= 0:
            problems.append(f"repetition_penalty > 0, got {self.repetition_penalty!r}. 1 is none")
        if problems:
            raise ValueError(f"Expected {'; '.join(problems)}.")

    def scored(self) -> "GenerationConfig":
        """The same settings, but with scores of the results. A beam search has them anyway."""
        return self if self.num_beams > 1 else dataclasses.replace(self, log_probabilities=True)


def _is_id(value: typing.Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 0)


def _are_ids(values: Iterable[typing.Any]) -> bool:
    return all(type(each) is int and each >= 0 for each in values)


def _are_ids_if_any(value: typing.Any) -> bool:
    return value is None or _are_ids(value if isinstance(value, tuple) else (value,))


def _is_positive(value: typing.Any) -> bool:
    return _is_id(value) and value >= 1


_AN_ID = "a token id (an int of at least 0"
_IDS = "token ids (ints of at least 0)"
# For each setting, the allowed values as an error names them, and a check.
_EXPECTED: dict[str, tuple[str, typing.Callable[[typing.Any], bool]]] = {
    "num_beams": ("an int of at least 1", _is_positive),
    "num_return_sequences": ("an int of at least 1", _is_positive),
    "max_length": ("an int of at least 1", lambda value: value is None or _is_positive(value)),
    "max_new_tokens": ("an int of at least 1", lambda value: value is None or _is_positive(value)),
    "early_stopping": ('False, True or "never"', lambda value: value in (False, True, "never")),
    "stop": ("a tuple of strings that are not empty", lambda value: all(isinstance(s, str) and s for s in value)),
    "end_ids": (f"a tuple of {_IDS}", lambda value: all(map(_is_id, value))),
    "start_id": (f"None or {_AN_ID})", lambda value: value is None or _is_id(value)),
    "padding_id": (f"{_AN_ID}; any will do if the model has none)", _is_id),
    "seed": ("None or at least 0", lambda value: value is None or value >= 0),
    "no_repeat_ngram_size": ("at least 0", lambda value: value >= 0),
    "encoder_no_repeat_ngram_size": ("at least 0", lambda value: value >= 0),
    "min_length": ("at least 0", lambda value: value >= 0),
    "min_new_tokens": ("at least 0", lambda value: value >= 0),
    "forced_start_id": (_IDS, _are_ids_if_any),
    "forced_end_id": (_IDS, _are_ids_if_any),
    "suppress_tokens": (_IDS, _are_ids),
    "begin_suppress_tokens": (_IDS, _are_ids),
}


def _contradictions(config: GenerationConfig) -> Iterator[str]:
    """Settings that contradict each other, each as the rest of a sentence that begins with "Expected"."""
    alone = {
        "do_sample=True": config.do_sample,
        "stop": config.stop,
        "log_probabilities=True": config.log_probabilities,
    }
    if config.num_beams > 1 and any(alone.values()):
        names = " and ".join(name for name, on in alone.items() if on)
        yield f"num_beams=1 with {names}, got num_beams={config.num_beams}"
    if config.num_return_sequences > config.num_beams and not config.do_sample:
        yield (
            f"num_return_sequences to be at most num_beams={config.num_beams}, got {config.num_return_sequences} "
            "(raise num_beams, or sample with do_sample=True)"
        )
    if config.max_new_tokens is not None and config.min_new_tokens > config.max_new_tokens:
        yield f"min_new_tokens to be at most max_new_tokens={config.max_new_tokens}, got {config.min_new_tokens}"


def _wrong_words(words: typing.Any) -> Iterator[str]:
    for word in words:
        if not (isinstance(word, tuple) and word and _are_ids(word)):
            yield f"bad_words_ids to be a tuple of tuples of {_IDS}, got a word {word!r}"


# Settings that need sampling, or beams, with the values that have no effect anyway.
_FOR_SAMPLING: dict[str, tuple] = {
    "temperature": (1.0,),
    "top_k": (None, 0, 1),
    "top_p": (None, 1.0),
    "min_p": (None, 0.0),
}
_FOR_BEAMS: dict[str, tuple] = {"length_penalty": (1.0,), "early_stopping": (False,), "renormalize_logits": (False,)}


def without_effect(
    config: GenerationConfig, given: Mapping[str, typing.Any], scored: bool = False
) -> tuple[dict[str, typing.Any], dict[str, typing.Any]]:
    """Given settings without effect.

    Args:
        config: the `GenerationConfig` that contains them.
        given: a dictionary of settings by name.
        scored: whether scores are returned; the length penalty changes these.

    Returns: two dictionaries: the settings that need sampling, and those that need beams.
    """

    def of(names: Mapping[str, tuple]) -> dict[str, typing.Any]:
        return {name: given[name] for name, inert in names.items() if name in given and given[name] not in inert}

    sampling = {} if config.do_sample else of(_FOR_SAMPLING)
    beams = {} if config.num_beams > 1 else of(_FOR_BEAMS)
    if scored or config.log_probabilities:
        beams.pop("length_penalty", None)
    return sampling, beams


def names_a_limit(given: Mapping[str, typing.Any]) -> bool:
    """Whether the settings of a call limit the length of a text."""
    return any(given.get(name) is not None for name in ("max_new_tokens", "max_length"))


def named_ids(config: GenerationConfig) -> list[int]:
    """All token ids in a config, a list."""
    ids = [config.padding_id, *config.end_ids, *config.suppress_tokens, *config.begin_suppress_tokens]
    ids += [token_id for word in config.bad_words_ids for token_id in word]
    for each in (config.start_id, config.forced_start_id, config.forced_end_id):
        ids += each if isinstance(each, tuple) else () if each is None else (each,)
    return ids


def penalties(config: GenerationConfig) -> tuple[typing.Any, ...]:
    """The penalties of a config, as a tuple of records, in the order of transformers."""
    ends, forced_end, forced_start = config.end_ids, config.forced_end_id, config.forced_start_id
    bad_words = tuple(word for word in config.bad_words_ids if word not in [(end,) for end in ends])
    forced_ends = forced_end if isinstance(forced_end, tuple) else (forced_end,)
    forces_start, at_start = forced_start is not None, config.begin_suppress_tokens
    presence, frequency = config.presence_penalty, config.frequency_penalty
    named = (
        (config.repetition_penalty != 1, RepetitionPenalty, config.repetition_penalty),
        (presence or frequency, CountPenalty, presence, frequency),
        (config.no_repeat_ngram_size, NoRepeatNgram, config.no_repeat_ngram_size),
        (config.encoder_no_repeat_ngram_size, NoRepeatNgram, config.encoder_no_repeat_ngram_size, True),
        (bad_words, BadWords, bad_words),
        (config.min_length and not config.min_new_tokens, Suppressed, ends, config.min_length, True),
        (config.min_new_tokens, Suppressed, ends, config.min_new_tokens),
        (forces_start, Forced, (forced_start,)),
        (forced_end is not None, Forced, forced_ends, True),
        (config.suppress_tokens, Suppressed, config.suppress_tokens),
        (at_start, Suppressed, at_start, 1, False, forces_start),
    )
    return tuple(make(*arguments) for on, make, *arguments in named if on)


def _samplers(config: GenerationConfig) -> list[tuple[type, list[typing.Any]]]:
    """The class and arguments of each sampler of a config."""
    named = (
        (Temperature, config.temperature != 1, config.temperature),
        (TopK, config.top_k is not None, config.top_k),
        (TopP, config.top_p is not None, config.top_p),
        (MinP, config.min_p is not None, config.min_p),
    )
    return [(make, arguments) for make, on, *arguments in named if on]


def samplers(config: GenerationConfig) -> tuple[typing.Any, ...]:
    """The samplers of a config, as a tuple of records."""
    return tuple(make(*arguments) for make, arguments in _samplers(config))
