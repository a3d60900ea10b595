"""Transposed products: matrix products in the order that is fast with XLA on a CPU.

XLA first copies the right operand of a product into another order. If it is the large operand (a vocabulary, the keys
of a cache or a kernel) and there are few rows, the copy takes longer than the product: in float32, 8 vectors times
49,152 rows of 576 took 18 ms as `x Mᵀ` and 11 ms as `(M xᵀ)ᵀ`. For many rows a transposed result slows down the
operations that follow: training, and beams of 32 sentences, became slower.

A kernel `[in, out]` must be transposed first, once for all steps of a generation: see `copies`.
"""

import contextlib
import contextvars
import functools
import math
import typing
import weakref
from collections.abc import Callable, Iterator, Sequence

import jax
import keras
from keras import ops

from keras_transformers.backends.default.execution import Cache, Step, kept, variables_of
from keras_transformers.backends.types import Tensor

FEW = 16  # rows, of a vocabulary or keys
FEW_OF_KERNELS = 64

FindTransposed: typing.TypeAlias = Callable[[typing.Any], Tensor | None]

find: contextvars.ContextVar[FindTransposed | None] = contextvars.ContextVar("find", default=None)
"""The function with which `dense` finds the transposed copy of a kernel: see `kernels_from`."""


def query_key(query_BKQH: Tensor, key_BKSH: Tensor) -> Tensor | None:
    """The products of few queries and many keys, `[B, K, Q, S]`; None for many queries."""
    if not are_few(query_BKQH.shape[2], FEW):
        return None
    return ops.swapaxes(_in_this_order("bksh,bkqh->bksq", key_BKSH, query_BKQH), 2, 3)


@contextlib.contextmanager
def kernels_from(function: FindTransposed) -> Iterator[None]:
    """While active, `dense` calls `function(kernel)` for few rows, where `kernel` is a variable `[in, out]`. It returns
    a transposed copy `[out, in]`; None means: use the kernel."""
    token = find.set(function)
    try:
        yield
    finally:
        find.reset(token)


def copies(model: typing.Any, step: Step, shape: Sequence[int], cache: Cache) -> dict[int, Tensor]:
    """Transposed copies `[out, in]` of the kernels that `step` multiplies with few rows on a CPU, by their index among
    the variables. A copy lives as long as its weight.

    `shape` is the shape of the token ids.
    """
    if model is None or not are_few(math.prod(shape), FEW_OF_KERNELS):
        return {}
    variables = variables_of(model)

    def asked() -> typing.Any:
        found = set()
        with keras.StatelessScope(), kernels_from(lambda kernel: found.add(id(kernel))):
            # Use a new function: JAX keeps its trace, including weights, as long as the function lives.
            jax.eval_shape(lambda *arguments: step(*arguments), jax.ShapeDtypeStruct(shape, "int32"), cache)
        return [place for place, variable in enumerate(variables) if id(variable) in found]

    made = kept(model, (), "transposed", dict)  # by identity: a copy is freed with its weight

    def copy(value: typing.Any) -> typing.Any:
        key = id(value)
        if key not in made:
            made[key] = value.T, weakref.ref(value, lambda _: made.pop(key, None))
        return made[key][0]

    places = kept(model, variables, (step, "asked"), asked)
    return {place: copy(variables[place].value) for place in places}


@functools.cache
def compiler_options() -> dict[str, str]:
    """Options of `jax.jit` for a function that multiplies many rows with kernels `[in, out]`, and no vocabulary.

    XLA has two ways to multiply on a CPU. The default is 6 to 20 % slower for these products, but up to three times as
    fast for a matrix `[out, in]` such as a vocabulary. Other versions of XLA may not know the option.
    """
    if not _on_a_processor():
        return {}
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda x: x, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:
        return {}
    return options


def are_few(rows: int | None, few: int) -> bool:
    """Whether the right operand should be on the left for this number of rows: if there are few, on a CPU.

    One row needs no order. `rows` is None if unknown.
    """
    return isinstance(rows, int) and 1 < rows <= few and _on_a_processor()


def _in_this_order(subscripts: str, left: Tensor, right: Tensor) -> Tensor:
    """`einsum` of two operands in this order. Without the barrier, XLA folds a later transposition back into the
    product."""
    return jax.lax.optimization_barrier(ops.einsum(subscripts, left, right))


def from_the_left(matrix: Tensor, inputs: Tensor) -> Tensor:
    """`inputs [..., in]` times `matrix [out, in]`: `[..., out]`."""
    rows = math.prod(inputs.shape[:-1])
    outputs = _in_this_order("oi,ri->or", matrix, ops.reshape(inputs, (rows, inputs.shape[-1])))
    return ops.reshape(ops.transpose(outputs), (*inputs.shape[:-1], -1))


@functools.cache
def _on_a_processor() -> bool:
    return jax.default_backend() == "cpu"
