"""Several tokens for the price of one: guessed ahead, and checked by the model in one pass.

    text so far ── draft ──► guesses g1 g2 g3 g4 ── model, one pass ──► its own tokens t1 t2 t3 t4 t5
                                                                        kept as long as each guess was right, and one
                                                                        token more: t1 = g1, t2 = g2, t3 ≠ g3: three

Where memory is what a step waits for, as it is on a CPU, reading the weights once for five tokens takes little longer
than for one. The tokens are those that the model would have chosen by itself: each is chosen by the same rule,
penalties and the random number of its place included, from the logits behind the tokens before it, and a guess only
saves the waiting. So sampling draws from the same distribution as without: with the same seed, the same text. (Logits
of several tokens at once may differ from those one by one in their last bits: a tie may fall the other way.)

Source: Leviathan et al. 2023, arXiv:2211.17192; guesses from the text itself: Saxena 2023,
https://github.com/apoorvumang/prompt-lookup-decoding.
"""

import dataclasses
import typing
from collections.abc import Callable

import numpy as np

from keras_transformers.backends import execution
from keras_transformers.generation import executors
from keras_transformers.generation.decoding import Decoding
from keras_transformers.layers import cache as caches
from keras_transformers.records import record


@record
class PromptLookup:
    """Guesses that a text goes on as it did before: after the last place where its last tokens stood. It helps where a
    text repeats much of its prompt, as summaries and corrections do.

    Args:
        length: how many tokens are guessed.
        ngram: how many tokens must be the same, at most; fewer are tried where they are not found.

    Raises:
        ValueError: for less than one of either.
    """

    length: int = 8
    ngram: int = 3

    def __post_init__(self) -> None:
        if self.length < 1 or self.ngram < 1:
            raise ValueError(
                f"Expected length and ngram of at least 1, got length={self.length} and ngram={self.ngram}."
            )

    def guesser(self, model: typing.Any) -> Callable[[list[int]], list[int]]:
        """A function from the ids so far to guesses, both lists; none where there are none."""
        return self._guess

    def _guess(self, token_ids: list[int]) -> list[int]:
        ids = np.asarray(token_ids)
        for size in range(min(self.ngram, len(ids) - 1), 0, -1):
            windows = np.lib.stride_tricks.sliding_window_view(ids[:-1], size)
            places = np.flatnonzero((windows == ids[-size:]).all(axis=1))
            if len(places):
                begin = places[-1] + size
                return ids[begin : begin + self.length].tolist()
        return []


@dataclasses.dataclass(frozen=True)
class DraftModel:
    """Guesses what a smaller model of the same vocabulary would write.

    Args:
        model: a `CausalLM`.
        length: how many tokens are guessed.

    Raises:
        ValueError: for a length below 1.
    """

    model: typing.Any
    length: int = 4

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"Expected length of at least 1, got {self.length}.")

    def guesser(self, model: typing.Any) -> Callable[[list[int]], list[int]]:
        """A function from the ids so far to guesses, both lists. It keeps what it has read for the next time."""
        sizes = [each.config.embeddings.vocabulary_size for each in (model, self.model)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"Expected a draft model with the model's vocabulary of {sizes[0]} tokens, got one with {sizes[1]}. "
                "Both must have the same tokenizer."
            )
        reader = self.model.reader()
        config = self.model.generation_config(
            num_beams=1, do_sample=False, num_return_sequences=1, stop=(), end_ids=(), max_new_tokens=self.length
        )

        def guess(token_ids: list[int]) -> list[int]:
            if reader.longest is not None and len(token_ids) > reader.longest:
                return []
            return [int(token_id) for (token_id,) in reader.read(token_ids, config).stream(self.length)]

        return guess


Draft: typing.TypeAlias = PromptLookup | DraftModel
"""Guesses tokens ahead."""


def accepting(
    decoding: Decoding, score: execution.Step, guess: Callable[[list[int]], list[int]], length: int, prompt: list[int]
) -> Callable[[], bool]:
    """How a `Decoding` of one text goes on with guesses: a function that takes it some tokens further, and returns
    whether anything is left to do.

    Args:
        decoding: a `Decoding`.
        score: as its step, but for the logits after every token, `[R, T, V]`.
        guess: a function from ids to guesses.
        length: how many guesses are checked at once.
        prompt: the ids of the prompt, a list.

    Raises:
        ValueError: for a model with a layer whose state cannot be trimmed by so many guesses.
    """
    reach = caches.reach(decoding.cache)
    if length > reach:
        raise ValueError(
            f"Expected a model whose layers can take back a draft's {length} guesses, got one with a layer whose state "
            f"can be trimmed by {reach} tokens. Generate without a draft, or let it guess fewer."
        )
    score = executors.fast_step(score)

    def advance() -> bool:
        guesses = guess([*prompt, *decoding.token_ids()])[:length] if decoding.position else []
        if not guesses or not decoding.has_positions_for(length + 1):
            return decoding.run(1)
        # Of one length, so that one shape is compiled: what stands in for a guess may even be right.
        return decoding.run_ahead(score, guesses + [decoding.config.padding_id] * (length - len(guesses)))

    return advance
