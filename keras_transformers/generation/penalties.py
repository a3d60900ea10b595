"""Penalties make a token less likely, impossible or certain, depending on the tokens before it: repetitions, bad words,
an early end, a forced beginning.

Penalties are records with one pure method, `(logits [R, V], history) -> logits [R, V]`, applied in turn before any
sampler:

    for penalty in (RepetitionPenalty(1.2), NoRepeatNgram(3)):
        logits = penalty(logits, history)

A beam search passes log-probabilities instead of logits, as transformers does. Ruled-out tokens become `-inf`.

Legend: `R` rows, `S` places of a text, `V` vocabulary, `W` words.
"""

import functools
import typing
from collections.abc import Callable, Iterable

import numpy as np
from keras import ops

from keras_transformers.backends import arrays
from keras_transformers.backends.types import Tensor
from keras_transformers.records import Count, Positive, Size, record


class History(typing.NamedTuple):
    """The tokens before the next token of each row.

    token_ids: int32 `[R, S]`, the prompt and the generated tokens; -1 in empty places.
    begin: the place of the first generated token, an int scalar.
    end: the place of the next token.
    limit: the most tokens to generate, an int scalar.
    sources: int32 `[R, S']`, the tokens that the encoder has read, -1 for padding; None if no penalty needs them.
    """

    token_ids: typing.Any
    begin: typing.Any
    end: typing.Any
    limit: typing.Any = None
    sources: typing.Any = None

    @classmethod
    def of(
        cls, token_ids: Tensor, begin: Tensor, end: Tensor, limit: Tensor = None, sources: Tensor = None
    ) -> typing.Self:
        """The history in a buffer `[R, S]` whose first `end` places are written."""
        return cls(arrays.until(token_ids, end), begin, end, limit, sources)

    def counts(self, vocabulary_size: int, generated: bool) -> Tensor:
        """How often each token occurs, float32 `[R, V]`; with `generated`, only among the generated tokens."""
        token_ids = arrays.since(self.token_ids, self.begin) if generated else self.token_ids
        return arrays.counts(token_ids, vocabulary_size)

    def last(self, count: int) -> Tensor:
        """The last tokens, int32 `[R, count]`; -1 in front if there are fewer."""
        return arrays.last(self.token_ids, self.end, count)


@functools.lru_cache(maxsize=32)
def _named(token_ids: tuple[int, ...], size: int) -> np.ndarray:
    """A mask of a few token ids, bool NumPy `[1, size]`, cached for all steps."""
    named = np.zeros((1, size), bool)
    named[:, token_ids] = True
    return named


def _never(logits: Tensor, token_ids: tuple[int, ...]) -> Tensor:
    """Logits with a few tokens, Python ints, ruled out."""
    named = arrays.constant(_named(tuple(token_ids), logits.shape[-1]), like=logits)
    return arrays.where(named, float("-inf"), logits)


def _only(logits: Tensor, token_ids: tuple[int, ...]) -> Tensor:
    """Logits with all tokens ruled out except a few, Python ints, which become 0. A single one is then certain."""
    named = arrays.constant(_named(tuple(token_ids), logits.shape[-1]), like=logits)
    return arrays.where(named, ops.zeros_like(logits), float("-inf"))


def _without_ngrams(logits: Tensor, texts: Tensor, size: int, history: History) -> Tensor:
    """Logits without the tokens that would complete an n-gram of `size` tokens found in `texts [R, S]`. -1 belongs to
    no n-gram."""
    before = size - 1
    places = ops.shape(texts)[1] - before
    if not isinstance(places, int):
        places = ops.maximum(places, 0)
    elif places < 1:
        return logits
    following = texts[:, before:]
    repeats, last = following >= 0, history.last(before)
    for n in range(before):
        repeats = repeats & (texts[:, n : n + places] == last[:, n : n + 1])
    return arrays.without(logits, arrays.where(repeats, following, -1))


