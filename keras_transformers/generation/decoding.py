"""From a prompt to generated tokens: prefill, the loop in segments, stop rules, streaming.

The model is one function, `step(token_ids int32 [R, T], cache) -> (logits [R, V] of the last position, cache)`, with a
cache as in `layers/cache.py`. Rows are hypotheses, `R = B * num_beams` (when sampling, `B * num_return_sequences`). The
rows of a sentence are adjacent, and share its cross-attention.

    prompt [B, T] ──► prefill all but its last token ──► rows repeated ──► segment ──► segment ──► …
                      one row a sentence                                └─ between segments: make room,
                                                                           drop finished sentences

Shapes have few sizes (`models/sizes.py`), so that few are compiled. Tokens read beyond the end of a prompt are
overwritten. The number of sentences shrinks to powers of two. Neither these sizes nor the length of a segment changes a
result.

Legend: `B` sentences, `R` rows, `T` prompt length, `V` vocabulary, `L` generated length.
"""

import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from keras import ops

from keras_transformers import memory
from keras_transformers.backends import arrays, execution
from keras_transformers.backends.types import Tensor
from keras_transformers.generation import executors, forced_words
from keras_transformers.generation.beam_search import BeamSearch
from keras_transformers.generation.forced_words import ForcedWords
from keras_transformers.generation.samplers import Sampling
from keras_transformers.generation.settings import NEW_TOKENS, GenerationConfig, penalties, samplers
from keras_transformers.layers import cache as caches
from keras_transformers.layers.cache import Cache
from keras_transformers.models import sizes

Prompts: typing.TypeAlias = np.ndarray | Sequence[Sequence[int]]
"""Ids of prompts, `[B, T]`: a NumPy array, or nested lists of one length."""
Numbers: typing.TypeAlias = np.ndarray | Sequence[int]
"""The number of the random stream of each prompt, `[B]`."""
StopRule: typing.TypeAlias = Callable[[int, np.ndarray], bool]
"""A function of the index of a prompt and its generated ids. It returns whether they contain a stop string."""
SEGMENT_LENGTH = 16
WATCHED_SEGMENT_LENGTH = 4  # with stop strings: tokens generated after one are wasted
# Initial room for new tokens if rows keep their places: more room costs little time, another compilation seconds.
ROOM_AHEAD = 128


class Generated(typing.NamedTuple):
    """The result of `generate`: NumPy arrays. The results of a sentence are adjacent, the best first.

    token_ids: int32 `[B * num_return_sequences, L]`: the generated tokens without the prompt, with the end token if
        there is one, then padding up to the longest.
    lengths: int `[B * num_return_sequences]`: the number of tokens before the padding.
    scores: float32 `[B * num_return_sequences]`: sum of log-probabilities / length ** length_penalty. None without a
        beam search and without `log_probabilities`.
    log_probabilities: float32 `[B * num_return_sequences, L]`: the log-probability of each token before any setting
        changed it; 0 after the end. None unless the settings ask for it.
    """

    token_ids: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray | None = None
    log_probabilities: np.ndarray | None = None

    @classmethod
    def joined(
        cls, parts: Sequence["Generated"], padding_id: int, groups: Sequence[np.ndarray] | None = None
    ) -> "Generated":
        """Join the results of several batches to one, in the order of the sentences.

        Args:
            parts: the `Generated` of each batch.
            padding_id: an int, the padding of shorter results.
            groups: the sentences of each batch, a list of int arrays; by default consecutive sentences.
        """

        def join(arrays: Iterable[np.ndarray], value: float) -> np.ndarray:
            longest = max(array.shape[1] for array in arrays)
            return np.concatenate(
                [np.pad(array, ((0, 0), (0, longest - array.shape[1])), constant_values=value) for array in arrays]
            )

        token_ids, lengths, scores, details = zip(*parts, strict=True)
        whole = cls(
            join(token_ids, padding_id),
            np.concatenate(lengths),
            None if scores[0] is None else np.concatenate(scores),
            None if details[0] is None else join(details, 0.0),
        )
        if groups is None:
            return whole
        sentences = np.concatenate(groups)
        count = len(whole.lengths) // len(sentences)
        return whole.select(np.argsort((sentences[:, None] * count + np.arange(count)).ravel()))

    def select(self, rows: np.ndarray | slice) -> "Generated":
        """The results of the given rows, a NumPy index."""
        return Generated._make(None if each is None else each[rows] for each in self)


