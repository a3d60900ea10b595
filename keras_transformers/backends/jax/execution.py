"""Loops and passes on JAX: jitted, with the model's weights as arguments, and state and cache donated."""

import typing
from collections.abc import Callable, Hashable, Sequence

import jax
import keras

from keras_transformers.backends.default.execution import *  # noqa: F403
from keras_transformers.backends.default.execution import Compiled, compilations, kept, variables_of
from keras_transformers.backends.jax import transposed
from keras_transformers.backends.types import Tensor


def _compile(
    model: typing.Any,
    key: tuple[Hashable, ...],
    function: Callable[..., typing.Any],
    donated: Sequence[int] = (),
    kernels: dict[int, Tensor] | None = None,
    vocabulary: bool = True,
) -> Callable[..., typing.Any]:
    """`function(*arguments)` jitted, with the model's variables as its first argument, and transposed `kernels` as its
    second."""
    variables, copies = variables_of(model), kernels or {}

    def make() -> Callable[..., typing.Any]:
        places = {id(variable): place for place, variable in enumerate(variables)}

        def pure(values: typing.Any, copies: typing.Any, *arguments: typing.Any) -> typing.Any:
            compilations[key[-1]] += 1
            with (
                keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))),
                transposed.kernels_from(lambda kernel: copies.get(places.get(id(kernel)))),
            ):
                return function(*arguments)

        return jax.jit(
            pure,
            donate_argnums=tuple(2 + index for index in donated),
            compiler_options=None if vocabulary else transposed.compiler_options(),
        )

    jitted = kept(model, variables, key, make)
    return lambda *arguments: jitted([variable.value for variable in variables], copies, *arguments)


def _loop(condition: Callable[..., Tensor], body: Callable[..., typing.Any], carried: typing.Any) -> typing.Any:
    """`jax.lax.while_loop` with several carried values."""
    return jax.lax.while_loop(lambda carried: condition(*carried), lambda carried: body(*carried), carried)


_compiled = Compiled(_compile, _loop, lambda *arguments: transposed.copies(*arguments))
forward, prefill = _compiled.forward, _compiled.prefill
run_segment, run_ahead = _compiled.run_segment, _compiled.run_ahead
