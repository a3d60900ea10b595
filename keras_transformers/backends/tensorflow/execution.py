"""Loops and passes on TensorFlow: functions that XLA compiles."""

import functools
import os
import typing
from collections.abc import Callable, Hashable

import tensorflow as tf

from keras_transformers.backends.default.execution import *  # noqa: F403
from keras_transformers.backends.default.execution import Compiled, Inputs, compilations, kept, variables_of
from keras_transformers.backends.types import Tensor


def _compile(
    model: typing.Any, key: tuple[Hashable, ...], function: Callable[..., typing.Any], **options: typing.Any
) -> Callable[..., typing.Any]:
    """`function(*arguments)` compiled by XLA."""

    def counted(*arguments: typing.Any) -> typing.Any:
        compilations[key[-1]] += 1
        return function(*arguments)

    make = functools.partial(tf.function, counted, jit_compile=True, autograph=False)
    return kept(model, variables_of(model), key, make)


def _call(model: typing.Any, compiled: typing.Any, inputs: Inputs) -> Tensor:
    """`compiled(inputs)`, without the checks of arguments that a `tf.function` makes in each call."""
    tensors = {name: tf.constant(array) for name, array in inputs.items()}
    shapes = tuple((name, tensor.shape, tensor.dtype) for name, tensor in tensors.items())
    concrete = kept(model, (), (compiled, shapes), lambda: compiled.get_concrete_function(tensors))
    return concrete(tensors).numpy()


_compiled = Compiled(_compile, tf.while_loop, call=_call)
forward, prefill = _compiled.forward, _compiled.prefill
run_segment, run_ahead = _compiled.run_segment, _compiled.run_ahead


def save_module(folder: str | os.PathLike, make: Callable[[], tuple[typing.Any, dict[str, typing.Any]]]) -> None:
    """Write a `tf.Module` to a folder as a TensorFlow SavedModel, with its signatures."""
    module, signatures = make()
    tf.saved_model.save(module, str(folder), signatures=signatures)
