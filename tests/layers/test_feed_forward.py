import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import ExpertsConfig, FeedForward
from tests.layers.reference import fill, numbers, relative_error


def exact_activation(name, x):
    from math import erf

    return {
        "relu": lambda: np.maximum(x, 0),
        "gelu": lambda: 0.5 * x * (1 + np.vectorize(erf)(x / 2**0.5)),
        "gelu_tanh": lambda: 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
        "silu": lambda: x / (1 + np.exp(-x)),
        "tanh": lambda: np.tanh(x),
    }[name]()


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "silu", "tanh"])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("use_bias", [False, True, "output"])
def test_feed_forward_is_what_numpy_computes(activation, gated, use_bias):
    layer = FeedForward(24, activation, gated=gated, use_bias=use_bias)
    layer.build((None, None, 12))
    fill(layer)
    x = numbers((2, 5, 12))

    def dense(projection, x):
        kernel, *bias = (np.asarray(weight, "float64") for weight in projection.get_weights())
        return x @ kernel + (bias[0] if bias else 0)

    hidden = exact_activation(activation, dense(layer.gate if gated else layer.up, x))
    if gated:
        hidden = hidden * dense(layer.up, x)
    assert relative_error(layer(x), dense(layer.down, hidden)) < 1e-5
    kernels = 3 if gated else 2
    assert len(layer.weights) == kernels + {False: 0, True: kernels, "output": 1}[use_bias]


def test_feed_forward_dropout_in_training():
    layer, x = FeedForward(24, dropout=0.5), numbers((2, 5, 12))
    quiet = ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, training=False)), quiet)
    assert relative_error(layer(x, training=True), quiet) > 1e-2


def test_biases_that_cannot_be():
    with pytest.raises(ValueError, match="use_bias to be True, False or \"output\", got 'inputs'"):
        FeedForward(24, use_bias="inputs")
    with pytest.raises(ValueError, match='True or False with experts, got "output".*give them output_bias=True'):
        FeedForward(24, use_bias="output", experts=ExpertsConfig(4))


def test_an_unknown_activation_is_an_error():
    with pytest.raises(ValueError, match="one of relu, gelu, gelu_tanh, silu, tanh, got 'swish'"):
        FeedForward(24, "swish")
