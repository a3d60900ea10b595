"""Learning-rate schedules: warm-ups, decays, and a cool-down.

Steps are updates. If an optimizer accumulates gradients, `compile` of a task ensures this (`count_updates`).
"""

import typing

import keras

from keras_transformers.backends.types import Tensor


@keras.saving.register_keras_serializable(package="keras_transformers")
class InverseSquareRoot(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to `peak`, then `peak * sqrt(warmup_steps / step)`.

    The original Transformer has this schedule with `peak = hidden_dim ** -0.5 * warmup_steps ** -0.5` and 4000 warm-up
    steps.

    Args:
        peak: the highest learning rate, reached at `warmup_steps`.
        warmup_steps: the number of warm-up steps; 0 for no warm-up, and then `peak / sqrt(step)`.
        initial: the learning rate at the start of the warm-up. The first update is already one step into the warm-up,
            so that it is not lost at 0.

    Raises:
        ValueError: if `peak` is not positive, or `warmup_steps` or `initial` negative.

    Example:
        >>> schedule = InverseSquareRoot(peak=1e-3, warmup_steps=4000)
        >>> keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9)

    Source: Vaswani et al. 2017, section 5.3, equation 3.
    """

    def __init__(self, peak: float, warmup_steps: int, initial: float = 0.0) -> None:
        if not peak > 0:
            raise ValueError(
                f"Expected peak > 0, got {peak}. It is the highest learning rate; 1e-3 suits small models."
            )
        if warmup_steps < 0 or initial < 0:
            raise ValueError(
                f"Expected warmup_steps and initial of at least 0, got warmup_steps={warmup_steps}, initial={initial}."
            )
        self.peak, self.warmup_steps, self.initial = float(peak), int(warmup_steps), float(initial)

    def __call__(self, step: Tensor) -> Tensor:
        """The learning rate, float32 scalar, for the update after `step` updates (from 0)."""
        step = keras.ops.cast(step, "float32") + 1.0
        warmup_steps = float(max(self.warmup_steps, 1))
        rising = self.initial + (self.peak - self.initial) * step / warmup_steps
        falling = self.peak * keras.ops.sqrt(warmup_steps / step)
        return keras.ops.where(step < warmup_steps, rising, falling)

    def get_config(self) -> dict[str, typing.Any]:
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "initial": self.initial}


@keras.saving.register_keras_serializable(package="keras_transformers")
class CoolDown(keras.optimizers.schedules.LearningRateSchedule):
    """Follows another schedule, then falls linearly to zero over the last steps.

    The small steps at the end reduce the noise of the large ones, so that the last weights need no averaging. A run of
    another length can begin its cool-down at any checkpoint.

    Args:
        schedule: a `LearningRateSchedule`, or a number.
        total_steps: the number of steps of the training; the learning rate is 0 after it.
        cool_down_steps: the number of last steps over which it falls.

    Raises:
        ValueError: if `cool_down_steps` is below 1 or above `total_steps`.

    Example:
        >>> batches = translation_batches(english, french, tokenizer=tokenizer)
        >>> schedule = CoolDown(InverseSquareRoot(1e-3, 4000), 20 * len(batches), 5 * len(batches))
        >>> model.compile(keras.optimizers.Adam(schedule))
        >>> model.fit(batches, epochs=20)

    Source: Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations", section 3.
    """

    def __init__(
        self, schedule: keras.optimizers.schedules.LearningRateSchedule | float, total_steps: int, cool_down_steps: int
    ) -> None:
        if not 1 <= cool_down_steps <= total_steps:
            raise ValueError(
                "Expected cool_down_steps from 1 to total_steps, got "
                f"cool_down_steps={cool_down_steps}, total_steps={total_steps}."
            )
        self.schedule, self.total_steps, self.cool_down_steps = schedule, int(total_steps), int(cool_down_steps)

    def __call__(self, step: Tensor) -> Tensor:
        """The learning rate, float32 scalar, for the update after `step` updates (from 0)."""
        rate = self.schedule(step) if callable(self.schedule) else self.schedule
        left = (self.total_steps - keras.ops.cast(step, "float32")) / self.cool_down_steps
        return rate * keras.ops.clip(left, 0.0, 1.0)

    def get_config(self) -> dict[str, typing.Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "total_steps": self.total_steps,
            "cool_down_steps": self.cool_down_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, typing.Any]) -> typing.Self:
        return cls(**config | {"schedule": keras.saving.deserialize_keras_object(config["schedule"])})


@keras.saving.register_keras_serializable(package="keras_transformers")
class LinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to `peak`, then falls linearly to zero.

    Args:
        peak: the highest learning rate.
        total_steps: the step at which the rate is 0 again; None to let each `fit` of a task set its length. Until then
            the rate stays at its peak.
        warmup: the share of the steps in which it rises.

    Raises:
        ValueError: if `peak` is not positive, `total_steps` is below 1, or `warmup` is outside of `[0, 1)`.

    Source: Devlin et al. 2019, appendix A.2.
    """

    def __init__(self, peak: float, total_steps: int | None = None, warmup: float = 0.1) -> None:
        if not peak > 0 or not 0 <= warmup < 1 or (total_steps is not None and total_steps < 1):
            raise ValueError(
                f"Expected peak > 0, total_steps None or at least 1, and warmup in [0, 1), got {peak=}, "
                f"{total_steps=}, {warmup=}."
            )
        self.peak, self.total_steps, self.warmup = float(peak), total_steps, float(warmup)
        self.follows, self.first_step = total_steps is None, 0

    def follow(self, total_steps: int, first_step: int = 0) -> bool:
        """Set the length of a training and its first step in the optimizer, if the schedule has no length of its own.
        Returns whether that changes anything."""
        changes = self.follows and (total_steps, first_step) != (self.total_steps, self.first_step)
        if changes:
            self.total_steps, self.first_step = total_steps, first_step
        return changes

    def __call__(self, step: Tensor) -> Tensor:
        """The learning rate, float32 scalar, for the update after `step` updates (from 0)."""
        if self.total_steps is None:
            return keras.ops.convert_to_tensor(self.peak, "float32")
        step = keras.ops.cast(step, "float32") - self.first_step
        warmup_steps = max(self.warmup * self.total_steps, 1.0)
        rising = (step + 1.0) / warmup_steps
        falling = (self.total_steps - step) / max(self.total_steps - warmup_steps, 1.0)
        return self.peak * keras.ops.clip(keras.ops.minimum(rising, falling), 0.0, 1.0)

    def get_config(self) -> dict[str, typing.Any]:
        return {
            "peak": self.peak,
            "total_steps": None if self.follows else self.total_steps,
            "warmup": self.warmup,
        }


