"""What training cannot do, said before its first step."""

import typing
from collections.abc import Iterable

import keras

from keras_transformers.backends import training


def check_processes() -> None:
    """Refuse several processes, each of which would train alone, on all of the data.

    Raises:
        RuntimeError: saying how many there are.
    """
    count, what = training.processes()
    if count > 1:
        raise RuntimeError(
            f"Expected one process, got {count} ({what}): each would train alone, on all of the data. Train in one; on "
            "PyTorch, a loop of your own may wrap the model in torch.nn.parallel.DistributedDataParallel."
        )


def check_fit(options: dict[str, typing.Any]) -> None:
    """Refuse options of `keras.Model.fit` that would be passed over: all but what is left in `options`."""
    told = {
        "steps_per_epoch": "an epoch is all the examples. Pass fewer of them, or more epochs.",
        "validation_steps": "validation is on all of its examples. Pass fewer of them.",
    }
    for name, reason in told.items():
        if options.pop(name, None) is not None:
            raise ValueError(f"Expected no {name}: {reason}")


def check_shuffle(shuffle: object) -> None:
    """Refuse what is neither true nor false, such as Keras's "batch"."""
    if not isinstance(shuffle, bool):
        raise ValueError(
            f"Expected shuffle to be True or False, got {shuffle!r}. True deals the examples of similar length anew, "
            "and the batches."
        )


def check_callbacks(optimizer: keras.optimizers.Optimizer, callbacks: Iterable[keras.callbacks.Callback]) -> None:
    """Refuse callbacks that set a learning rate which is a schedule.

    Raises:
        ValueError: naming both.
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
    """Refuse a number of steps that does not divide a number of batches: Keras would go on to others.

    Args:
        steps: of `compile`.
        **counts: how many batches, by what they are.
    """
    for what, count in counts.items():
        if count % steps:
            divisors = [str(each) for each in range(1, min(count, 64) + 1) if count % each == 0]
            raise ValueError(
                f"Expected steps_per_execution to divide the {count} batches of {what.replace('_', ' ')}, got {steps}. "
                f"Compile with one of {', '.join(divisors)}."
            )