@record
class RepetitionPenalty:
    """Divides the positive logits of all tokens in the text, prompt included, and multiplies the negative ones (Keskar
    et al. 2019, arXiv:1909.05858, section 4.1).

    Raises:
        ValueError: for a penalty that is not above 0.
    """

    penalty: Positive

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        seen = history.counts(logits.shape[-1], generated=False) > 0
        return arrays.where(seen, arrays.where(logits < 0, logits * self.penalty, logits / self.penalty), logits)


@record
class CountPenalty:
    """Subtracts from the logits of generated tokens, as in the OpenAI API: `presence` once, and `frequency` for each
    occurrence of the token."""

    presence: float = 0.0
    frequency: float = 0.0

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        counts = history.counts(logits.shape[-1], generated=True)
        if self.presence:
            logits = logits - self.presence * arrays.float32(counts > 0)
        return logits - self.frequency * counts if self.frequency else logits


@record
class NoRepeatNgram:
    """Rules out each token that would repeat an n-gram of `size` tokens of the text (Paulus et al. 2018,
    arXiv:1705.04304, section 2.5); with `of_source`, an n-gram of the source, for paraphrases and summaries in other
    words. The end token of a source counts, its padding does not.

    Raises:
        ValueError: for a size that is not an int of at least 1.
    """

    size: Size
    of_source: bool = False

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        texts = history.sources if self.of_source else history.token_ids
        return _without_ngrams(logits, texts, self.size, history)


@record
class BadWords:
    """Rules out words: the last token of each word if its other tokens come before.

    Args:
        words: a tuple of tuples of token ids.

    Raises:
        ValueError: for words that are not tuples of ids.
    """

    words: tuple[tuple[Count, ...], ...]

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        logits = _never(logits, tuple(word[0] for word in self.words if len(word) == 1))
        words = [word for word in self.words if len(word) > 1]
        if not words:
            return logits
        before = max(map(len, words)) - 1
        wanted = np.full((len(words), before), -1, "int32")
        for row, word in zip(wanted, words, strict=True):
            row[before - len(word) + 1 :] = word[:-1]
        wanted_1WS = arrays.constant(wanted[None], like=history.token_ids)
        there_RW = arrays.all_((wanted_1WS < 0) | (wanted_1WS == history.last(before)[:, None]))
        final_1W = arrays.constant(np.array([[word[-1] for word in words]], "int32"), like=history.token_ids)
        return arrays.without(logits, arrays.where(there_RW, final_1W, -1))


@record
class Suppressed:
    """Rules out some tokens, always or until some tokens were generated.

    Args:
        token_ids: tuple of ints. End tokens with `until` set a minimum length.
        until: the number of tokens after which all tokens are allowed; None for never.
        with_prompt: whether the tokens of the prompt count towards `until`.
        after_forced: whether a first token from `Forced` does not count towards `until=1`.

    Raises:
        ValueError: for values that are not token ids, and for `until` below 0.
    """

    token_ids: tuple[Count, ...]
    until: Count | None = None
    with_prompt: bool = False
    after_forced: bool = False

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        if self.until is None:
            return _never(logits, self.token_ids)
        now = (history.end if self.with_prompt else history.end - history.begin) < self.until
        if self.after_forced:  # after a prompt of one token, the second token is the first free one
            now = (now & (history.begin != 1)) | ((history.begin == 1) & (history.end == 2))
        return arrays.when(now, lambda: _never(logits, self.token_ids), logits)


@record
class Forced:
    """Makes one of the given tokens certain: the first token after a prompt of one token, such as the target language
    of many translators; with `at_end`, the last token that the limit allows.

    Raises:
        ValueError: for values that are not token ids.
    """

    token_ids: tuple[Count, ...]
    at_end: bool = False

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        now = history.end - history.begin == history.limit - 1 if self.at_end else history.end == 1
        return arrays.when(now, lambda: _only(logits, self.token_ids), logits)


def penalized(penalties: Iterable[Callable[[Tensor, History], Tensor]], logits: Tensor, history: History) -> Tensor:
    """Logits after all penalties, in float32."""
    logits = arrays.float32(logits)
    for penalty in penalties:
        logits = penalty(logits, history)
    return logits
