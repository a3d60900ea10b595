"""Products of matrices in the order that XLA computes well on a processor.

XLA copies the right operand of a product into another order first. If that is the large one, a vocabulary, the keys of
a cache or a kernel, and is read for a few rows, the copy takes longer than the product: in float32, 8 vectors times
49,152 rows of 576 took 18 ms as `x Mᵀ` and 11 as `(M xᵀ)ᵀ`. For many rows the operations that follow pay for a result
that lies the other way: training, and beams of 32 sentences, became slower.

A kernel `[in, out]` has to be transposed first, once for all steps of a generation: see `transposed_kernels`.
"""

import contextlib
import contextvars
import functools
import math
import typing
from collections.abc import Callable, Iterator

import jax
import keras
from keras import ops

from keras_transformers.backends.default import products as default
from keras_transformers.backends.default.products import *  # noqa: F403
from keras_transformers.backends.default.products import is_plain
from keras_transformers.backends.types import Tensor

FEW = 16  # rows, of a vocabulary or keys
FEW_OF_KERNELS = 64

FindTransposed: typing.TypeAlias = Callable[[typing.Any], Tensor | None]

_find_transposed: contextvars.ContextVar[FindTransposed | None] = contextvars.ContextVar("transposed", default=None)


def dense(layer: typing.Any, inputs: Tensor, **options: typing.Any) -> Tensor:
    find, kernel = _find_transposed.get(), None
    if find is not None and is_plain(layer, keras.layers.Dense):
        plain = inputs.dtype == layer.kernel.dtype == layer.compute_dtype == "float32"
        few = _are_few(math.prod(inputs.shape[:-1]), FEW_OF_KERNELS)
        kernel = find(layer.kernel) if plain and few else None
    if kernel is None:
        return layer(inputs, **options)
    outputs = _from_the_left(kernel, inputs)
    return layer.activation(outputs if layer.bias is None else outputs + layer.bias)


def scores(token: typing.Any, inputs: Tensor) -> Tensor:
    rows = math.prod(inputs.shape[:-1]) if None not in inputs.shape else None
    if not (_are_few(rows, FEW) and is_plain(token, keras.layers.ReversibleEmbedding)):
        return default.scores(token, inputs)
    return _from_the_left(ops.cast(token.embeddings, inputs.dtype), inputs)


def query_key(query_BKQH: Tensor, key_BKSH: Tensor) -> Tensor | None:
    """The products of a few queries and many keys, `[B, K, Q, S]`; None for many queries."""
    if not _are_few(query_BKQH.shape[2], FEW):
        return None
    return ops.swapaxes(_in_this_order("bksh,bkqh->bksq", key_BKSH, query_BKQH), 2, 3)


@contextlib.contextmanager
def transposed_kernels(find: FindTransposed) -> Iterator[None]:
    """While active, `dense` calls `find(kernel)`, of a variable `[in, out]`, for a transposed copy `[out, in]` if a few
    rows are multiplied; None means: use the kernel."""
    token = _find_transposed.set(find)
    try:
        yield
    finally:
        _find_transposed.reset(token)


def are_few_for_kernels(rows: int) -> bool:
    """Whether so many rows are better multiplied with transposed kernels."""
    return _are_few(rows, FEW_OF_KERNELS)


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


def _are_few(rows: int | None, few: int) -> bool:
    """Whether the right operand is better put on the left for so many rows: for a few, on a processor.

    One row needs no order. `rows` is None if it is not known.
    """
    return isinstance(rows, int) and 1 < rows <= few and _on_a_processor()


def _in_this_order(subscripts: str, left: Tensor, right: Tensor) -> Tensor:
    """`einsum` of two operands in this order: without the barrier XLA folds a transposition that follows back into the
    product."""
    return jax.lax.optimization_barrier(ops.einsum(subscripts, left, right))


def _from_the_left(matrix: Tensor, inputs: Tensor) -> Tensor:
    """`inputs [..., in]` times `matrix [out, in]`: `[..., out]`."""
    rows = math.prod(inputs.shape[:-1])
    outputs = _in_this_order("oi,ri->or", matrix, ops.reshape(inputs, (rows, inputs.shape[-1])))
    return ops.reshape(ops.transpose(outputs), (*inputs.shape[:-1], -1))


@functools.cache
def _on_a_processor() -> bool:
    return jax.default_backend() == "cpu"
