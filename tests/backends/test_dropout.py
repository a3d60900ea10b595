"""Masks of dropout: as many as asked for, alike under a seed, and otherwise without a pattern."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformers.layers.dropout import Dropout


def mask(layer, shape):
    """Which elements a call keeps, float64 0 or 1."""
    x = ops.convert_to_numpy(layer(np.ones(shape, "float32"), training=True))
    kept = x != 0
    np.testing.assert_allclose(x[kept], 1 / (1 - layer.rate), rtol=1e-6)
    return kept.astype("float64")


def test_the_share_that_is_dropped_and_no_pattern():
    shape, rate = (64, 128, 96), 0.1
    layer, other = Dropout(rate, seed=1), Dropout(rate, seed=20011)
    masks = [mask(layer, shape), mask(layer, shape), mask(other, shape)]
    allowed = 5 / np.sqrt(np.prod(shape))  # five standard deviations of a correlation of independent draws
    for each in masks:
        assert abs(each.mean() - (1 - rate)) < allowed
        z = (each - each.mean()) / each.std()
        for axis in range(3):  # rows, positions and channels by themselves, and neighbours on each
            means = z.mean(tuple(other for other in range(3) if other != axis))
            assert np.abs(means).max() < allowed * np.sqrt(shape[axis])
            assert abs((z * np.roll(z, 1, axis)).mean()) < allowed
    for first, second in ((0, 1), (0, 2), (1, 2)):  # the next step, and another layer
        assert abs(np.corrcoef(masks[first].ravel(), masks[second].ravel())[0, 1]) < allowed
        shifted = np.roll(masks[first].ravel(), 1)
        assert abs(np.corrcoef(shifted, masks[second].ravel())[0, 1]) < allowed


def test_a_seed_repeats_itself():
    first, second = Dropout(0.5, seed=7), Dropout(0.5, seed=7)
    for _ in range(2):
        np.testing.assert_array_equal(mask(first, (8, 32)), mask(second, (8, 32)))


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_types_and_inference(dtype):
    layer = Dropout(0.5, dtype=dtype)
    x = np.ones((4, 8), "float32")
    assert keras.backend.standardize_dtype(layer(x, training=True).dtype) == layer.compute_dtype
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(layer(x), "float32")), x)
