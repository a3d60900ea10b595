"""Greedy search and sampling: the next token of a row is the likeliest one, or is drawn after samplers ruled some out.

Samplers are records with one pure method, `logits [R, V] -> logits [R, V]`, applied in turn. Ruled-out tokens become
`-inf`:

    for sampler in (Temperature(0.7), TopK(50), TopP(0.95)):
        logits = sampler(logits)

`Sampling` is the whole strategy for `decoding`, with the state of its loop.

Legend: `B` sentences, `R` rows (`B` times the sequences returned for each), `V` vocabulary, `L` room for generated
tokens.
"""

import typing
from collections.abc import Iterable

import numpy as np
from keras import ops

from keras_transformers.backends import arrays
from keras_transformers.backends.types import Tensor
from keras_transformers.generation.penalties import History, penalized
from keras_transformers.records import record


def _ruled_out(keep: Tensor, logits: Tensor) -> Tensor:
    return ops.where(keep, logits, float("-inf"))


@record
class Temperature:
    """Divides logits by `temperature`: below 1 sharpens the distribution, above 1 flattens it.

    Raises:
        ValueError: for a temperature that is not above 0.
    """

    temperature: float

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(
                f"Expected temperature > 0, got {self.temperature!r}. "
                "For the likeliest token each time, use do_sample=False."
            )

    def __call__(self, logits: Tensor) -> Tensor:
        return logits / self.temperature


@record
class TopK:
    """Keeps the `k` likeliest tokens, and all tokens as likely as the last of them (Fan et al. 2018, arXiv:1805.04833).

    Raises:
        ValueError: for a `k` that is not an int of at least 1.
    """

    k: int

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or self.k < 1:
            raise ValueError(
                f"Expected top_k to be an int of at least 1, got {self.k!r}. Leave it at None to keep all tokens."
            )

    def __call__(self, logits: Tensor) -> Tensor:
        kept, _ = ops.top_k(logits, min(self.k, logits.shape[-1]))
        # Take the minimum, not the last column: XLA turns a slice into a sort of the whole vocabulary.
        return _ruled_out(logits >= ops.min(kept, axis=-1, keepdims=True), logits)


