"""Making tokens less likely, or certain, for what stands before them: repetitions, words that are not wanted, an end
that comes too soon, a beginning that is given.

Penalties are records with one pure method, `(logits [R, V], history) -> logits [R, V]`, applied one after the other,
before any sampler:

    for penalty in (RepetitionPenalty(1.2), NoRepeatNgram(3)):
        logits = penalty(logits, history)

A beam search gives them log-probabilities, as transformers does. What they rule out becomes `-inf`.

Legend: `R` rows, `S` places of a text, `V` vocabulary, `W` words.
"""

import functools
import typing

import numpy as np
from keras import ops

from keras_transformers.generation import arrays
from keras_transformers.records import record


class History(typing.NamedTuple):
    """What stands before the next token of each row.

    token_ids: int32 `[R, S]`, the prompt and what was generated; -1 where there is nothing.
    begin: where that which was generated begins, an int scalar.
    end: where it ends.
    limit: how many tokens may be generated, an int scalar.
    sources: int32 `[R, S']`, what the encoder has read; -1 is padding. None where no penalty asks for it.
    """

    token_ids: typing.Any
    begin: typing.Any
    end: typing.Any
    limit: typing.Any = None
    sources: typing.Any = None

    @classmethod
    def of(cls, token_ids, begin, end, limit=None, sources=None):
        """The history in a buffer `[R, S]`, of which `end` places are written."""
        return cls(arrays.until(token_ids, end), begin, end, limit, sources)

    def counts(self, vocabulary_size, generated):
        """How often each token has come, float32 `[R, V]`; with `generated` in what was generated alone."""
        token_ids = arrays.since(self.token_ids, self.begin) if generated else self.token_ids
        return arrays.counts(token_ids, vocabulary_size)

    def last(self, count):
        """The last tokens, int32 `[R, count]`; -1 where there are fewer."""
        return arrays.last(self.token_ids, self.end, count)


@functools.lru_cache(maxsize=32)
def _named(token_ids, size):
    """Which of `size` tokens are among a few, bool NumPy `[1, size]`: the same for each token that is generated."""
    named = np.zeros((1, size), bool)
    named[:, token_ids] = True
    return named


def _never(logits, token_ids):
    """Logits without a few tokens, Python ints."""
    named = arrays.constant(_named(tuple(token_ids), logits.shape[-1]), like=logits)
    return arrays.where(named, float("-inf"), logits)


def _only(logits, token_ids):
    """Logits of which a few tokens, Python ints, are left: 0, certain where it is one."""
    named = arrays.constant(_named(tuple(token_ids), logits.shape[-1]), like=logits)
    return arrays.where(named, ops.zeros_like(logits), float("-inf"))


def _without_ngrams(logits, texts, size, history):
    """Logits without the tokens that would end a row of `size` tokens that `texts [R, S]` hold; -1 is in none."""
    before = size - 1
    places = texts.shape[1] - before
    if places < 1:
        return logits
    following = texts[:, before:]
    repeats, last = following >= 0, history.last(before)
    for n in range(before):
        repeats = repeats & (texts[:, n : n + places] == last[:, n : n + 1])
    return arrays.without(logits, arrays.where(repeats, following, -1))


def check_ids(name, token_ids):
    """Refuse a setting that is no tuple of ids.

    Raises:
        ValueError: naming the setting.
    """
    if not all(type(i) is int and i >= 0 for i in token_ids):
        raise ValueError(f"Expected {name} to be token ids (ints of at least 0), got {token_ids!r}.")


@record
class RepetitionPenalty:
    """Divides the positive logits of tokens that stand in the text, prompt and all, and multiplies the negative ones
    (Keskar et al. 2019, arXiv:1909.05858, section 4.1).

    Raises:
        ValueError: for a penalty that is not above 0.
    """

    penalty: float

    def __post_init__(self):
        if not self.penalty > 0:
            raise ValueError(f"Expected repetition_penalty > 0, got {self.penalty!r}. 1 is none.")

    def __call__(self, logits, history):
        seen = history.counts(logits.shape[-1], generated=False) > 0
        return arrays.where(seen, arrays.where(logits < 0, logits * self.penalty, logits / self.penalty), logits)


@record
class PresencePenalty:
    """Subtracts `penalty` from the logits of tokens that were generated, as OpenAI's interface does."""

    penalty: float

    def __call__(self, logits, history):
        return logits - self.penalty * arrays.float32(history.counts(logits.shape[-1], generated=True) > 0)


@record
class FrequencyPenalty:
    """Subtracts `penalty` from a token's logit for each time that it was generated, as OpenAI's interface does."""

    penalty: float

    def __call__(self, logits, history):
        return logits - self.penalty * history.counts(logits.shape[-1], generated=True)


