"""Training on JAX. XLA fuses the operations of Adam in Keras to one pass."""

import typing
from collections.abc import Callable, Sequence

import jax

from keras_transformers.backends.default import training as default
from keras_transformers.backends.default.training import *  # noqa: F403
from keras_transformers.backends.default.training import scaled
from keras_transformers.backends.types import Tensor


def scan(
    body: Callable[..., tuple[typing.Any, Sequence[Tensor]]],
    carry: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    shapes: list[typing.Any],
) -> tuple[tuple[Tensor, ...], Sequence[Tensor]]:
    """Run `body(carry, inputs) -> (carry, results)` over axis 0 of the inputs in turn. Returns the last carry, and the
    stacked results, float32 of `shapes`."""
    return jax.lax.scan(body, carry, inputs)


def _forward(run: default.Run, settings: typing.Any, *tensors: Tensor) -> tuple[typing.Any, typing.Any]:
    """The outputs, and for the backward pass the gradients with a scalar of the dtype of each tensor."""
    outputs, gradients = run(settings, *tensors, gradients=True)
    return outputs, (gradients, tuple(jax.numpy.zeros((), each.dtype) for each in tensors))


def _backward(run: default.Run, settings: typing.Any, kept: typing.Any, upstream: Sequence[Tensor]) -> typing.Any:
    """The gradients of the forward pass, times the upstream gradient of the first output."""
    return scaled(kept[0], upstream[0], kept[1])


_with_gradients = jax.custom_vjp(default.with_gradients, nondiff_argnums=(0, 1))
_with_gradients.defvjp(_forward, _backward)
with_gradients = _with_gradients


def processes() -> tuple[int, str]:
    """The number of processes that the backend was configured with, and the source of this number."""
    return jax.process_count(), "jax.process_count()"
