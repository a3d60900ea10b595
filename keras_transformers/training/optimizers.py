"""The parts of an optimizer."""

import typing

import keras

Optimizer: typing.TypeAlias = keras.optimizers.Optimizer | str
"""An optimizer, or its name for `keras.optimizers.get`."""


def parts(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """The optimizers that update weights: those inside a `MultiOptimizer`, the one inside a `LossScaleOptimizer`, or
    the optimizer itself."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return list(getattr(inner, "optimizers", None) or [inner])