@record
class TopP:
    """Keeps the fewest likeliest tokens whose probabilities add up to `p` or more (nucleus sampling, Holtzman et al.
    2020, arXiv:1904.09751).

    Tokens as likely as the last one kept, to within 1e-9, are kept too.

    Raises:
        ValueError: for a `p` outside (0, 1].
    """

    p: float

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ValueError(f"Expected top_p in (0, 1], got {self.p!r}. Leave it at None to keep all tokens.")

    def __call__(self, logits: Tensor) -> Tensor:
        if self.p == 1:
            return logits
        probabilities = ops.softmax(logits, axis=-1)

        # Find the largest threshold that keeps enough, by bisection: sorting a vocabulary takes ten times as long.
        def halve(_: Tensor, bounds: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            low, high = bounds
            middle = (low + high) / 2
            kept = ops.sum(ops.where(probabilities >= middle, probabilities, 0.0), axis=-1, keepdims=True)
            enough = kept >= self.p
            return ops.where(enough, middle, low), ops.where(enough, high, middle)

        highest = ops.max(probabilities, axis=-1, keepdims=True)
        low, _ = ops.fori_loop(0, 30, halve, (ops.zeros_like(highest), highest))
        return _ruled_out(probabilities >= low, logits)


@record
class MinP:
    """Keeps the tokens at least `p` times as likely as the likeliest one (Nguyen et al. 2024, arXiv:2407.01082).

    Raises:
        ValueError: for a `p` outside (0, 1].
    """

    p: float

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise ValueError(f"Expected min_p in (0, 1], got {self.p!r}. Leave it at None to keep all tokens.")

    def __call__(self, logits: Tensor) -> Tensor:
        return _ruled_out(logits >= ops.max(logits, axis=-1, keepdims=True) + float(np.log(self.p)), logits)


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw one token for each row with probabilities `softmax(logits)`.

    Args:
        logits: float `[R, V]`; `-inf` is never drawn.
        uniform: float32 `[R, 1]` in [0, 1), a random number for each row. Given the number, the draw is a pure
            function: the same on every backend, and independent of other rows.

    Returns: int32 `[R]`.
    """
    probabilities = ops.softmax(logits, axis=-1)
    cumulative = ops.cumsum(probabilities, axis=-1)
    # Float sums may differ in the last bit, so tokens with probability 0 must be excluded explicitly.
    reached = (cumulative > uniform * cumulative[:, -1:]) & (probabilities > 0)
    first = arrays.first(reached)
    return arrays.int32(ops.where(first < logits.shape[-1], first, arrays.argmax(probabilities)))


def uniforms(seed: int, rows: Iterable[int], length: int) -> np.ndarray:
    """Random numbers for each row: float32 NumPy `[R, length]`. Those of row `r` depend only on `seed` and `r`, and a
    longer row begins like a shorter one."""
    return np.stack([np.random.Generator(np.random.Philox([seed, row])).random(length, "float32") for row in rows])


class SamplingState(typing.NamedTuple):
    """The state of the loop. `position` counts the tokens generated so far."""

    position: typing.Any  # int32 scalar, a Python int on PyTorch
    begin: typing.Any  # likewise: where the generated tokens begin in `written`, after the prompt if it is kept
    token_ids: typing.Any  # int32 [R, 1]: the newest tokens; before the first step the unread tokens of the prompt
    written: typing.Any  # int32 [R, L]
    finished: typing.Any  # bool [R]
    log_probabilities: typing.Any  # float32 [R, L], or [R, 0] if not asked for
    sources: typing.Any  # int32 [R, S], ids that the encoder has read, -1 for padding; [R, 0] if no penalty needs them


@record
class Sampling:
    """Continues each row independently until an end token: by greedy search if `samplers` is None, else by sampling.

    Args:
        end_ids: tuple of ints, the tokens that end a row.
        padding_id: int, the token after the end.
        samplers: None, or a tuple of records such as `Temperature`; it may be empty.
        num_return_sequences: int, the number of rows of a sentence.
        penalties: a tuple of records such as `RepetitionPenalty`, applied first.
        scored: whether to keep the log-probabilities of tokens, before penalties and samplers change them.
    """

    end_ids: tuple
    padding_id: int
    samplers: tuple | None = None
    num_return_sequences: int = 1
    penalties: tuple = ()
    scored: bool = False

    reorders = False  # rows keep their places

    @property
    def rows_per_sentence(self) -> int:
        return self.num_return_sequences

    def start(self, token_ids: np.ndarray, written: np.ndarray, begin: int, sources: np.ndarray) -> SamplingState:
        """The state before the first token.

        Args:
            token_ids: int32 NumPy `[B, T']`, the unread tokens of the prompts.
            written: int32 NumPy `[B, L]`, the buffer for tokens.
            begin: int, the place of the first generated token in the buffer. With penalties, the prompts are before it.
            sources: int32 NumPy `[B, S]`, ids that the encoder has read, -1 for padding; `[B, 0]` if no penalty needs
                them.
        """
        per_row = (token_ids, written, sources)
        token_ids, written, sources = (np.repeat(each, self.rows_per_sentence, axis=0) for each in per_row)
        rows = len(token_ids)
        return SamplingState(
            position=arrays.scalar(0),
            begin=arrays.scalar(begin),
            token_ids=arrays.tensor(token_ids),
            written=arrays.tensor(written),
            finished=arrays.tensor(np.zeros(rows, bool)),
            log_probabilities=arrays.tensor(np.zeros((rows, written.shape[1] if self.scored else 0), "float32")),
            sources=arrays.tensor(sources),
        )

    def noise(self, seed: int, sentences: np.ndarray, length: int) -> Tensor:
        """The random numbers for the given sentences (by their number in the batch): float32 `[R, length]`, or None
        for greedy search."""
        if self.samplers is None:
            return None
        rows = (np.asarray(sentences)[:, None] * self.rows_per_sentence + np.arange(self.rows_per_sentence)).ravel()
        return arrays.tensor(uniforms(seed, rows, length))

    def advance(self, state: SamplingState, logits: Tensor, limit: Tensor, noise: Tensor) -> tuple[SamplingState, None]:
        """The state with one more token in each row, and None, since rows keep their places. `logits` is `[R, V]`. Only
        penalties use `limit`: the loop counts tokens itself."""
        found, end = logits, state.begin + state.position
        if self.penalties:
            history = History.of(state.written, state.begin, end, limit, state.sources)
            logits = penalized(self.penalties, logits, history)
        if self.samplers is None:
            chosen = arrays.argmax(logits)
        else:
            logits = arrays.float32(logits)
            for sampler in self.samplers:
                logits = sampler(logits)
            chosen = draw(logits, arrays.column(noise, state.position))
        log_probabilities = state.log_probabilities
        if self.scored:
            found = arrays.float32(found)
            values = arrays.pick(found, chosen) - arrays.log_normalizer(found)[:, 0]
            log_probabilities = arrays.put(log_probabilities, state.position, values)
        chosen = arrays.int32(arrays.where(state.finished, self.padding_id, chosen))
        state = SamplingState(
            position=state.position + 1,
            begin=state.begin,
            token_ids=chosen[:, None],
            written=arrays.put(state.written, end, chosen),
            finished=state.finished | arrays.one_of(chosen, self.end_ids),
            log_probabilities=log_probabilities,
            sources=state.sources,
        )
        return state, None

    def done(self, state: SamplingState) -> Tensor:
        """bool `[B]`: the sentences that cannot change any more."""
        return arrays.all_(arrays.reshape(state.finished, (-1, self.rows_per_sentence)))

    def grow(self, state: SamplingState, missing: int) -> SamplingState:
        """The state with room for `missing` more tokens."""
        padding = ((0, 0), (0, missing))
        state = state._replace(written=ops.pad(state.written, padding, constant_values=self.padding_id))
        return state._replace(log_probabilities=ops.pad(state.log_probabilities, padding)) if self.scored else state

    def select(self, state: SamplingState, rows: Tensor, sentences: Tensor) -> SamplingState:
        """The state of fewer sentences."""
        return SamplingState(*state[:2], *(arrays.take(field, rows) for field in state[2:]))

    def results(self, state: SamplingState) -> tuple[Tensor, None, Tensor]:
        """The written tokens, int32 `[B, num_return_sequences, L]`; no scores; and float32 log-probabilities of the
        same shape, or None."""

        def split(x: Tensor) -> Tensor:
            return arrays.reshape(x, (-1, self.rows_per_sentence, ops.shape(x)[1]))

        return split(state.written), None, split(state.log_probabilities) if self.scored else None
