"""Loops and passes on PyTorch: eager under `inference_mode`, or with `torch.compile` if the model asks for it."""

import typing
from collections.abc import Callable

import keras
import numpy as np
import torch

from keras_transformers.backends.default.execution import *  # noqa: F403
from keras_transformers.backends.default.execution import Cache, Inputs, Loop, State, Step, keep, kept, variables_of
from keras_transformers.backends.torch import arrays, direct
from keras_transformers.backends.types import Tensor

SHAPES_MAY_VARY = True

without_gradients = torch.inference_mode()


def fast_step(step: Step) -> Step:
    """`step` for one generation, without the overhead of Keras for each call of a layer."""
    with torch.inference_mode():
        eager = direct.method(step)
    model = getattr(step, "__self__", None)
    if not getattr(model, "jit_compile", False):
        return eager

    compiled = None

    def fast(token_ids: Tensor, cache: Cache | None) -> typing.Any:
        nonlocal compiled
        if cache is None or token_ids.shape[1] > 1:  # a source, a prompt or guesses
            return eager(token_ids, cache)
        compiled = compiled or _current(model, step, _compiled_step)
        return compiled(token_ids, cache)

    return fast


def forward(model: typing.Any, function: Callable[..., Tensor], vocabulary: bool) -> Callable[[Inputs], np.ndarray]:
    """`function`, a method of the model, as a function from a dictionary of numpy arrays to a float32 array. It is
    compiled once for each shape, and fast while the weights do not change. `vocabulary`: whether it multiplies with a
    vocabulary."""
    computed = _current(model, function, _compiled_pass if getattr(model, "jit_compile", False) else _as_it_is)

    def run(inputs: Inputs) -> np.ndarray:
        with torch.inference_mode():
            tensors = {name: keras.ops.convert_to_tensor(array) for name, array in inputs.items()}
            return computed(tensors).float().cpu().numpy()

    return run


def prefill(model: typing.Any, step: Step, token_ids: Tensor, cache: Cache) -> Cache:
    """The cache after reading the prompt, int32 `[B, T]`, without computing logits."""
    with torch.inference_mode():
        return fast_step(step)(token_ids, cache)[1]


def run_segment(
    model: typing.Any,
    loop: Loop,
    state: State,
    cache: Cache,
    limit: arrays.Position,
    noise: Tensor,
    max_steps: int,
) -> tuple[State, Cache]:
    """Run up to `max_steps` steps, fewer if `limit` is reached or all sentences are done. Returns the state and the
    cache."""
    # Checking whether all are done makes the host wait for a GPU, so it checks rarely. Steps after the end change
    # nothing.
    interval = 1 if state.token_ids.device.type == "cpu" else 8
    with torch.inference_mode():
        for taken in range(1, min(max_steps, limit - state.position) + 1):
            state, cache = loop.advance(state, cache, limit, noise)
            if taken % interval == 0 and bool(loop.strategy.done(state).all()):
                break
    return state, cache


def run_ahead(
    model: typing.Any,
    loop: Loop,
    state: State,
    cache: Cache,
    guesses: list[int],
    limit: arrays.Position,
    noise: Tensor,
) -> tuple[State, Cache]:
    """Run a step for each correct guess in `guesses`, a list of ids, and one more, with one pass of the loop's step:
    `(token_ids [1, T], cache) -> (logits [1, T, V], cache)`. Returns the state and the cache."""
    strategy = loop.strategy
    with torch.inference_mode():
        token_ids = torch.cat((state.token_ids, arrays.tensor(np.array([guesses], "int32"))), dim=1)
        logits, after = loop.step(token_ids, cache)
        for place, guess in enumerate([*guesses, None], 1):
            state, _ = strategy.advance(state, logits[:, place - 1], limit, noise)
            right = guess is not None and int(state.token_ids) == guess
            if not right or state.position >= limit or bool(strategy.done(state).all()):
                break
    return state, loop.trim(after, cache.offset + place)


def _current(model: typing.Any, function: Callable[..., typing.Any], made: Callable[..., typing.Any]) -> typing.Any:
    """`made(function)` for a method of the model over its direct view; made anew after a weight is written."""
    tensors = [variable.value for variable in variables_of(model)]
    # A view may hold weights cast to another dtype, so it is valid until a weight is written.
    weights = tuple((id(tensor), None if tensor.is_inference() else tensor._version) for tensor in tensors)
    key = function, made
    then, current = kept(model, (), key, lambda: (None, None))
    if then != weights:
        with torch.inference_mode():
            current = made(direct.method(function))
        keep(model, key, (weights, current))
    return current


def _as_it_is(function: Callable[..., typing.Any]) -> Callable[..., typing.Any]:
    """Return the function: nothing is compiled."""
    return function


def _by_dynamo(function: Callable[..., typing.Any]) -> Callable[..., typing.Any]:
    """`function` with `torch.compile`. The first call first runs eagerly, to the same result, since the view converts
    its layers at the first use, and PyTorch would compile that too."""
    called = False

    def call(*arguments: typing.Any) -> typing.Any:
        return function(*arguments)

    call.__code__ = call.__code__.replace()  # PyTorch counts compilations by code, and gives up after eight
    compiled = torch.compile(call)

    def run(*arguments: typing.Any) -> typing.Any:
        nonlocal called
        if not called:
            function(*arguments)
        called = True
        return compiled(*arguments)

    return run


def _compiled_step(step: Step) -> Step:
    """`step` for one token in each row. The position is a tensor, so attention sees all the room of the cache."""
    compiled = _by_dynamo(step)

    def run(token_ids: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        if not all(hasattr(x, _OPEN) for x in keras.tree.flatten(cache.states)):
            cache = keras.tree.map_structure(_open, cache)
        offset = torch.full((), cache.offset, device=token_ids.device)
        logits, after = compiled(_open(token_ids), cache._replace(offset=offset))
        return logits, after._replace(offset=cache.offset + 1)

    return run


def _compiled_pass(function: Callable[..., Tensor]) -> Callable[[dict[str, Tensor]], Tensor]:
    """`function` compiled, for a dictionary of tensors."""
    compiled = _by_dynamo(function)
    return lambda inputs: compiled({name: _open(tensor) for name, tensor in inputs.items()})


_OPEN = "_keras_transformers_open"


def _open(x: typing.Any) -> typing.Any:
    """A tensor `[R, K, S, H]`, `[B, S]` or `[B]` for a compiled function: made in inference mode, with rows and length
    dynamic. PyTorch itself compiles separately for sizes of 1 and for sizes fixed by the code."""
    if not isinstance(x, torch.Tensor) or hasattr(x, _OPEN):
        return x
    x = x if x.is_inference() else x.clone()
    for axis in {0, max(x.ndim - 2, 1)} & set(range(x.ndim)):
        torch._dynamo.maybe_mark_dynamic(x, axis)
    setattr(x, _OPEN, True)
    return x
