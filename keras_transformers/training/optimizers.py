"""What an optimizer consists of."""

import keras


def parts(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """The optimizers that change weights: those within a `MultiOptimizer`, the one within a `LossScaleOptimizer`, or
    the optimizer itself."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return list(getattr(inner, "optimizers", None) or [inner])
