"""Additions to `compile` and `fit` of Keras: weight decay, schedules, and both in a `.keras` file."""

import typing

import keras

from keras_transformers.training.optimizers import parts
from keras_transformers.training.schedules import LinearDecay, PerUpdate


def without_decay(optimizer: keras.Optimizer, variables: list) -> keras.Optimizer:
    """Exclude norms and biases from the weight decay of an optimizer."""
    optimizer.exclude_from_weight_decay(var_list=[weight for weight in variables if len(weight.shape) < 2])
    return optimizer


def values(model: typing.Any) -> dict[str, typing.Any]:
    """The values that a `.keras` file needs besides the optimizer's configuration, which forgets the exclusions from
    weight decay."""
    optimizer = model._plain_optimizer() if model.compiled else None
    if optimizer is None:
        return {}
    decayed = {weight.path: optimizer._use_weight_decay(weight) for weight in model.trainable_variables}
    return {
        "not_decayed": [path for path, decays in decayed.items() if not decays],
        "rematerialize": any(stack.rematerialize for stack in model._stacks()),
        "quantization_aware": model.quantization_aware,
    }


def restore(model: typing.Any, config: dict[str, typing.Any]) -> None:
    """Compile a model with the configuration in a `.keras` file."""
    not_decayed = config.pop("not_decayed", ())
    model.compile(**keras.saving.deserialize_keras_object(config))
    weights = [weight for weight in model.trainable_variables if weight.path in not_decayed]
    if weights:
        model._plain_optimizer().exclude_from_weight_decay(var_list=weights)
    model.optimizer.build(model.trainable_variables)


def lengthen_schedules(model: typing.Any, total_steps: int, done: int) -> None:
    """Set the length of schedules without a length.

    Args:
        model: a compiled task.
        total_steps: the number of steps of this training.
        done: the number of its steps that are done.
    """
    for optimizer in parts(model.optimizer):
        schedule, batches = optimizer._learning_rate, optimizer.gradient_accumulation_steps or 1
        schedule = schedule.schedule if isinstance(schedule, PerUpdate) else schedule
        if isinstance(schedule, LinearDecay):
            # Count batches: an accumulated update may be half done.
            before = int(keras.ops.convert_to_numpy(optimizer._iterations)) - done
            first = before // batches
            if schedule.follow(max((before + total_steps) // batches - first, 1), first):
                model.train_function = None  # it was compiled with the old length
