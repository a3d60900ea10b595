"""Array operations on TensorFlow: those of `keras.ops`, and the values of arrays outside of a graph."""

import typing

import numpy as np

from keras_transformers.backends.default.arrays import *  # noqa: F403


def known_values(x: typing.Any) -> np.ndarray | None:
    """The values of a tensor; None if they are not computed yet, or are on another device."""
    if isinstance(x, np.ndarray):
        return x
    return x.numpy() if hasattr(x, "numpy") and type(x).__name__ == "EagerTensor" else None
