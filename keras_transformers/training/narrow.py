"""Training of rounded weights, bfloat16, float16 or quantized: the optimizer keeps a float32 copy (master weight) of
each.

In bfloat16, the 0.999 of Adam is 1, and a step of 5e-5 on a weight of 0.02 is less than half of the distance to the
next number: without copies such weights move wrongly or not at all, differently on each backend. So an optimizer gets a
float32 copy of each weight. Its moments and averages are float32 too, and the weight is the rounded copy:

    gradient ──► float32 ──► the optimizer, as it is ──► copy ──► rounded ──► weight

If a weight was set from outside, so that it no longer equals its rounded copy, the copy continues from the weight.

In quantization-aware training a weight is rounded to the int8 numbers of a `Grid`, as a dtype rounds it. The gradient
of the rounded weight moves the copy: that is the straight-through estimator.

Source: Micikevicius et al. 2018, "Mixed Precision Training", section 3.1; Bengio et al. 2013, section 4 (straight-
through estimator).
"""

from collections.abc import Iterable, Mapping, Sequence

import keras
from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.transforms.grids import Grid


def keep_in_float32(
    optimizer: keras.optimizers.Optimizer,
    variables: Iterable[keras.Variable],
    grids: Mapping[int, Grid] | None = None,
) -> None:
    """Make an optimizer keep float32 copies of the bfloat16 and float16 weights among `variables`, and of those that
    `grids` names by `id(variable)`, if there are any. It is changed in place.

    Raises:
        ValueError: for an optimizer that was already built on such weights, or was given other grids.
    """
    grids = grids or {}
    earlier = getattr(vars(optimizer).get("stateless_apply"), "__self__", None)
    if isinstance(earlier, _Copies) and earlier.grids != grids:
        raise ValueError(
            "Expected a new optimizer for another quantization_aware, or other weights, than it was compiled with, got "
            "the same one, which would round weights as before. Make it anew for compile."
        )
    rounded = [each for each in variables if _is_narrow(each) or id(each) in grids]
    if not rounded or earlier is not None:
        return
    if optimizer.built:
        kind = "quantized weights" if id(rounded[0]) in grids else f"weights of {rounded[0].dtype}"
        raise ValueError(f"Expected a new optimizer for {kind}, got one that has been built. Make it anew for compile.")
    copies = _Copies(optimizer, grids)
    for name in ("build", "apply", "stateless_apply", "finalize_variable_values"):
        setattr(optimizer, name, getattr(copies, name))


def _is_narrow(variable: keras.Variable) -> bool:
    return variable.dtype in ("bfloat16", "float16")


class _Copies:
    """The methods of an optimizer, each with float32 copies in place of rounded weights."""

    def __init__(self, optimizer: keras.optimizers.Optimizer, grids: Mapping[int, Grid]) -> None:
        self._optimizer, self.grids = optimizer, grids
        self._weights: list[keras.Variable] = []
        self._copies: dict[int, keras.Variable] = {}

    def build(self, var_list: Iterable[keras.Variable]) -> None:
        optimizer = self._optimizer
        if optimizer.built:
            return
        self._weights = list(var_list)
        rounded = [each for each in self._weights if _is_narrow(each) or id(each) in self.grids]
        self._copies = {id(each): self._copy(each) for each in rounded}
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
            copy.assign(ops.where(self._is_fresh(weight, fine, value), fine, ops.cast(value, "float32")))
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
            initializer=lambda shape, dtype=None: ops.copy(ops.cast(weight, "float32")),
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

    def _rounded(self, weight: keras.Variable, copy: Tensor) -> Tensor:
        grid = self.grids.get(id(weight))
        return ops.cast(copy if grid is None else grid.round(copy), weight.dtype)

    def _is_fresh(self, weight: keras.Variable, copy: Tensor, value: Tensor) -> Tensor:
        """Whether each number of a weight is the rounded one of its copy: exactly, or, on a grid, up to the errors of
        a product, far less than the distance of two numbers."""
        rounded = self._rounded(weight, copy)
        if id(weight) not in self.grids:
            return ops.equal(rounded, value)
        return ops.abs(rounded - value) <= 1e-5 * ops.max(ops.abs(value))

    def _round(self, variables: Iterable[keras.Variable]) -> None:
        for weight, copy in self._pairs(variables):
            weight.assign(self._rounded(weight, ops.convert_to_tensor(copy)))