@record
class NoRepeatNgram:
    """Rules out each token that would repeat `size` tokens in a row of the text (Paulus et al. 2018, arXiv:1705.04304,
    section 2.5).

    Raises:
        ValueError: for a size that is not an int of at least 1.
    """

    size: int

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"Expected no_repeat_ngram_size to be at least 0, got {self.size!r}. 0 is none.")

    def __call__(self, logits, history):
        return _without_ngrams(logits, history.token_ids, self.size, history)


@record
class NoSourceNgram:
    """Rules out each token that would repeat `size` tokens in a row of the source: for paraphrases and summaries that
    are to use other words. A source's end token is one of its tokens, its padding is not.

    Raises:
        ValueError: for a size that is not an int of at least 1.
    """

    size: int

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"Expected encoder_no_repeat_ngram_size to be at least 0, got {self.size!r}. 0 is none.")

    def __call__(self, logits, history):
        return _without_ngrams(logits, history.sources, self.size, history)


@record
class BadWords:
    """Rules out words: of each, its last token where all others stand before.

    Args:
        words: a tuple of tuples of token ids.

    Raises:
        ValueError: for words that are not tuples of ids.
    """

    words: tuple

    def __post_init__(self):
        for word in self.words:
            if not (isinstance(word, tuple) and word and all(type(i) is int and i >= 0 for i in word)):
                raise ValueError(
                    "Expected bad_words_ids to be a tuple of tuples of token ids (ints of at least 0), got a word "
                    f"{word!r}."
                )

    def __call__(self, logits, history):
        logits = _never(logits, [word[0] for word in self.words if len(word) == 1])
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
class MinLength:
    """Rules out the end until prompt and generated tokens are `count` together.

    Raises:
        ValueError: for a count below 0.
    """

    count: int
    end_ids: tuple

    def __post_init__(self):
        if self.count < 0:
            raise ValueError(f"Expected min_length to be at least 0, got {self.count!r}.")

    def __call__(self, logits, history):
        return arrays.when(history.end < self.count, lambda: _never(logits, self.end_ids), logits)


@record
class MinNewTokens:
    """Rules out the end until `count` tokens are generated.

    Raises:
        ValueError: for a count below 0.
    """

    count: int
    end_ids: tuple

    def __post_init__(self):
        if self.count < 0:
            raise ValueError(f"Expected min_new_tokens to be at least 0, got {self.count!r}.")

    def __call__(self, logits, history):
        too_soon = history.end - history.begin < self.count
        return arrays.when(too_soon, lambda: _never(logits, self.end_ids), logits)


@record
class ForcedStart:
    """Makes the first token after a prompt of one the given one: the target's language, for many translators.

    Raises:
        ValueError: for what is no token id.
    """

    token_id: int

    def __post_init__(self):
        check_ids("forced_start_id", (self.token_id,))

    def __call__(self, logits, history):
        return arrays.when(history.end == 1, lambda: _only(logits, (self.token_id,)), logits)


@record
class ForcedEnd:
    """Makes the last token that the limit allows one of the given ones.

    Raises:
        ValueError: for what is no token id.
    """

    token_ids: tuple

    def __post_init__(self):
        check_ids("forced_end_id", self.token_ids)

    def __call__(self, logits, history):
        last = history.end - history.begin == history.limit - 1
        return arrays.when(last, lambda: _only(logits, self.token_ids), logits)


@record
class Suppressed:
    """Rules out some tokens.

    Raises:
        ValueError: for what are no token ids.
    """

    token_ids: tuple

    def __post_init__(self):
        check_ids("suppress_tokens", self.token_ids)

    def __call__(self, logits, history):
        return _never(logits, self.token_ids)


@record
class SuppressedAtStart:
    """Rules out some tokens as the first that is generated; where a `ForcedStart` is that, as the one after it.

    Raises:
        ValueError: for what are no token ids.
    """

    token_ids: tuple
    after_forced: bool = False

    def __post_init__(self):
        check_ids("begin_suppress_tokens", self.token_ids)

    def __call__(self, logits, history):
        first = history.end == history.begin
        if self.after_forced:
            forced = history.begin == 1
            first = (first & (history.begin != 1)) | (forced & (history.end == 2))
        return arrays.when(first, lambda: _never(logits, self.token_ids), logits)


def penalized(penalties, logits, history):
    """`logits` after all of them, in float32."""
    logits = arrays.float32(logits)
    for penalty in penalties:
        logits = penalty(logits, history)
    return logits
