"""From a prompt to generated tokens: prefill, the loop in segments, stop rules, streaming.

A model takes part as one function, `step(token_ids int32 [R, T], cache) -> (logits [R, V] of the last position,
cache)`, with a cache as in `layers/cache.py`. Rows are hypotheses: those of one sentence stand together,
`R = B * num_beams` (when sampling, `B * num_return_sequences`), and share its cross-attention.

    prompt [B, T] ──► prefill all but its last token ──► rows repeated ──► segment ──► segment ──► …
                      one row a sentence                                └─ between segments: make room,
                                                                           drop finished sentences

Shapes come in few sizes, so that little is compiled: room in powers of two from 32 on, sentences in powers of two
once some are done. Neither these nor the length of a segment changes a result.

Legend: `B` sentences, `R` rows, `T` prompt length, `V` vocabulary, `L` generated length.
"""

import math
import typing

import numpy as np
from keras import ops

from keras_transformers.generation import arrays, executors
from keras_transformers.generation.beam_search import BeamSearch
from keras_transformers.generation.samplers import MinP, Sampling, Temperature, TopK, TopP
from keras_transformers.layers import cache as caches
from keras_transformers.records import record

SEGMENT_LENGTH = 16
SMALLEST_ROOM = 32


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


class Generated(typing.NamedTuple):
    """What `generate` returns: NumPy arrays, the results of one sentence together, the best first.

    token_ids: int32 `[B * num_return_sequences, L]`: the generated tokens without the prompt, the end token where
        there is one, then padding up to the longest.
    scores: float32 `[B * num_return_sequences]`: sum of log-probabilities / length ** length_penalty, of a beam
        search; else None.
    """

    token_ids: np.ndarray
    scores: np.ndarray | None


def generate(
    model, step, cache, token_ids, config, *, vocabulary_size=None, numbers=None, segment_length=SEGMENT_LENGTH
):
    """Continue each prompt until an end token or the limit.

    Args:
        model: what `step` computes with: `model.variables` are its weights, and the compiled functions are kept on
            it. None for a step without either.
        step: `(token_ids int32 [R, T], cache) -> (logits [R, V] of the last position, cache)`, pure but for the
            cache's buffers on PyTorch. Give the same object in each call (a bound method is): compilations are kept
            under it.
        cache: a `layers.cache.Cache` for B rows, with nothing of the prompt written and room for any number of
            positions. It is used up: make a new one for the next call.
        token_ids: int `[B, T]`, NumPy array or nested list, the prompts, all of one length, T at least 1; for an
            encoder-decoder the start token.
        config: a `GenerationConfig`.
        vocabulary_size: int or None; ids are checked against it.
        numbers: int `[B]`, which draws each prompt gets when sampling, whatever else is in its batch; by default its
            place.
        segment_length: int, how many steps a loop runs before the host looks. No result depends on it.

    Returns: a `Generated`.

    Raises:
        ValueError: for prompts of another rank, dtype or length, or with ids out of range.

    Example:

    >>> config = GenerationConfig(num_beams=4, end_ids=(2,))
    >>> generated = generate(model, model.step, cache, [[start_id]] * batch_size, config)
    >>> generated.token_ids.shape, generated.scores.shape
    """
    token_ids = _checked_prompts(token_ids, config, vocabulary_size)
    if len(token_ids) == 0:
        return Generated(np.zeros((0, 0), "int32"), np.zeros(0, "float32") if config.num_beams > 1 else None)
    decoding = _Decoding(model, step, cache, token_ids, config, numbers)
    if len(token_ids) == 1:  # done when it is done: there is nobody to drop before
        segment_length = decoding.limit
    while decoding.run(segment_length):
        decoding.compact()
    return decoding.generated()


def stream(model, step, cache, token_ids, config, *, vocabulary_size=None):
    """As `generate`, token by token: an iterator of int32 NumPy `[B]` (when sampling, `[B * num_return_sequences]`),
    the newest token of each row, padding after its end.

    Raises:
        ValueError: as `generate` (at once, not at the first token), and for more than one beam: until the search is
        over, it is open which hypothesis wins.
    """
    if config.num_beams > 1:
        raise ValueError(
            f"Expected num_beams=1 to stream tokens, got num_beams={config.num_beams}. "
            "Stream greedily or sampling, or use generate."
        )
    token_ids = _checked_prompts(token_ids, config, vocabulary_size)

    def newest_tokens():
        decoding = _Decoding(model, step, cache, token_ids, config)
        running = True
        while running:
            running = decoding.run(1)
            yield decoding.newest()

    return newest_tokens() if len(token_ids) else iter(())


def _checked_prompts(token_ids, config, vocabulary_size):
    prompts = np.asarray(token_ids)
    if prompts.ndim != 2 or prompts.shape[1] < 1:
        raise ValueError(
            f"Expected prompts [B, T] with T at least 1, got shape {prompts.shape}. "
            "A single prompt is a batch of one: [[...]]."
        )
    if not np.issubdtype(prompts.dtype, np.integer):
        raise ValueError(
            f"Expected prompts of token ids, an int dtype, got {prompts.dtype}. Encode text with a tokenizer first."
        )
    end = np.iinfo("int32").max if vocabulary_size is None else vocabulary_size
    if prompts.size and (prompts.min() < 0 or prompts.max() >= end):
        raise ValueError(
            f"Expected token ids in [0, {end}), got ids from {prompts.min()} to {prompts.max()}. "
            "Does the tokenizer belong to the model?"
        )
    beyond = [token_id for token_id in (*config.end_ids, config.padding_id) if token_id >= end]
    if beyond:
        raise ValueError(
            f"Expected end_ids and padding_id in [0, {end}), got {beyond}. "
            "Does the generation config belong to the model?"
        )
    if config.max_new_tokens is None and prompts.shape[1] >= config.max_length:
        raise ValueError(
            f"Expected prompts shorter than max_length={config.max_length}, got {prompts.shape[1]} tokens. "
            "Raise max_length, or set max_new_tokens."
        )
    return prompts.astype("int32")