@keras.saving.register_keras_serializable(package="keras_transformers")
class PerUpdate(keras.optimizers.schedules.LearningRateSchedule):
    """Follows a schedule that counts updates, for an optimizer that counts batches.

    Args:
        schedule: a `LearningRateSchedule`.
        batches: the number of batches of an update: the optimizer's `gradient_accumulation_steps`.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, batches: int) -> None:
        self.schedule, self.batches = schedule, batches

    def __call__(self, step: Tensor) -> Tensor:
        """The learning rate, float32 scalar, for the update to which the batch after `step` batches (from 0) adds."""
        return self.schedule(step // self.batches)

    def get_config(self) -> dict[str, typing.Any]:
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "batches": self.batches}

    @classmethod
    def from_config(cls, config: dict[str, typing.Any]) -> typing.Self:
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["batches"])


def count_updates(optimizer: keras.optimizers.Optimizer) -> None:
    """Make the optimizer's schedule, if it has one, count updates, by wrapping it in place. If gradients are
    accumulated, Keras counts batches instead, and a warm-up would end after a fraction of its steps."""
    batches, schedule = optimizer.gradient_accumulation_steps, optimizer._learning_rate
    if batches and isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        if not isinstance(schedule, PerUpdate):
            optimizer.learning_rate = PerUpdate(schedule, batches)