@memory.advice("generate fewer rows at once, of fewer beams, or fewer new tokens.")
def generate(
    model: typing.Any,
    step: execution.Step,
    cache: Cache,
    token_ids: Prompts,
    config: GenerationConfig,
    *,
    vocabulary_size: int | None = None,
    longest: int | None = None,
    numbers: Numbers | None = None,
    stop_rule: StopRule | None = None,
    sources: np.ndarray | None = None,
    words: ForcedWords | None = None,
    segment_length: int = SEGMENT_LENGTH,
) -> Generated:
    """Continue each prompt until an end token or the limit.

    Args:
        model: the model of `step`: `model.variables` are its weights, and compiled functions are kept on it. None for a
            step without weights and compilation.
        step: `(token_ids int32 [R, T], cache) -> (logits [R, V] of the last position, cache)`, pure except for the
            buffers of the cache on PyTorch. Pass the same object in each call, such as a bound method: it is the key
            of compilations.
        cache: a `layers.cache.Cache` for B rows, with room for any number of positions. Tokens in it are the beginning
            of the prompts. It is overwritten: make a new one for the next call.
        token_ids: int `[B, T]`, NumPy array or nested list, the prompts, all of one length, T at least 1; for an
            encoder-decoder the start token. Shorter prompts are padded on the left, with `cache.starts`.
        config: a `GenerationConfig`.
        vocabulary_size: int or None; ids are checked against it.
        longest: int or None, the number of positions of the model, which limits the length of texts.
        numbers: int `[B]`, the number of the random stream of each prompt, independent of its batch; by default the
            index of the prompt.
        stop_rule: a function `(sentence, token_ids)` of the index of a prompt and the ids generated for one of its
            rows, int32 NumPy `[L]`. It returns whether the ids contain a stop string. Later ids are cut off.
        sources: int `[B, S]`, the ids that the encoder has read, -1 for padding, for settings that need them.
        words: for each prompt a list of forced words, each a list of ids: see `forced_words`. Only for beam search.
        segment_length: int, the number of steps of a loop between two checks by the host. No result depends on it.

    Returns: a `Generated`.

    Raises:
        ValueError: for prompts of another rank, dtype or length, or with ids out of range.

    Example:

    >>> config = GenerationConfig(num_beams=4, end_ids=(2,))
    >>> generated = generate(model, model.step, cache, [[start_id]] * batch_size, config)
    >>> generated.token_ids.shape, generated.scores.shape
    """
    token_ids = checked_prompts(token_ids, config, vocabulary_size)
    if len(token_ids) == 0:
        scored = config.num_beams > 1 or config.log_probabilities
        nothing = np.zeros((0, 0), "float32") if config.log_probabilities else None
        scores = np.zeros(0, "float32") if scored else None
        return Generated(np.zeros((0, 0), "int32"), np.zeros(0, int), scores, nothing)
    options = {"longest": longest, "numbers": numbers, "stop_rule": stop_rule, "sources": sources, "words": words}
    decoding = Decoding(model, step, cache, token_ids, config, **options)
    if stop_rule is not None:
        segment_length = min(segment_length, WATCHED_SEGMENT_LENGTH)
    elif len(token_ids) == 1:  # no sentence can be dropped before the end
        segment_length = decoding.limit
    while decoding.run(segment_length):
        decoding.compact()
    return decoding.generated()