def _strategy(config):
    if config.num_beams > 1:
        return BeamSearch(
            config.num_beams,
            config.end_ids,
            config.padding_id,
            float(config.length_penalty),
            config.early_stopping,
            config.num_return_sequences,
        )
    return Sampling(
        config.end_ids, config.padding_id, samplers(config) if config.do_sample else None, config.num_return_sequences
    )


def bucket(length):
    """A length, rounded up to 8, 16, 24, 32, 48, 64, 96, 128, …: few shapes, little padding."""
    if length <= 32:
        return max(-(-int(length) // 8) * 8, 8)
    size = power_of_two(int(length))
    return size * 3 // 4 if length <= size * 3 // 4 else size


def power_of_two(n):
    """The smallest power of two that is at least `n`."""
    return 1 << max(n - 1, 0).bit_length()


class _Decoding:
    """One batch on its way: what is on the device, and what the host knows about it."""

    def __init__(self, model, step, cache, token_ids, config, numbers=None):
        self.model, self.step, self.config = model, executors.fast_step(step), config
        self.strategy = _strategy(config)
        self.prefix = token_ids.shape[1] - 1  # positions that the cache holds before the first step
        self.limit = config.max_new_tokens or config.max_length - token_ids.shape[1]
        self.position = 0
        self.seed = np.random.randint(2**31) if config.seed is None else config.seed
        self.sentences = np.arange(len(token_ids))  # which of the batch's sentences the device still holds
        self.numbers = self.sentences if numbers is None else np.asarray(numbers)
        self.done = np.zeros(len(token_ids), bool)
        self.collected = {}

        # Positions of the cache, and as many tokens of the state (a few too many, but then they grow together).
        self.room = max(SMALLEST_ROOM, power_of_two(self.prefix + min(self.limit, SEGMENT_LENGTH)))
        if cache.self_attention:
            self.room = max(self.room, cache.self_attention[0][0].shape[2])
        cache = caches.grow(cache, self.room)
        if self.prefix:
            cache = executors.prefill(model, self.step, arrays.tensor(token_ids[:, :-1]), cache)
        rows = np.repeat(self.sentences, self.strategy.rows_per_sentence)
        self.cache = (
            cache if len(rows) == len(self.sentences) else caches.reorder(cache, arrays.tensor(rows.astype("int32")))
        )
        self.state = self.strategy.start(token_ids[:, -1], self.room)
        self.noise = self._noise()

    def _noise(self):
        return self.strategy.noise(self.seed, self.numbers[self.sentences], self.room)

    def run(self, max_steps):
        """Run up to `max_steps` steps; returns whether anything is left to do."""
        if self.prefix + self.position == self.room:
            self._make_room()
        # A segment must not run past the room: a compiled write beyond the end would land on the last position.
        max_steps = min(max_steps, self.room - self.prefix - self.position)
        self.state, self.cache = executors.run_segment(
            self.model, self.step, self.strategy, self.state, self.cache, self.limit, self.noise, max_steps
        )
        self.position = int(self.state.position)
        self.done = ops.convert_to_numpy(self.strategy.done(self.state))
        return self.position < self.limit and not self.done.all()

    def _make_room(self):
        old, self.room = self.room, power_of_two(self.room + 1)
        self.cache = caches.grow(self.cache, self.room)
        self.state = self.strategy.grow(self.state, self.room - old)
        self.noise = self._noise()

    def compact(self):
        """Take done sentences off the device, where that at least halves what it computes."""
        unfinished = np.flatnonzero(~self.done)
        size = power_of_two(len(unfinished))
        if 2 * size > len(self.sentences):
            return
        self._collect()
        # Up to the power of two, done sentences stay: they do not change any more.
        kept = np.concatenate((unfinished, np.flatnonzero(self.done)[: size - len(unfinished)])).astype("int32")
        per_sentence = self.strategy.rows_per_sentence
        rows = (kept[:, None] * per_sentence + np.arange(per_sentence, dtype="int32")).ravel()
        rows, places = arrays.tensor(rows), arrays.tensor(kept)
        self.cache = caches.select(self.cache, rows, places)
        self.state = self.strategy.select(self.state, rows, places)
        self.sentences = self.sentences[kept]
        self.noise = self._noise()

    def _collect(self):
        token_ids, scores = (None if x is None else ops.convert_to_numpy(x) for x in self.strategy.results(self.state))
        for place, sentence in enumerate(self.sentences):
            self.collected[sentence] = token_ids[place, :, : self.position], None if scores is None else scores[place]

    def newest(self):
        return ops.convert_to_numpy(self.state.token_ids)[:, 0].astype("int32")

    def generated(self):
        self._collect()
        results = [self.collected[sentence] for sentence in range(len(self.collected))]
        rows = [self._up_to_end(row) for token_ids, _ in results for row in token_ids]
        padded = np.full((len(rows), max(map(len, rows))), self.config.padding_id, "int32")
        for into, row in zip(padded, rows, strict=True):
            into[: len(row)] = row
        return Generated(padded, None if results[0][1] is None else np.concatenate([scores for _, scores in results]))

    def _up_to_end(self, row):
        ends = np.flatnonzero(np.isin(row, self.config.end_ids))
        return row[: ends[0] + 1] if len(ends) else row
