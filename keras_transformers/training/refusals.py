"""Checks before the first step, for training that is not possible."""

import typing
from collections.abc import Iterable

import keras

from keras_transformers.backends import training


def check_processes() -> None:
    """Refuse several processes: each would train alone, on all of the data.

    Raises:
        RuntimeError: with the number of processes.
    """
    count, what = training.processes()
    if count > 1:
        raise RuntimeError(
            f"Expected one process, got {count} ({what}): each would train alone, on all of the data. Train in one; on "
            "PyTorch, a loop of your own may wrap the model in torch.nn.parallel.DistributedDataParallel."
        )


def check_fit(options: dict[str, typing.Any]) -> None:
    """Refuse options of `keras.Model.fit` that would be ignored: all except those left in `options`."""
    reasons = {
        "steps_per_epoch": "an epoch is all the examples. Pass fewer of them, or more epochs.",
        "validation_steps": "validation is on all of its examples. Pass fewer of them.",
    }
    for name, reason in reasons.items():
        if options.pop(name, None) is not None:
            raise ValueError(f"Expected no {name}: {reason}")


def check_shuffle(shuffle: object) -> None:
    """Refuse values that are neither true nor false, such as "batch" of Keras."""
    if not isinstance(shuffle, bool):
        raise ValueError(
            f"Expected shuffle to be True or False, got {shuffle!r}. True shuffles examples of similar length, "
            "and the batches."
        )


def check_callbacks(optimizer: keras.optimizers.Optimizer, callbacks: Iterable[keras.callbacks.Callback]) -> None:
    """Refuse callbacks that set the learning rate if it is a schedule.

    Raises:
        ValueError: naming the callback and the schedule.
    """
    rate = optimizer._learning_rate
    setters = keras.callbacks.ReduceLROnPlateau, keras.callbacks.LearningRateScheduler
    for callback in callbacks:
        if isinstance(callback, setters) and not isinstance(rate, keras.Variable):
            raise ValueError(
                f"Expected a learning rate that {type(callback).__name__} can set, got the schedule "
                f"{type(rate).__name__}. Compile with a fixed rate, such as keras.optimizers.AdamW(5e-5), or leave the "
                "callback out."
            )


def check_steps_per_execution(steps: int, **counts: int) -> None:
    """Refuse a `steps_per_execution` that does not divide a number of batches: Keras would train on extra batches.

    Args:
        steps: the `steps_per_execution` of `compile`.
        **counts: numbers of batches, by their name in errors.
    """
    for what, count in counts.items():
        if count % steps:
            divisors = [str(each) for each in range(1, min(count, 64) + 1) if count % each == 0]
            raise ValueError(
                f"Expected steps_per_execution to divide the {count} batches of {what.replace('_', ' ')}, got {steps}. "
                f"Compile with one of {', '.join(divisors)}."
            )
