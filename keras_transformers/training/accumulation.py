"""Gradient accumulation as for one large batch: the mean over all tokens, not a mean of means.

Keras divides the sum of `n` gradients by `n`, so that a token in a small batch counts more. With the weight `w` of each
batch and the sum `W` of weights so far, the accumulator here holds `n` times the mean so far, and Keras divides it by
`n`:

    sum ← W_before / W · sum + n · w / W · gradient
"""

import keras
from keras import ops

from keras_transformers.backends.types import Tensor


class Accumulation:
    """Weighs the gradients of batches in gradient accumulation.

    Args:
        optimizer: an optimizer that accumulates gradients. It is changed in place.

    Attributes:
        weight: the weight of the next batch, a scalar tensor; None for equal weights.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        self._optimizer, self.weight = optimizer, None
        self._total = optimizer.add_variable((), dtype="float32", name="accumulated_weight")
        optimizer._backend_apply_gradients = self._apply

    def _apply(self, gradients: list[Tensor], variables: list[keras.Variable]) -> None:
        optimizer, steps = self._optimizer, self._optimizer.gradient_accumulation_steps
        weight = ops.ones((), "float32") if self.weight is None else ops.cast(self.weight, "float32")
        before = ops.where(
            ops.equal(ops.convert_to_tensor(optimizer._iterations) % steps, 0), 0.0, ops.convert_to_tensor(self._total)
        )
        total = before + weight
        divisor = ops.where(ops.equal(total, 0.0), 1.0, total)
        for variable in variables:
            accumulated = optimizer._accumulated_gradients[optimizer._get_variable_index(variable)]
            accumulated.assign(ops.convert_to_tensor(accumulated) * ops.cast(before / divisor, accumulated.dtype))
        factor = steps * weight / divisor
        gradients = [ops.multiply(each, ops.cast(factor, each.dtype)) for each in gradients]
        self._total.assign(total)
        type(optimizer)._backend_apply_gradients(optimizer, gradients, variables)


def accumulation(optimizer: keras.optimizers.Optimizer) -> "Accumulation | None":
    """The `Accumulation` of an optimizer, or None."""
    method = vars(optimizer).get("_backend_apply_gradients")
    return None if method is None else method.__self__


def weigh_batches(optimizer: keras.optimizers.Optimizer) -> None:
    """Make an optimizer that accumulates gradients weigh batches from now on. Other optimizers stay unchanged."""
    if optimizer.gradient_accumulation_steps and accumulation(optimizer) is None:
        Accumulation(optimizer)
