"""Vectors of texts: pooling, and the layers after it, compared with NumPy."""

import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import LayerNorm, Normalize, Pooler, Projection
from keras_transformers.layers.heads import VECTOR_POOLINGS
from keras_transformers.layers.projections import make_step, make_steps, width_after

STATES = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("float32")
REAL = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
POOLED = REAL & np.array([0, 1, 1, 1, 1], bool)


def pooled(states, real, of, pooling):
    """One text's vector."""
    if not of.any():
        return np.zeros(states.shape[-1])
    chosen, places = states[of].astype("float64"), np.cumsum(real)[of][:, None]
    return {
        "first": chosen[0],
        "last": chosen[-1],
        "mean": chosen.mean(0),
        "max": chosen.max(0),
        "mean_sqrt_length": chosen.sum(0) / np.sqrt(len(chosen)),
        "weighted_mean": (chosen * places).sum(0) / places.sum(),
    }[pooling]


@pytest.mark.parametrize("pooling", VECTOR_POOLINGS)
def test_poolings(pooling):
    pooler = Pooler(pooling)
    for masks, real, of in (
        ({}, np.ones_like(REAL), np.ones_like(REAL)),
        ({"padding_mask": REAL, "pooling_mask": POOLED}, REAL, POOLED),
        ({"padding_mask": REAL}, REAL, REAL),
    ):
        vectors = ops.convert_to_numpy(pooler(STATES, **masks))
        expected = np.array([pooled(*each, pooling) for each in zip(STATES, real, of, strict=True)])
        rows = slice(2) if pooling == "first" and masks.keys() == {"padding_mask"} else slice(None)  # it is at 0
        np.testing.assert_allclose(vectors[rows], expected[rows], atol=1e-5)


def test_several_poolings_are_concatenated():
    pooler = Pooler(["max", "mean"])
    assert pooler.pooling == ("max", "mean") and pooler.compute_output_shape((4, 5, 6)) == (4, 12)
    vectors = ops.convert_to_numpy(pooler(STATES, padding_mask=REAL))
    parts = [ops.convert_to_numpy(Pooler(each)(STATES, padding_mask=REAL)) for each in ("max", "mean")]
    np.testing.assert_allclose(vectors, np.concatenate(parts, -1), atol=1e-6)
    for poolings, message in ((["mean", "sum"], "got 'sum'"), ([], "one or several poolings of first, .*, got none")):
        with pytest.raises(ValueError, match=message):
            Pooler(poolings)


def test_steps():
    records = (Projection(4, "tanh", residual=True), LayerNorm(), Projection(4, None, False, True), Normalize())
    layers = make_steps(records, 6)
    assert width_after(records, 6) == 4
    weights = [weight.path for layer in layers for weight in layer.weights]
    expected = ["projection_0/dense/kernel", "projection_0/dense/bias", "projection_0/residual/kernel"]
    assert weights == [*expected, "projection_1/gamma", "projection_1/beta", "projection_2/dense/kernel"]
    x = STATES[:, 0]
    kernel, bias, residual, kernel_2 = (
        ops.convert_to_numpy(layers[n].weights[m]) for n, m in ((0, 0), (0, 1), (0, 2), (2, 0))
    )
    y = np.tanh(x @ kernel + bias) + x @ residual
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5)
    y = y @ kernel_2 + y
    for layer in layers:
        assert layer.compute_output_shape(x.shape)[:1] == x.shape[:1]
        x = layer(x)
    np.testing.assert_allclose(ops.convert_to_numpy(x), y / np.linalg.norm(y, axis=-1, keepdims=True), atol=1e-5)
    with pytest.raises(ValueError, match="Expected a Projection, LayerNorm or Normalize record, got 3"):
        make_step(3)
    with pytest.raises(ValueError, match="Expected activation to be None or one of .*, got 'tan' .did you mean 'tanh'"):
        Projection(4, "tan")
