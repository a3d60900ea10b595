"""Gradient checkpointing: a layer's activations are not stored for the backward pass, but computed again there."""

import typing
from collections.abc import Callable, Sequence

import keras

from keras_transformers.backends.types import Tensor


def rematerialized(
    function: Callable[..., typing.Any],
    variables: Sequence[keras.Variable],
    *arguments: typing.Any,
    add_loss: Callable[[Tensor], None] | None = None,
) -> typing.Any:
    """Call `function(*arguments)`, and compute it again in the backward pass instead of storing its activations.

    Args:
        function: a function. It may read and assign `variables`, and draw from random generators whose states are among
            them: the second call draws the same numbers as the first.
        variables: Keras variables; gradients flow to them.
        arguments: nested tensors; gradients flow to float tensors. Other values are passed on unchanged. On TensorFlow
            tensors in the closure of `function` get no gradient: pass them as arguments.
        add_loss: `Layer.add_loss` of the layer that receives the losses that layers add inside `function`.

    Returns: the result of `function`.

    Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
    """
    values = [_as_it_is_now(variable.value) for variable in variables]
    leaves = keras.tree.flatten((values, arguments))
    floats = [n for n, leaf in enumerate(leaves) if _is_float(leaf)]
    assigned: list[keras.Variable] = []

    def pure(*given: Tensor) -> tuple[typing.Any, list[Tensor], list[Tensor]]:
        filled = list(leaves)
        for n, value in zip(floats, given, strict=True):
            filled[n] = value
        known, passed = keras.tree.pack_sequence_as((values, arguments), filled)
        scope = keras.StatelessScope(state_mapping=list(zip(variables, known, strict=True)), collect_losses=True)
        before = [scope.get_current_value(variable) for variable in variables]
        with scope:
            result = function(*passed)
        after = [scope.get_current_value(variable) for variable in variables]
        new = [n for n, (old, value) in enumerate(zip(before, after, strict=True)) if value is not old]
        assigned[:] = [variables[n] for n in new]
        return result, [after[n] for n in new], scope.losses

    result, states, losses = keras.remat(pure)(*(leaves[n] for n in floats))
    for variable, state in zip(assigned, states, strict=True):
        variable.assign(state)
    if add_loss is not None:
        for loss in losses:
            add_loss(keras.ops.convert_to_tensor(loss))
    return result


def _as_it_is_now(value: Tensor) -> Tensor:
    """A copy of a random generator's state, a vector of integers: TensorFlow would read the variable later."""
    return value if _is_float(value) or len(value.shape) > 1 else value * 1


def _is_float(leaf: typing.Any) -> bool:
    return keras.ops.is_tensor(leaf) and "float" in keras.backend.standardize_dtype(leaf.dtype)
