"""Speculative decoding: a draft guesses several tokens ahead, and the model checks them in one pass.

    text so far ── draft ──► guesses g1 g2 g3 g4 ── model, one pass ──► its own tokens t1 t2 t3 t4 t5
                                                                        kept as long as each guess was right, and one
                                                                        token more: t1 = g1, t2 = g2, t3 ≠ g3: three

If memory limits the speed of a step, as on a CPU, reading the weights once for five tokens takes little longer than for
one. The tokens are those that the model would choose without guesses: each is chosen from the logits after the tokens
before it, by the same rule, with the same penalties and the same random number. A correct guess only saves time. So
sampling draws from the same distribution, and the same seed gives the same text. (Logits of several tokens at once may
differ in their last bits from those computed one by one, which may decide a tie differently.)

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
    """Prompt lookup decoding: guesses that a text continues as after the latest earlier occurrence of its last tokens.
    It helps if a text repeats much of its prompt, as in summaries and corrections.

    Args:
        length: the number of guessed tokens.
        ngram: the most tokens that must match; fewer are tried if there is no match.

    Raises:
        ValueError: for a `length` or `ngram` below 1.
    """

    length: int = 8
    ngram: int = 3

    def __post_init__(self) -> None:
        if self.length < 1 or self.ngram < 1:
            raise ValueError(
                f"Expected length and ngram of at least 1, got length={self.length} and ngram={self.ngram}."
            )

    def guesser(self, model: typing.Any) -> Callable[[list[int]], list[int]]:
        """A function from the ids so far to guesses, both lists; the guesses may be empty."""
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
    """Guesses the tokens that a smaller model with the same vocabulary would generate.

    Args:
        model: a `CausalLM`.
        length: the number of guessed tokens.

    Raises:
        ValueError: for a length below 1.
    """

    model: typing.Any
    length: int = 4

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"Expected length of at least 1, got {self.length}.")

    def guesser(self, model: typing.Any) -> Callable[[list[int]], list[int]]:
        """A function from the ids so far to guesses, both lists. It keeps its cache for the next call."""
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
    """A function that advances a `Decoding` of one text by some tokens with guesses, and returns whether it is
    unfinished.

    Args:
        decoding: a `Decoding`.
        score: a function like its step, but with the logits after every token, `[R, T, V]`.
        guess: a function from ids to guesses.
        length: the number of guesses checked at once.
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
        # Pad guesses to one length, so that one shape is compiled. The padding may even be a correct guess.
        return decoding.run_ahead(score, guesses + [decoding.config.padding_id] * (length - len(guesses)))

    return advance