def stream(
    model: typing.Any,
    step: execution.Step,
    cache: Cache,
    token_ids: Prompts,
    config: GenerationConfig,
    *,
    vocabulary_size: int | None = None,
    longest: int | None = None,
    sources: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Generate token by token: an iterator of int32 NumPy `[B]` (when sampling, `[B * num_return_sequences]`), the
    newest token of each row, padding after its end. Takes arguments of `generate`.

    Raises:
        ValueError: as `generate` (immediately, not at the first token), and for more than one beam: the winning
            hypothesis is known only at the end of the search.
    """
    check_streaming(config)
    token_ids = checked_prompts(token_ids, config, vocabulary_size)
    if len(token_ids) == 0:
        return iter(())
    return Decoding(model, step, cache, token_ids, config, longest=longest, sources=sources).stream()


def check_streaming(config: GenerationConfig) -> None:
    """Refuse to stream a beam search."""
    if config.num_beams > 1:
        raise ValueError(
            f"Expected num_beams=1 to stream tokens, got num_beams={config.num_beams}. "
            "Stream greedily or sampling, or use generate."
        )


def strategy_of(config: GenerationConfig, prompt_counts: bool = True) -> BeamSearch | Sampling:
    """The strategy that the settings ask for. `prompt_counts`: as for `BeamSearch`."""
    if config.num_beams > 1:
        return BeamSearch(
            config.num_beams,
            config.end_ids,
            config.padding_id,
            float(config.length_penalty),
            config.early_stopping,
            config.num_return_sequences,
            penalties(config),
            config.renormalize_logits,
            prompt_counts,
        )
    return Sampling(
        config.end_ids,
        config.padding_id,
        samplers(config) if config.do_sample else None,
        config.num_return_sequences,
        penalties(config),
        config.log_probabilities,
    )


def _buffer(prompts: np.ndarray, length: int, padding_id: int, keep: bool) -> tuple[np.ndarray, int]:
    """A buffer for tokens, int32 NumPy `[B, length]`, which begins with the prompts if `keep`; and the place of the
    first generated token."""
    begin = prompts.shape[1] if keep else 0
    written = np.full((len(prompts), length), padding_id, "int32")
    written[:, :begin] = prompts[:, :begin]
    return written, begin


class Decoding:
    """The decoding of one batch: the state on the device, and the bookkeeping of the host.

    Attributes:
        cache: the current `Cache`. It holds all tokens except the newest of each row.
        limit: int, the most steps that any row may take.
    """

    @executors.without_gradients
    def __init__(
        self,
        model: typing.Any,
        step: execution.Step,
        cache: Cache,
        token_ids: np.ndarray,
        config: GenerationConfig,
        *,
        longest: int | None = None,
        numbers: Numbers | None = None,
        stop_rule: StopRule | None = None,
        sources: np.ndarray | None = None,
        words: ForcedWords | None = None,
    ) -> None:
        self.model, self.step, self.config, self.stop_rule = model, executors.fast_step(step), config, stop_rule
        # The prompt of a decoder is a text by itself, in which forced words do not count.
        self.strategy: typing.Any = strategy_of(config, words is None or sources is not None)
        self.prefix = token_ids.shape[1] - 1  # positions that the cache holds before the first step
        self.longest = longest
        self.limits = self._limits(token_ids, cache)
        # A beam search knows one limit. Other rows that are to stop sooner go on with the rest, and are cut.
        self.limit = int(self.limits.min() if config.num_beams > 1 else self.limits.max())
        self.position = 0
        self.seed = np.random.randint(2**31) if config.seed is None else config.seed
        self.sentences = np.arange(len(token_ids))  # the sentences of the batch that are still on the device
        self.numbers = self.sentences if numbers is None else np.asarray(numbers)
        self.done = np.zeros(len(token_ids), bool)
        self.collected: dict[int, tuple] = {}

        # Positions of the cache, and as many tokens of the state (perhaps too many, but then they grow together).
        ahead = SEGMENT_LENGTH if self.strategy.reorders else ROOM_AHEAD
        self.room = sizes.room_for(self.prefix + min(self.limit, ahead))
        self.room = max(self.room, caches.room(cache))
        cache, unread = self._read(token_ids, cache)
        rows = np.repeat(self.sentences, self.strategy.rows_per_sentence)
        self.cache = (
            cache if len(rows) == len(self.sentences) else caches.reorder(cache, arrays.tensor(rows.astype("int32")))
        )
        # One place more than the cache, for the newest token: nothing is computed from it yet.
        read = checked_sources(sources, config, len(token_ids))
        forced = {} if words is None else {"words": self._checked_words(words)}
        keep = bool(self.strategy.penalties or forced)
        written, begin = _buffer(without_padding(token_ids, cache), self.room + 1, config.padding_id, keep)
        self.state = self.strategy.start(unread, written, begin, read, **forced)
        self.noise = self._noise()

    def _checked_words(self, words: ForcedWords) -> np.ndarray:
        if self.config.num_beams == 1:
            raise ValueError("Expected num_beams of 2 or more for words that have to occur, got num_beams=1.")
        array = forced_words.packed(words)
        wanted = int((array >= 0).sum(axis=(1, 2)).max()) + 1 + (self.config.forced_start_id is not None)
        if wanted > self.limit:
            raise ValueError(
                f"Expected room for the words that have to occur, {wanted} tokens with those around them, got a "
                f"limit of {self.limit}. Raise max_new_tokens, or ask for fewer words."
            )
        return array

    def _limits(self, token_ids: np.ndarray, cache: Cache) -> np.ndarray:
        """The most new tokens of each sentence: int `[B]`."""
        lengths = np.full(len(token_ids), token_ids.shape[1])
        if cache.starts is not None:
            lengths = lengths - ops.convert_to_numpy(cache.starts)[:, 0]
        return limits(self.config, lengths, self.longest)

    def _read(self, token_ids: np.ndarray, cache: Cache) -> tuple[Cache, np.ndarray]:
        """The cache with all its room and with the prompts, and the tokens for the first step: at least the last of
        each prompt."""
        written = int(cache.offset)
        unread = token_ids[:, written:]
        count = unread.shape[1] - 1
        if count == 0 or (execution.SHAPES_MAY_VARY and self.strategy.rows_per_sentence == 1):
            return caches.grow(cache, self.room), unread
        read, pieces, room = unread[:, :-1], [count], self.room
        if not execution.SHAPES_MAY_VARY:
            spare = min(self.room, self.longest or self.room) - written - count
            pieces, room = sizes.pieces_to_read(count, spare, caches.reach(cache)), sizes.ROOM_TO_READ
            read = np.pad(read, ((0, 0), (0, sum(pieces) - count)))
        for part in np.split(read, np.cumsum(pieces)[:-1], axis=1):
            written += part.shape[1]
            room = max(room, sizes.power_of_two(written))
            cache = caches.grow(cache, min(room, self.room))
            cache = executors.prefill(self.model, self.step, arrays.tensor(part), cache)
        return caches.trim(caches.grow(cache, self.room), arrays.scalar(self.prefix)), unread[:, -1:]

    def _noise(self) -> Tensor:
        return self.strategy.noise(self.seed, self.numbers[self.sentences], self.room)

    @executors.without_gradients
    def run(self, max_steps: int) -> bool:
        """Run up to `max_steps` steps. Returns whether any sentence is unfinished."""
        if self.prefix + self.position == self.room:
            self._make_room()
        # A segment must not run past the room: a compiled write beyond the end would land on the last position.
        max_steps = min(max_steps, self.room - self.prefix - self.position)
        self.state, self.cache = executors.run_segment(
            self.model, self.step, self.strategy, self.state, self.cache, self.limit, self.noise, max_steps
        )
        return self._goes_on()

    def _goes_on(self) -> bool:
        """Update the bookkeeping of the host after some steps. Returns whether any sentence is unfinished."""
        self.position = int(self.state.position)
        done = ops.convert_to_numpy(self.strategy.done(self.state)) | (self.position >= self.limits[self.sentences])
        self.done = done if self.stop_rule is None else done | self._stopped(done, self.stop_rule)
        return self.position < self.limit and not self.done.all()

    @executors.without_gradients
    def run_ahead(self, score: execution.Step, guesses: list[int]) -> bool:
        """Run one text with speculative decoding: a step for each correct guess, and one more.

        Args:
            score: a function like `step`, but with the logits after every token, `[R, T, V]`.
            guesses: token ids, a list.
        """
        while self.prefix + self.position + len(guesses) >= self.room:
            self._make_room()
        self.state, self.cache = executors.run_ahead(
            self.model, score, self.strategy, self.state, self.cache, guesses, self.limit, self.noise
        )
        return self._goes_on()

    def has_positions_for(self, count: int) -> bool:
        """Whether the model has positions for `count` more tokens."""
        return self.longest is None or self.prefix + self.position + count <= self.longest

    def token_ids(self, begin: int = 0) -> list[int]:
        """The ids generated so far, from place `begin` on, for a batch of one row: a list."""
        return self._results()[0][0, 0, begin:].tolist()

    def _stopped(self, done: np.ndarray, stop_rule: StopRule) -> np.ndarray:
        """The sentences whose rows all contain a stop string, bool `[B]`. Skips sentences that are `done`."""
        token_ids = self._results()[0]
        stopped = np.zeros(len(done), bool)
        for place in np.flatnonzero(~done):
            sentence = self.sentences[place]
            stopped[place] = all(stop_rule(sentence, self._up_to_end(row)) for row in token_ids[place])
        return stopped

    def _make_room(self) -> None:
        old, self.room = self.room, sizes.power_of_two(self.room + 1)
        self.cache = caches.grow(self.cache, self.room)
        self.state = self.strategy.grow(self.state, self.room - old)
        self.noise = self._noise()

    @executors.without_gradients
    def compact(self) -> None:
        """Drop finished sentences from the device, if that at least halves its work."""
        unfinished = np.flatnonzero(~self.done)
        size = sizes.power_of_two(len(unfinished))
        if 2 * size > len(self.sentences):
            return
        self._collect()
        # Finished sentences fill up the power of two: their further tokens are ignored.
        kept = np.concatenate((unfinished, np.flatnonzero(self.done)[: size - len(unfinished)])).astype("int32")
        per_sentence = self.strategy.rows_per_sentence
        rows = (kept[:, None] * per_sentence + np.arange(per_sentence, dtype="int32")).ravel()
        rows, places = arrays.tensor(rows), arrays.tensor(kept)
        self.cache = caches.select(self.cache, rows, places)
        self.state = self.strategy.select(self.state, rows, places)
        self.sentences = self.sentences[kept]
        self.noise = self._noise()

    def _results(self) -> tuple[typing.Any, ...]:
        """The results of the strategy so far: ids `[B, n, L]`, scores and log-probabilities."""
        token_ids, *others = self.strategy.results(self.state)
        begin = int(self.state.begin)
        written = ops.convert_to_numpy(token_ids)[:, :, begin : begin + self.position]
        return written, *(None if each is None else ops.convert_to_numpy(each) for each in others)

    def _collect(self) -> None:
        token_ids, scores, log_probabilities = self._results()
        for place, sentence in enumerate(self.sentences.tolist()):
            rows = [self._cut(sentence, row[: self.limits[sentence]]) for row in token_ids[place]]
            details = None if log_probabilities is None else log_probabilities[place]
            self.collected[sentence] = rows, None if scores is None else scores[place], details

    def stream(self, max_steps: int = 1, advance: Callable[[], bool] | None = None) -> Iterator[np.ndarray]:
        """Stream the tokens of each row: int32 NumPy `[R]`, one array for each step.

        Args:
            max_steps: the number of steps between two checks by the host.
            advance: a function that takes some steps, in place of `run(max_steps)`.
        """
        running = True
        while running:
            before = self.position
            running = self.run(max_steps) if advance is None else advance()
            new = self._results()[0][:, :, before:]
            yield from new.reshape(-1, new.shape[-1]).T

    def generated(self) -> Generated:
        self._collect()
        results = [self.collected[sentence] for sentence in range(len(self.collected))]
        rows = [row for rows, _, _ in results for row in rows]
        lengths = np.array(list(map(len, rows)))
        padded = np.full((len(rows), lengths.max()), self.config.padding_id, "int32")
        for into, row in zip(padded, rows, strict=True):
            into[: len(row)] = row
        scores = None if results[0][1] is None else np.concatenate([scores for _, scores, _ in results])
        if results[0][2] is None:
            return Generated(padded, lengths, scores)
        details = np.zeros(padded.shape, "float32")
        for into, length, row in zip(details, lengths, (row for each in results for row in each[2]), strict=True):
            into[:length] = row[:length]
        scores = details.sum(axis=1) / (lengths**self.config.length_penalty).astype("float32")
        return Generated(padded, lengths, scores, details)

    def _up_to_end(self, row: np.ndarray) -> np.ndarray:
        ends = np.flatnonzero(np.isin(row, self.config.end_ids))
        return row[: ends[0] + 1] if len(ends) else row

    def _cut(self, sentence: int, row: np.ndarray) -> np.ndarray:
        """Cut a row at its end token, or at its first stop string."""
        row = self._up_to_end(row)
        if self.stop_rule is not None and self.stop_rule(sentence, row):
            while self.stop_rule(sentence, row[:-1]):
                row = row[:-1]
        return row


# Prompts


def checked_prompts(token_ids: Prompts, config: GenerationConfig, vocabulary_size: int | None) -> np.ndarray:
    """Prompts as an int32 array `[B, T]`. Refuses ids outside of the vocabulary, in prompts and in the config."""
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
    return prompts.astype("int32")


def limits(config: GenerationConfig, lengths: np.ndarray, longest: int | None = None) -> np.ndarray:
    """The most new tokens for prompts of these lengths, int NumPy `[B]`: int `[B]`.

    Raises:
        ValueError: for a prompt that leaves no room.
    """
    most, new = config.max_length, config.max_new_tokens
    if longest is not None and lengths.max() > longest:
        raise ValueError(
            f"Expected prompts of at most {longest} tokens, the longest this model has positions for, got "
            f"{lengths.max()}. Leave out the beginning, or ask for less."
        )
    if new is None and most is not None and lengths.max() >= most:
        raise ValueError(
            f"Expected prompts shorter than max_length={most}, got {lengths.max()} tokens. "
            "Raise max_length, or set max_new_tokens."
        )
    if new is None and most is not None:
        allowed = most - lengths
    else:
        allowed = np.full(len(lengths), NEW_TOKENS if new is None else new)
    # The last token needs no position, since nothing is computed from it.
    return allowed if longest is None else np.minimum(allowed, longest + 1 - lengths)


def without_padding(token_ids: np.ndarray, cache: Cache) -> np.ndarray:
    """Prompts with -1 in place of their padding."""
    if cache.starts is None:
        return token_ids
    places = np.arange(token_ids.shape[1])
    return np.where(places < ops.convert_to_numpy(cache.starts), -1, token_ids).astype("int32")


def checked_sources(sources: np.ndarray | None, config: GenerationConfig, rows: int) -> np.ndarray:
    """The ids that the encoder has read, int32 NumPy `[B, S]`, or `[B, 0]` if no setting needs them.

    Raises:
        ValueError: if a setting needs the ids and they are missing.
    """
    if not config.encoder_no_repeat_ngram_size:
        return np.zeros((rows, 0), "int32")
    if sources is None:
        raise ValueError(
            "Expected sources for encoder_no_repeat_ngram_size, got none: a decoder alone reads no source. Set it to 0."
        )
    return np.asarray(sources, "int32")


def alike(numbers: np.ndarray | Sequence[int]) -> list[np.ndarray]:
    """The indices of equal numbers, an int array for each number."""
    numbers = np.asarray(numbers)
    return [np.flatnonzero(numbers == each) for each in np.unique(numbers)]
