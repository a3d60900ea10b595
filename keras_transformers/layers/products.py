"""A product of matrices that XLA computes well on a processor.

XLA copies the right operand of a product into another order first. Where that is the large one, a vocabulary or the
keys of a cache, and is read for a few rows, the copy takes longer than the product: in float32, 8 vectors times 49,152
rows of 576 took 18 ms as `x Mᵀ` and 11 as `(M xᵀ)ᵀ`. For many rows what follows pays for a result that lies the other
way: training, and beams of 32 sentences, became slower.
"""

import keras
from keras import ops

FEW = 16  # rows


def packs_right(rows):
    """Whether the right operand is better turned to the left for so many rows: by JAX on a processor, for a few.

    One row needs no order. `rows` is None where it is not known.
    """
    if keras.backend.backend() != "jax" or not isinstance(rows, int) or not 1 < rows <= FEW:
        return False
    import jax

    return jax.default_backend() == "cpu"


def turned_round(subscripts, left, right):
    """`einsum` of two operands in this order, whatever follows: without the barrier XLA folds a transposition that does
    back into the product."""
    import jax

    return jax.lax.optimization_barrier(ops.einsum(subscripts, left, right))
