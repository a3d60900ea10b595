"""Products of matrices in the order that XLA computes well on a processor.

XLA copies the right operand of a product into another order first. If that is the large one, a vocabulary, the keys of
a cache or a kernel, and is read for a few rows, the copy takes longer than the product: in float32, 8 vectors times
49,152 rows of 576 took 18 ms as `x Mᵀ` and 11 as `(M xᵀ)ᵀ`. For many rows the operations that follow pay for a result
that lies the other way: training, and beams of 32 sentences, became slower.

A kernel `[in, out]` has to be transposed first, once for all steps of a generation: see `copies`.
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
"""How `dense` finds the transposed copy of a kernel: see `kernels_from`."""


def query_key(query_BKQH: Tensor, key_BKSH: Tensor) -> Tensor | None:
    """The products of a few queries and many keys, `[B, K, Q, S]`; None for many queries."""
    if not are_few(query_BKQH.shape[2], FEW):
        return None
    return ops.swapaxes(_in_this_order("bksh,bkqh->bksq", key_BKSH, query_BKQH), 2, 3)


@contextlib.contextmanager
def kernels_from(function: FindTransposed) -> Iterator[None]:
    """While active, `dense` calls `function(kernel)`, of a variable `[in, out]`, for a transposed copy `[out, in]` if a
    few rows are multiplied; None means: use the kernel."""
    token = find.set(function)
    try:
        yield
    finally:
        find.reset(token)


def copies(model: typing.Any, step: Step, shape: Sequence[int], cache: Cache) -> dict[int, Tensor]:
    """The kernels that `step` multiplies a few rows with, `[out, in]`, as XLA reads them on a processor: copies by
    their place among the variables, which live as long as the weights do.

    `shape` is that of the token ids.
    """
    if model is None or not are_few(math.prod(shape), FEW_OF_KERNELS):
        return {}
    variables = variables_of(model)

    def asked() -> typing.Any:
        found = set()
        with keras.StatelessScope(), kernels_from(lambda kernel: found.add(id(kernel))):
            # A function of its own: JAX keeps what it traced, weights among it, as long as the function lives.
            jax.eval_shape(lambda *arguments: step(*arguments), jax.ShapeDtypeStruct(shape, "int32"), cache)
        return [place for place, variable in enumerate(variables) if id(variable) in found]

    made = kept(model, (), "transposed", dict)  # by the weights' identity: a weight takes its copy with it

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

    XLA has two ways to multiply on a processor. The one it takes by itself is 6 to 20 % slower for these products, but
    up to three times as fast for a matrix that lies `[out, in]`, as a vocabulary does. Another version of XLA may not
    know the option.
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
    """Whether the right operand is better put on the left for so many rows: for a few, on a processor.

    One row needs no order. `rows` is None if it is not known.
    """
    return isinstance(rows, int) and 1 < rows <= few and _on_a_processor()


def _in_this_order(subscripts: str, left: Tensor, right: Tensor) -> Tensor:
    """`einsum` of two operands in this order: without the barrier XLA folds a transposition that follows back into the
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
