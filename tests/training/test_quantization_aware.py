"""Quantization-aware training: weights lie on the grid of the numbers that they will become, copies learn."""

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.transforms.quantization import RULES

X = {"token_ids": np.full((2, 4), 5, "int32"), "decoder_token_ids": np.full((2, 4), 7, "int32")}
Y = np.full((2, 4), 9, "int32")


def small():
    config = kt.models.transformer(20, num_layers=1, hidden_dim=8, num_heads=2, intermediate_dim=16, dropout=0.0)
    return kt.Seq2SeqLM(config)


def values(weight):
    return keras.ops.convert_to_numpy(weight)


@pytest.mark.parametrize("rule", RULES)
def test_weights_are_on_the_grid_and_copies_are_not(rule):
    model = small()
    model.compile(keras.optimizers.Adam(0.01), quantization_aware=rule)
    losses = model.fit(X, Y, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    kernel = values(model.backbone.encoder.blocks[0].feed_forward.up.kernel)
    largest = np.abs(kernel).max(axis=0 if rule == "int8" else None, keepdims=True)
    steps = kernel / largest * 127
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)  # of 127: 1e-5 of the largest
    copies = [each for each in model.optimizer.variables if each.shape == kernel.shape and "kernel" in each.path]
    assert any(0 < np.abs(values(each) - kernel).max() < (largest / 127).max() for each in copies)
    bias = values(model.backbone.encoder.blocks[0].feed_forward.up.bias)
    assert len(np.unique(np.abs(bias))) > 2  # biases stay float


def test_quantizing_then_changes_nothing():
    model = small()
    model.compile(keras.optimizers.Adam(0.01), quantization_aware="int8")
    model.fit(X, Y, epochs=2, verbose=0)
    before = values(model(X))
    if hasattr(keras.quantizers, "Int8QuantizationConfig"):  # Keras 3.13 and later
        kt.transforms.quantize(model, "int8")
        assert np.abs(values(model(X)) - before).max() <= 2e-6 * np.abs(before).max()


@pytest.mark.one_backend("torch")
def test_a_keras_file_remembers_it(tmp_path):
    model = small()
    model.compile(keras.optimizers.Adam(0.01), quantization_aware="marian")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.quantization_aware == "marian"
    histories = [each.fit(X, Y, epochs=2, verbose=0).history["loss"] for each in (model, loaded)]
    np.testing.assert_allclose(*histories, rtol=1e-5)


@pytest.mark.one_backend("torch")
def test_refusals():
    model = small()
    with pytest.raises(ValueError, match=r"quantization_aware to be one of int8, marian, or None, got 'int5'"):
        model.compile("adam", quantization_aware="int5")
    built = keras.optimizers.Adam()
    built.build(model.trainable_variables)
    with pytest.raises(ValueError, match="a new optimizer for quantized weights, got one that has been built"):
        model.compile(built, quantization_aware="int8")
    for layer in model._flatten_layers(include_self=False):
        layer.trainable = False
    with pytest.raises(ValueError, match="got none: all are frozen"):
        model.compile("adam", quantization_aware="int8")


@pytest.mark.one_backend("torch")
def test_an_optimizer_that_rounds_is_not_reused_for_others():
    model, optimizer = small(), keras.optimizers.Adam()
    model.compile(optimizer, quantization_aware="int8")
    model.compile(optimizer, quantization_aware="int8")
    for other in ("marian", None):
        with pytest.raises(ValueError, match="a new optimizer for another quantization_aware"):
            model.compile(optimizer, quantization_aware=other)


@pytest.mark.one_backend("torch")
def test_weights_that_are_quantized_already_stay():
    model = small()
    layer = model.backbone.encoder.blocks[0].feed_forward.up
    layer.quantize("int4")
    before = values(layer._kernel)
    model.compile("adam", quantization_aware="int8")
    model.fit(X, Y, verbose=0)
    assert (values(layer._kernel) == before).all()
