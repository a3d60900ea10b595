"""What an optimizer consists of."""

import typing

import keras

Optimizer: typing.TypeAlias = keras.optimizers.Optimizer | str
"""An optimizer, or its name for `keras.optimizers.get`."""


def parts(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """The optimizers that change weights: those within a `MultiOptimizer`, the one within a `LossScaleOptimizer`, or
    the optimizer itself."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return list(getattr(inner, "optimizers", None) or [inner])
