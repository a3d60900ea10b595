"""Losses, gradients and updates of training, and the devices and processes that share it.

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
    """The cross-entropy of each token, label-smoothed, and its negative log-likelihood without a gradient: float32
    `[…]` of logits `[…, V]` and integer labels `[…]`."""
    logits = ops.cast(logits, "float32")
    labels = ops.cast(labels, "int32")
    label_logits = ops.squeeze(ops.take_along_axis(logits, ops.expand_dims(labels, -1), axis=-1), -1)
    return combined(ops.logsumexp(logits, axis=-1), label_logits, ops.mean(logits, axis=-1), label_smoothing)


def combined(
    logsumexp: Tensor, label_logits: Tensor, mean_logits: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """`cross_entropy` of what was summed up of the logits."""
    negative_log_likelihood = logsumexp - label_logits
    loss = negative_log_likelihood
    if label_smoothing:
        loss = loss + label_smoothing * (label_logits - mean_logits)
    return loss, ops.stop_gradient(negative_log_likelihood)


# The loss in chunks: these may write into tensors that nobody else holds.

CHUNK = 2**24  # logits held at once: 64 MB in float32
SHORTEST_CHUNK = 128  # tokens

add = operator.add
times = operator.mul
exp = ops.exp


def chunk(hidden: Tensor) -> int:
    """How many logits are held at once, for hidden states where they lie."""
    return CHUNK


def best(logits: Tensor) -> Tensor:
    """The index of the largest of the last axis."""
    return arrays.argmax(logits)


def less_at(rows: Tensor, places: Tensor, amounts: Tensor) -> Tensor:
    """`rows [C, V]` less `amounts [C, 1]` at `places [C, 1]`."""
    # Compiled, a comparison costs nothing.
    return rows - ops.where(ops.arange(rows.shape[-1], dtype="int32") == places, amounts, 0.0)


def scan(
    body: Callable[..., tuple[typing.Any, Sequence[Tensor]]],
    carry: tuple[Tensor, ...],
    inputs: tuple[Tensor, ...],
    shapes: list[typing.Any],
) -> tuple[tuple[Tensor, ...], Sequence[Tensor]]:
    """`body(carry, inputs) -> (carry, results)` over axis 0 of the inputs, one after the other. Returns the last carry
    and the results, float32 of `shapes`, stacked."""
    return ops.scan(body, carry, inputs)


Run: typing.TypeAlias = Callable[..., tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]]


def with_gradients(run: Run, settings: typing.Any, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The outputs of `run`, of which the first, a scalar, has gradients that were made along with it.

    Args:
        run: `run(settings, *tensors, gradients=…) -> (outputs, gradients)`; one gradient for each tensor, None for a
            tensor that learns nothing. A function of a module, so that equal settings are compiled once.
        settings: whatever else it needs, compared by value.
        *tensors: its inputs.
    """
    return run(settings, *tensors, gradients=False)[0]


def scaled(gradients: Sequence[Tensor | None], upstream: Tensor, likes: Sequence[typing.Any]) -> tuple[typing.Any, ...]:
    """Gradients that waited since the forward pass, times the one from above, each in the dtype of its like."""
    pairs = zip(gradients, likes, strict=True)
    return tuple(None if each is None else ops.cast(each * upstream, like.dtype) for each, like in pairs)


# The optimizer


def fuse_adam(optimizer: keras.optimizers.Adam) -> None:
    """Have an `Adam` compute its update by one operation of the backend, in place, if there is one."""


def adam_moments(optimizer: keras.optimizers.Adam, variable: typing.Any) -> tuple[Tensor, Tensor]:
    """The two moments of a variable."""
    place = optimizer._get_variable_index(variable)
    return optimizer._momentums[place].value, optimizer._velocities[place].value


def adam_powers(optimizer: keras.optimizers.Adam, dtype: typing.Any = "float32") -> list[Tensor]:
    """`beta_1ᵗ` and `beta_2ᵗ` of update `t`, from 1."""
    update = ops.cast(optimizer.iterations + 1, dtype)
    return [ops.power(ops.cast(beta, dtype), update) for beta in (optimizer.beta_1, optimizer.beta_2)]


# Data, devices, processes


def endless(
    source: typing.Any, stream: Callable[[], Iterator[typing.Any]], example: Callable[[], typing.Any]
) -> typing.Any:
    """Batches without end, in the form that `keras.Model.fit` reads.

    Args:
        source: the same batches as a `keras.utils.PyDataset`.
        stream: makes an iterator over them.
        example: gives a batch.
    """
    return source


def processes() -> tuple[int, str]:
    """How many processes the backend was told of, and where."""
    return 1, ""


def replicas() -> int:
    """How many replicas add up their gradients."""
    return 1


def summed(value: Tensor) -> Tensor:
    """A replica's `value`, summed over all of them."""
    return value
