"""Mixtures of experts are what NumPy computes, token by token and expert by expert, in each way of computing them."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_transformers.backends import products
from keras_transformers.backends.default import products as default
from keras_transformers.layers import ExpertsConfig, FeedForward
from tests.layers.reference import fill, numbers, relative_error

D, F = 12, 24


def built(num_experts=5, num_chosen=2, normalize=True, output_bias=False, **settings):
    experts = ExpertsConfig(num_experts, num_chosen, normalize, output_bias)
    layer = FeedForward(F, "silu", experts=experts, **settings)
    layer.build((None, None, D))
    return fill(layer)


def in_numpy(layer, x):
    """Each token through each of its experts."""

    def dense(projection, expert, x):
        kernel, *bias = (np.asarray(weight, "float64")[expert] for weight in projection.get_weights())
        return x @ kernel + (bias[0] if bias else 0)

    (router,) = (np.asarray(weight, "float64") for weight in layer.router.get_weights())
    mixed = np.zeros(x.shape)
    for place in np.ndindex(x.shape[:-1]):
        token = x[place].astype("float64")
        shares = np.exp(token @ router) / np.exp(token @ router).sum()
        chosen = np.argsort(-shares)[: layer.experts.num_chosen]
        whole = shares[chosen].sum() if layer.experts.normalize else 1.0
        for expert in chosen:
            hidden = dense(layer.gate if layer.gated else layer.up, expert, token)
            hidden = hidden / (1 + np.exp(-hidden))
            if layer.gated:
                hidden = hidden * dense(layer.up, expert, token)
            mixed[place] += shares[expert] / whole * dense(layer.down, expert, hidden)
    return mixed if layer.output_bias is None else mixed + np.asarray(layer.output_bias, "float64")


@pytest.fixture(params=["as it is", pytest.param("compiled", marks=pytest.mark.one_backend("torch"))], autouse=True)
def way(request, monkeypatch):
    """On PyTorch also what it computes when it is compiled; the others have one way."""
    if request.param == "compiled":
        monkeypatch.setattr(products, "mix", default.mix)


# 1 token of 2 experts is fewer than there are: their weights are gathered; 10 are more: all experts compute all
@pytest.mark.parametrize("shape", [(1, 1, D), (2, 5, D), (1, 2, D)])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("gated, use_bias", [(True, False), (False, True)])
def test_experts_are_what_numpy_computes(shape, normalize, gated, use_bias):
    layer, x = built(normalize=normalize, gated=gated, use_bias=use_bias), numbers(shape)
    output = layer(x)
    assert tuple(output.shape) == shape
    assert relative_error(output, in_numpy(layer, x)) < 1e-5


def test_one_bias_is_added_to_the_sum():
    layer, x = built(output_bias=True), numbers((2, 5, D))
    assert relative_error(layer(x), in_numpy(layer, x)) < 1e-5


@pytest.mark.parametrize("num_chosen", [1, 5])
def test_one_expert_or_all(num_chosen):
    layer, x = built(num_chosen=num_chosen, gated=True), numbers((2, 5, D))
    assert relative_error(layer(x), in_numpy(layer, x)) < 1e-5


def test_dropout_works_in_training_alone():
    layer, x = built(dropout=0.5), numbers((2, 5, D))
    quiet = ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, training=False)), quiet)
    assert relative_error(layer(x, training=True), quiet) > 1e-2


def test_experts_begin_as_dense_layers_do():
    stacked, dense = (FeedForward(256, experts=each) for each in (ExpertsConfig(4), None))
    for layer in (stacked, dense):
        layer.build((None, None, 128))
    for name in ("up", "down"):
        one, other = (ops.convert_to_numpy(getattr(layer, name).kernel) for layer in (stacked, dense))
        assert one.std() == pytest.approx(other.std(), rel=0.02)
        assert np.abs(one).max() == pytest.approx(np.abs(other).max(), rel=0.02)


@pytest.mark.parametrize("num_chosen", [0, 6])
def test_more_experts_than_there_are_cannot_be_chosen(num_chosen):
    with pytest.raises(
        ValueError, match=f"at most num_experts=5, got {num_chosen}|is {num_chosen}, expected int of at least 1"
    ):
        ExpertsConfig(5, num_chosen)


def test_experts_and_their_router_learn():
    layer = built(gated=True)
    inputs = keras.Input((6, D))
    model = keras.Model(inputs, layer(inputs))
    before = [ops.convert_to_numpy(weight) for weight in layer.weights]
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = numbers((8, 6, D))
    losses = model.fit(x, np.roll(x, 1, axis=-1), epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for weight, old in zip(layer.weights, before, strict=True):
        assert np.abs(ops.convert_to_numpy(weight) - old).max() > 1e-3, weight.path


@pytest.mark.one_backend("torch")
def test_output_masking_scales_outputs_and_masks_them_in_training():
    layer, x = built(use_bias=False), numbers((2, 30, D))
    masked = FeedForward(F, "silu", use_bias=False, experts=ExpertsConfig(5, output_masking=0.4))
    masked.build((None, None, D))
    masked.set_weights(layer.get_weights())
    plain = ops.convert_to_numpy(layer(x))
    assert relative_error(ops.convert_to_numpy(masked(x)), plain * 0.6) < 1e-5
    trained = np.mean([ops.convert_to_numpy(masked(x, training=True)) for _ in range(200)], axis=0)
    assert relative_error(trained, plain * 0.6) < 0.25
    once = ops.convert_to_numpy(masked(x, training=True))
    assert 0 < (abs(once).max(-1) < 1e-7).mean() < 0.5  # both experts of a token are left out
