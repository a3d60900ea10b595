import keras
import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import LayerNorm, RMSNorm, RMSNormalization
from keras_transformers.layers.norms import make_norm
from tests.layers.reference import fill, numbers, relative_error


def exact_norm(record, x, weights):
    x = x.astype("float64")
    if isinstance(record, LayerNorm):
        centred = x - x.mean(-1, keepdims=True)
        normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + record.epsilon)
        return normal * weights[0] + (weights[1] if record.use_bias else 0)
    normal = x / np.sqrt((x**2).mean(-1, keepdims=True) + record.epsilon)
    return normal * (weights[0] + (1 if record.unit_offset else 0))


@pytest.mark.parametrize(
    "record",
    [
        LayerNorm(),
        LayerNorm(1e-12),
        LayerNorm(0.1, use_bias=False),
        RMSNorm(),
        RMSNorm(0.1),
        RMSNorm(unit_offset=True),
    ],
)
def test_norms_are_what_numpy_computes(record):
    x = numbers((2, 5, 12), scale=0.3) + 1
    layer = make_norm(record, name="norm")
    layer.build(x.shape)
    first = layer(x)
    fill(layer)
    weights = [np.asarray(ops.convert_to_numpy(weight), "float64") for weight in layer.weights]
    assert len(weights) == (2 if record == LayerNorm() or record == LayerNorm(1e-12) else 1)
    assert relative_error(layer(x), exact_norm(record, x, weights)) < 1e-5
    neutral = [np.zeros(12) if getattr(record, "unit_offset", False) else np.ones(12), np.zeros(12)]
    assert relative_error(first, exact_norm(record, x, neutral)) < 1e-5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16"])
def test_rms_norm_of_values_whose_squares_leave_float16(dtype):
    x = ops.cast(numbers((2, 5, 12), scale=1000.0), "float32")
    output = RMSNormalization(dtype=dtype)(x)
    assert keras.backend.standardize_dtype(output.dtype) == dtype.removeprefix("mixed_")
    expected = exact_norm(RMSNorm(), ops.convert_to_numpy(x), [np.ones(12)])
    assert relative_error(ops.cast(output, "float32"), expected) < 1e-2


def test_only_a_record_names_a_norm():
    with pytest.raises(ValueError, match="to be a LayerNorm, RMSNorm or Affine record, got 'rms'"):
        make_norm("rms")
