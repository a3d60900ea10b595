"""The computations of generation and tasks: decoding loops in segments, prompts, and passes over a batch.

`backends.execution` runs them fast on each backend.
"""

import typing
from collections.abc import Callable

import numpy as np

from keras_transformers.backends import arrays, execution
from keras_transformers.layers import cache as caches
from keras_transformers.layers.heads import VocabularyHead

compilations = execution.compilations
fast_step, forget, prefill, without_gradients = (
    execution.fast_step,
    execution.forget,
    execution.prefill,
    execution.without_gradients,
)


class Loop(typing.NamedTuple):
    """A step function and a strategy: see `backends.default.execution.Loop`."""

    step: typing.Any
    strategy: typing.Any

    def advance(self, state: typing.Any, cache: caches.Cache, limit: typing.Any, noise: typing.Any) -> typing.Any:
        logits, cache = self.step(state.token_ids, cache)
        state, rows = self.strategy.advance(state, logits, limit, noise)
        if rows is not None and not arrays.in_place_order(rows):
            cache = caches.reorder(cache, rows)
        return state, cache

    def split(self, cache: caches.Cache) -> tuple[tuple, tuple]:
        return caches.split(cache)

    def joined(self, written: tuple, read: tuple) -> caches.Cache:
        return caches.joined(written, read)

    def trim(self, cache: caches.Cache, length: typing.Any) -> caches.Cache:
        return caches.trim(cache, length)


def forward(model: typing.Any, function: Callable[..., typing.Any]) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """`function`, a method of the model, as a function from a dictionary of numpy arrays to a float32 array. It is fast
    while the weights do not change."""
    return execution.forward(model, function, isinstance(getattr(model, "head", None), VocabularyHead))


def run_segment(
    model: typing.Any,
    step: execution.Step,
    strategy: typing.Any,
    state: typing.Any,
    cache: caches.Cache,
    limit: typing.Any,
    noise: typing.Any,
    max_steps: int,
) -> tuple[typing.Any, caches.Cache]:
    """Run up to `max_steps` steps, fewer if `limit` is reached or all sentences are done. Returns the state and the
    cache."""
    return execution.run_segment(model, Loop(step, strategy), state, cache, limit, noise, max_steps)


def run_ahead(
    model: typing.Any,
    score: execution.Step,
    strategy: typing.Any,
    state: typing.Any,
    cache: caches.Cache,
    guesses: list[int],
    limit: typing.Any,
    noise: typing.Any,
) -> tuple[typing.Any, caches.Cache]:
    """Run a step for each correct guess in `guesses`, a list of ids, and one more, with one pass of `score`:
    `(token_ids [1, T], cache) -> (logits [1, T, V], cache)`. Returns the state and the cache."""
    return execution.run_ahead(model, Loop(score, strategy), state, cache, guesses, limit, noise)
