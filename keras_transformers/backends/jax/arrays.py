"""Array operations on JAX: those of `keras.ops`, and the values of arrays outside of tracing."""

import typing

import jax
import numpy as np

from keras_transformers.backends.default.arrays import *  # noqa: F403


def known_values(x: typing.Any) -> np.ndarray | None:
    """The values of a tensor; None if they are not computed yet, or are on another device."""
    if isinstance(x, np.ndarray):
        return x
    known = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer) and x.is_fully_addressable
    return np.asarray(x) if known else None
