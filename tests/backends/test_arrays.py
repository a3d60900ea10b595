import numpy as np
import pytest
from keras import ops

from keras_transformers.backends import arrays


@pytest.mark.parametrize("size", [9, 2048, 2500])
def test_top_k_and_the_normalizer_of_few_and_many_values(size):
    x = np.random.default_rng(0).normal(size=(3, size)).astype("float32")
    x[0, 1:8] = -np.inf  # ruled out
    x[1] = np.floor(x[1] * 2)  # equal values
    x[2, [0, -1]] = 9, 8  # the first block, and what is in none
    tensor = arrays.tensor(x)
    values, indices = map(ops.convert_to_numpy, arrays.top_k(tensor, 8))
    np.testing.assert_array_equal(values, -np.sort(-x)[:, :8])
    np.testing.assert_array_equal(np.take_along_axis(x, indices.astype(int), axis=1), values)
    assert all(len(set(row)) == 8 for row in indices.tolist())
    expected = np.log(np.exp(x.astype("float64")).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(ops.convert_to_numpy(arrays.log_normalizer(tensor)), expected, rtol=1e-6)
