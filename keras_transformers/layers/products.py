"""Products of matrices that XLA computes well on a processor.

XLA copies the right operand of a product into another order first. Where that is the large one, a vocabulary, the keys
of a cache or a kernel, and is read for a few rows, the copy takes longer than the product: in float32, 8 vectors times
49,152 rows of 576 took 18 ms as `x Mᵀ` and 11 as `(M xᵀ)ᵀ`. For many rows what follows pays for a result that lies the
other way: training, and beams of 32 sentences, became slower.

A kernel `[in, out]` has to be turned first, once for all steps of a generation: see `turned_kernels`.
"""

import contextlib
import contextvars
import functools
import math

import keras
from keras import ops

FEW = 16  # rows, of a vocabulary or keys
FEW_OF_KERNELS = 64

_on_jax = keras.backend.backend() == "jax"


def packs_right(rows, few=FEW):
    """Whether the right operand is better turned to the left for so many rows: by JAX on a processor, for a few.

    One row needs no order. `rows` is None where it is not known.
    """
    return isinstance(rows, int) and 1 < rows <= few and _by_jax_on_a_processor()


def turned_round(subscripts, left, right):
    """`einsum` of two operands in this order, whatever follows: without the barrier XLA folds a transposition that does
    back into the product."""
    import jax

    return jax.lax.optimization_barrier(ops.einsum(subscripts, left, right))


def from_the_left(matrix, inputs):
    """`inputs [..., in]` times `matrix [out, in]`: `[..., out]`."""
    rows = math.prod(inputs.shape[:-1])
    outputs = turned_round("oi,ri->or", matrix, ops.reshape(inputs, (rows, inputs.shape[-1])))
    return ops.reshape(ops.transpose(outputs), (*inputs.shape[:-1], -1))


def is_plain(layer, plain):
    """Whether a layer is just what it was made as: neither adapted nor quantized."""
    return type(layer) is plain and not layer.quantization_mode and not getattr(layer, "lora_enabled", False)


_turned: contextvars.ContextVar = contextvars.ContextVar("turned kernels", default=None)


@contextlib.contextmanager
def turned_kernels(find):
    """Have `dense` ask `find`, a function of a kernel `[in, out]`, a variable, to the same as a tensor `[out, in]` or
    None, where few rows are multiplied."""
    token = _turned.set(find)
    try:
        yield
    finally:
        _turned.reset(token)


def dense(layer, inputs, **options):
    """`layer(inputs, **options)`, of a `keras.layers.Dense` or what stands for one."""
    if not _on_jax:  # PyTorch's compiler knows no context variable
        return layer(inputs, **options)
    find, kernel = _turned.get(), None
    if find is not None and is_plain(layer, keras.layers.Dense):
        plain = inputs.dtype == layer.kernel.dtype == layer.compute_dtype == "float32"
        few = packs_right(math.prod(inputs.shape[:-1]), FEW_OF_KERNELS)
        kernel = find(layer.kernel) if plain and few else None
    if kernel is None:
        return layer(inputs, **options)
    outputs = from_the_left(kernel, inputs)
    return layer.activation(outputs if layer.bias is None else outputs + layer.bias)


@functools.cache
def _by_jax_on_a_processor():
    if not _on_jax:
        return False
    import jax

    return jax.default_backend() == "cpu"


@functools.cache
def compiler_options():
    """What to tell `jax.jit` of a function that multiplies many rows with kernels `[in, out]`, and no vocabulary.

    XLA has two ways to multiply on a processor. The one it takes by itself is 6 to 20 % slower for these products, but
    up to three times as fast where a matrix lies `[out, in]`, as a vocabulary does. Another version of XLA may not know
    the option.
    """
    if not _by_jax_on_a_processor():
        return {}
    import jax

    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda x: x, compiler_options=options)(0.0)
    except jax.errors.JaxRuntimeError:
        return {}
    return options
