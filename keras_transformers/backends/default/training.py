"""Losses, gradients and optimizer updates, and the devices and processes that share a training.

Legend: `N` tokens, `C` tokens of a chunk, `D` width, `V` vocabulary.
"""

import operator
import typing
from collections.abc import Callable, Iterator, Sequence

import keras
from keras import ops

from keras_transformers.backends.default import arrays
from keras_transformers.backends.types import Tensor

# The loss of each token


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """The label-smoothed cross-entropy of each token, and its negative log-likelihood without a gradient: float32 `[…]`
    from logits `[…, V]` and integer labels `[…]`."""
    logits = ops.cast(logits, "float32")
    labels = ops.cast(labels, "int32")
    label_logits = ops.squeeze(ops.take_along_axis(logits, ops.expand_dims(labels, -1), axis=-1), -1)
    return combined(ops.logsumexp(logits, axis=-1), label_logits, ops.mean(logits, axis=-1), label_smoothing)


def combined(
    logsumexp: Tensor, label_logits: Tensor, mean_logits: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """The result of `cross_entropy` from reductions of the logits."""
    negative_log_likelihood = logsumexp - label_logits
    loss = negative_log_likelihood
    if label_smoothing:
        loss = loss + label_smoothing * (label_logits - mean_logits)
    return loss, ops.stop_gradient(negative_log_likelihood)


# The loss in chunks: these functions may overwrite their arguments.

CHUNK = 2**24  # logits held at once: 64 MB in float32
SHORTEST_CHUNK = 128  # tokens

add = operator.add
times = operator.mul
exp = ops.exp


def chunk(hidden: Tensor) -> int:
    """The number of logits held at once, which depends on the device of the hidden states."""
    return CHUNK


def best(logits: Tensor) -> Tensor:
    """The index of the largest value of the last axis."""
    return arrays.argmax(logits)


def less_at(rows: Tensor, places: Tensor, amounts: Tensor) -> Tensor:
    """`rows [C, V]` minus `amounts [C, 1]` at `places [C, 1]`."""
    # In compiled code a comparison costs nothing.
    return rows - ops.where(ops.arange(rows.shape[-1], dtype="int32") == places, amounts, 0.0)


def scan(
    body: Callable[..., tuple[typing.Any, Sequence[Tensor]]],
    carry: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    shapes: list[typing.Any],
) -> tuple[tuple[Tensor, ...], Sequence[Tensor]]:
    """Run `body(carry, inputs) -> (carry, results)` over axis 0 of the inputs in turn. Returns the last carry, and the
    stacked results, float32 of `shapes`."""
    return ops.scan(body, carry, inputs)


Run: typing.TypeAlias = Callable[..., tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]]


def with_gradients(run: Run, settings: typing.Any, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The outputs of `run`. The first one, a scalar, has gradients, which `run` computes together with it.

    Args:
        run: `run(settings, *tensors, gradients=…) -> (outputs, gradients)`, with one gradient for each tensor, None for
            a tensor that is not trainable. A module-level function, so that equal settings are compiled once.
        settings: further arguments, compared by value.
        *tensors: the inputs of `run`.
    """
    return run(settings, *tensors, gradients=False)[0]


def scaled(gradients: Sequence[Tensor | None], upstream: Tensor, likes: Sequence[typing.Any]) -> tuple[typing.Any, ...]:
    """Gradients from the forward pass, times the upstream gradient, each in the dtype of its tensor in `likes`."""
    pairs = zip(gradients, likes, strict=True)
    return tuple(None if each is None else ops.cast(each * upstream, like.dtype) for each, like in pairs)


# The optimizer


def fuse_adam(optimizer: keras.optimizers.Adam) -> None:
    """Make an `Adam` compute its update in place, with one operation, if the backend has such an operation."""


def adam_moments(optimizer: keras.optimizers.Adam, variable: typing.Any) -> tuple[Tensor, Tensor]:
    """The two moments of a variable."""
    place = optimizer._get_variable_index(variable)
    return optimizer._momentums[place].value, optimizer._velocities[place].value


def adam_powers(optimizer: keras.optimizers.Adam, dtype: typing.Any = "float32") -> list[Tensor]:
    """`beta_1ᵗ` and `beta_2ᵗ` for update `t`, counted from 1."""
    update = ops.cast(optimizer.iterations + 1, dtype)
    return [ops.power(ops.cast(beta, dtype), update) for beta in (optimizer.beta_1, optimizer.beta_2)]


# Data, devices, processes


def endless(
    source: typing.Any, stream: Callable[[], Iterator[typing.Any]], example: Callable[[], typing.Any]
) -> typing.Any:
    """An endless stream of batches, in the form that `keras.Model.fit` reads.

    Args:
        source: the same batches as a `keras.utils.PyDataset`.
        stream: a function that makes an iterator over the batches.
        example: a function that returns a batch.
    """
    return source


def processes() -> tuple[int, str]:
    """The number of processes that the backend was configured with, and the source of this number."""
    return 1, ""


def replicas() -> int:
    """The number of replicas that add up their gradients."""
    return 1


def summed(value: Tensor) -> Tensor:
    """The sum of `value` over all replicas."""
    return value
