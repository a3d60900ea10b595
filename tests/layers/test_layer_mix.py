"""`LayerMix` beside its definition in NumPy."""

import numpy as np
import pytest
from keras import ops

from keras_transformers.layers.layer_mix import LayerMix


def nearest_in_simplex(z):
    """Sparsemax by bisection: the threshold at which the weights sum to 1."""
    low, high = z.min() - 1, z.max()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(z - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(z - high, 0)


@pytest.mark.parametrize("transformation", ["softmax", "sparsemax"])
def test_layer_mix(transformation):
    states = np.random.default_rng(0).normal(2.0, 3.0, (5, 2, 4, 6)).astype("float32")
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool)
    numbers = np.array([0.1, 1.2, -0.5, 0.9, 1.0], "float32")
    layer = LayerMix(transformation, layer_norm=True)
    layer(list(states), mask)
    layer.set_weights([numbers[:, None], np.array([1.5], "float32")])
    weights = np.exp(numbers) / np.exp(numbers).sum() if transformation == "softmax" else nearest_in_simplex(numbers)
    assert (weights == 0).any() == (transformation == "sparsemax")
    expected = np.zeros_like(states[0])
    for row, seen in enumerate(mask):
        for weight, state in zip(weights, states[:, row], strict=True):
            real = state[seen]
            expected[row] += 1.5 * weight * (state - real.mean()) / np.sqrt(real.var() + 1e-12)
    found = ops.convert_to_numpy(layer(list(states), mask))
    assert np.abs(found - expected)[mask].max() < 1e-5 * np.abs(expected).max()


@pytest.mark.one_backend("torch")
def test_an_unknown_transformation_is_refused():
    with pytest.raises(ValueError, match="softmax, sparsemax, got 'entmax'"):
        LayerMix("entmax")
