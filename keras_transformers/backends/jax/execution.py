"""Loops and passes on JAX: jitted, with the model's weights as arguments, and state and cache donated."""

import math
import typing
import weakref
from collections.abc import Callable, Hashable, Sequence

import jax
import keras

from keras_transformers.backends.default.execution import *  # noqa: F403
from keras_transformers.backends.default.execution import Cache, Compiled, Step, compilations, kept, variables_of
from keras_transformers.backends.jax import products
from keras_transformers.backends.types import Tensor


def _compile(
    model: typing.Any,
    key: tuple[Hashable, ...],
    function: Callable[..., typing.Any],
    donated: Sequence[int] = (),
    transposed: dict[int, Tensor] | None = None,
    vocabulary: bool = True,
) -> Callable[..., typing.Any]:
    """`function(*arguments)` jitted; the model's variables are its first argument, and `transposed` kernels its
    second."""
    variables, copies = variables_of(model), transposed or {}

    def make():
        places = {id(variable): place for place, variable in enumerate(variables)}

        def pure(values, copies, *arguments):
            compilations[key[-1]] += 1
            with (
                keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))),
                products.transposed_kernels(lambda kernel: copies.get(places.get(id(kernel)))),
            ):
                return function(*arguments)

        return jax.jit(
            pure,
            donate_argnums=tuple(2 + index for index in donated),
            compiler_options=None if vocabulary else products.compiler_options(),
        )

    jitted = kept(model, variables, key, make)
    return lambda *arguments: jitted([variable.value for variable in variables], copies, *arguments)


def transposed_copies(model: typing.Any, step: Step, shape: Sequence[int], cache: Cache) -> dict[int, Tensor]:
    """The kernels that `step` multiplies a few rows with, `[out, in]`, as XLA reads them on a processor: copies by
    their place among the variables, which live as long as the weights do.

    `shape` is that of the token ids.
    """
    if model is None or not products.are_few_for_kernels(math.prod(shape)):
        return {}
    variables = variables_of(model)

    def asked():
        found = set()
        with keras.StatelessScope(), products.transposed_kernels(lambda kernel: found.add(id(kernel))):
            # A function of its own: JAX keeps what it traced, weights among it, as long as the function lives.
            jax.eval_shape(lambda *arguments: step(*arguments), jax.ShapeDtypeStruct(shape, "int32"), cache)
        return [place for place, variable in enumerate(variables) if id(variable) in found]

    copies = kept(model, (), "transposed", dict)  # by the weights' identity: a weight takes its copy with it

    def copy(value):
        key = id(value)
        if key not in copies:
            copies[key] = value.T, weakref.ref(value, lambda _: copies.pop(key, None))
        return copies[key][0]

    places = kept(model, variables, (step, "asked"), asked)
    return {place: copy(variables[place].value) for place in places}


def _loop(condition: Callable[..., Tensor], body: Callable[..., typing.Any], carried: typing.Any) -> typing.Any:
    return jax.lax.while_loop(lambda carried: condition(*carried), lambda carried: body(*carried), carried)


_compiled = Compiled(_compile, _loop, lambda *arguments: transposed_copies(*arguments))
forward, prefill = _compiled.forward, _compiled.prefill
run_segment, run_ahead = _compiled.run_segment, _compiled.run_ahead
