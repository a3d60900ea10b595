"""Training of bfloat16 or float16 weights: the optimizer keeps a float32 copy (master weight) of each.

In bfloat16, the 0.999 of Adam is 1, and a step of 5e-5 on a weight of 0.02 is less than half of the distance to the
next number: without copies such weights move wrongly or not at all, differently on each backend. So an optimizer gets a
float32 copy of each weight. Its moments and averages are float32 too, and the weight is the rounded copy:

    gradient ──► float32 ──► the optimizer, as it is ──► copy ──► rounded ──► weight

If a weight was set from outside, so that it no longer equals its rounded copy, the copy continues from the weight.

Source: Micikevicius et al. 2018, "Mixed Precision Training", section 3.1.
"""

from collections.abc import Iterable, Sequence

import keras
from keras import ops

from keras_transformers.backends.types import Tensor


def keep_in_float32(optimizer: keras.optimizers.Optimizer, variables: Iterable[keras.Variable]) -> None:
    """Make an optimizer keep float32 copies of the bfloat16 and float16 weights among `variables`, if there are any. It
    is changed in place.

    Raises:
        ValueError: for an optimizer that was already built on such weights.
    """
    done = "stateless_apply" in vars(optimizer)
    if done or not any(map(_is_narrow, variables)):
        return
    if optimizer.built:
        raise ValueError(
            f"Expected a new optimizer for weights of {next(filter(_is_narrow, variables)).dtype}, got one that has "
            "been built. Make it anew for compile."
        )
    copies = _Copies(optimizer)
    for name in ("build", "apply", "stateless_apply", "finalize_variable_values"):
        setattr(optimizer, name, getattr(copies, name))


def _is_narrow(variable: keras.Variable) -> bool:
    return variable.dtype in ("bfloat16", "float16")


class _Copies:
    """The methods of an optimizer, each with float32 copies in place of narrow weights."""

    def __init__(self, optimizer: keras.optimizers.Optimizer) -> None:
        self._optimizer = optimizer
        self._weights: list[keras.Variable] = []
        self._copies: dict[int, keras.Variable] = {}

    def build(self, var_list: Iterable[keras.Variable]) -> None:
        optimizer = self._optimizer
        if optimizer.built:
            return
        self._weights = list(var_list)
        self._copies = {id(each): self._copy(each) for each in self._weights if _is_narrow(each)}
        excluded: set[str] = getattr(optimizer, "_exclude_from_weight_decay", set())
        for weight, copy in self._pairs(self._weights):
            if optimizer._var_key(weight) in excluded:
                excluded.add(optimizer._var_key(copy))
        type(optimizer).build(optimizer, self._learnt(self._weights))

    def apply(self, grads: Sequence[Tensor], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        variables = self._weights if trainable_variables is None else list(trainable_variables)
        self.build(variables)
        for weight, copy in self._pairs(variables):
            fine, value = ops.convert_to_tensor(copy), ops.convert_to_tensor(weight)
            fresh = ops.equal(ops.cast(fine, weight.dtype), value)
            copy.assign(ops.where(fresh, fine, ops.cast(value, "float32")))
        gradients = [
            each if each is None or id(weight) not in self._copies else ops.cast(each, "float32")
            for each, weight in zip(grads, variables, strict=True)
        ]
        type(self._optimizer).apply(self._optimizer, gradients, self._learnt(variables))
        self._round(variables)

    def stateless_apply(
        self, optimizer_variables: Sequence[Tensor], grads: Sequence[Tensor], trainable_variables: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        state = [*self._weights, *self._optimizer.variables]
        values = zip(state, [*trainable_variables, *optimizer_variables], strict=True)
        with keras.StatelessScope(state_mapping=list(values)) as scope:
            self.apply(grads)
        new = [scope.get_current_value(each) for each in state]
        return new[: len(self._weights)], new[len(self._weights) :]

    def finalize_variable_values(self, var_list: Iterable[keras.Variable]) -> None:
        type(self._optimizer).finalize_variable_values(self._optimizer, self._learnt(var_list))
        self._round(var_list)

    def _copy(self, weight: keras.Variable) -> keras.Variable:
        copy = self._optimizer.add_variable(
            weight.shape,
            initializer=lambda shape, dtype=None: ops.cast(weight, "float32"),
            dtype="float32",
            layout=getattr(weight, "_layout", None),
            name=weight.name,
        )
        copy._path = weight.path  # some optimizers recognize embeddings by it
        return copy

    def _learnt(self, variables: Iterable[keras.Variable]) -> list[keras.Variable]:
        """Each variable, or its copy if it has one."""
        return [self._copies.get(id(each), each) for each in variables]

    def _pairs(self, variables: Iterable[keras.Variable]) -> list[tuple[keras.Variable, keras.Variable]]:
        return [(each, self._copies[id(each)]) for each in variables if id(each) in self._copies]

    def _round(self, variables: Iterable[keras.Variable]) -> None:
        for weight, copy in self._pairs(variables):
            weight.assign(ops.cast(copy, weight.dtype))
