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


def in_parts(
    function: Callable[[dict[str, Tensor]], Tensor],
    inputs: dict[str, Tensor],
    size: int,
    variables: Sequence[keras.Variable],
    add_loss: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Call `function` on a few rows at a time, and compute each part again in the backward pass. Only the activations
    of one part are held.

    Args:
        function: a function from inputs `[B, …]`, by name, to outputs `[B, D]`. See `rematerialized`.
        inputs: the inputs of all rows.
        size: the number of rows of a part.
        variables, add_loss: see `rematerialized`.

    Returns: the outputs of all rows.

    Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup".
    """

    def compute(part: dict[str, Tensor]) -> Tensor:
        return rematerialized(lambda: function(part), variables, add_loss=add_loss)

    rows = keras.ops.shape(next(iter(inputs.values())))[0]
    if isinstance(rows, int):
        begins = range(0, rows, size)
        parts = [{name: each[begin : begin + size] for name, each in inputs.items()} for begin in begins]
        return keras.ops.concatenate([compute(part) for part in parts], axis=0)
    # TensorFlow does not know the number of rows. The last part is filled up with the last row.
    places = keras.ops.minimum(keras.ops.arange((rows + size - 1) // size * size), rows - 1)
    places = keras.ops.reshape(places, (-1, size))
    outputs = keras.ops.map(compute, {name: keras.ops.take(each, places, axis=0) for name, each in inputs.items()})
    return keras.ops.reshape(outputs, (-1, outputs.shape[-1]))[:rows]


def _as_it_is_now(value: Tensor) -> Tensor:
    """A copy of a random generator's state, a vector of integers: TensorFlow would read the variable later."""
    return value if _is_float(value) or len(value.shape) > 1 else value * 1


def _is_float(leaf: typing.Any) -> bool:
    return keras.ops.is_tensor(leaf) and "float" in keras.backend.standardize_dtype(leaf.dtype)
