"""Weights of fewer bits: how far off they are, what they weigh, and that files keep them to the bit."""

import functools
import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.formats import preset
from keras_transformers.transforms import add_lora, merge_lora, quantize, remove_lora, save_lora
from tests.conformance import checkpoints as conformance
from tests.layers.reference import relative_error
from tests.transforms.models import classifier, generated, outputs, step, translator, with_numbers

once = pytest.mark.one_backend("torch")
pytestmark = pytest.mark.skipif(
    not hasattr(keras.quantizers, "Int8QuantizationConfig"), reason="Keras has no quantization configurations"
)


# How far logits may be off, relative to the largest, in these small models of random weights (measured: 0.012, 0.15).
ERRORS = {"int8": 0.02, "int4": 0.25}


def quantized(mode, make=classifier):
    model = make()
    quantize(model, mode, block_size=16)
    return model


def arrays(model):
    return {weight.path: np.array(ops.convert_to_numpy(weight)) for weight in model.weights}


def same(model, again):
    """Whether two models hold the same weights, to the bit, and compute the same numbers."""
    ours, theirs = arrays(model), arrays(again)
    assert [(path, array.dtype) for path, array in ours.items()] == [
        (path, array.dtype) for path, array in theirs.items()
    ]
    assert all((theirs[path] == array).all() for path, array in ours.items() if "seed" not in path)
    assert relative_error(outputs(again), outputs(model)) <= 1e-6  # weights from a file may lie in another order


@pytest.mark.parametrize("mode", ERRORS)
def test_it_is_near_to_what_it_was_and_files_keep_it(mode, tmp_path):
    expected = outputs(classifier())
    model = quantized(mode)
    error = relative_error(outputs(model), expected)
    assert ERRORS[mode] / 10 < error < ERRORS[mode]
    model.save_to_preset(tmp_path / "preset")
    same(model, kt.TextClassifier.from_preset(tmp_path / "preset"))
    model.save(tmp_path / "model.keras")
    same(model, keras.saving.load_model(tmp_path / "model.keras"))


@once
def test_a_preset_is_smaller_and_names_no_class(tmp_path):
    sizes = {}
    for mode in (None, "int8", "int4"):
        config = kt.models.encoder(500, num_layers=2, hidden_dim=128, num_heads=4, max_length=16)
        model = kt.TextClassifier(config, num_classes=3)
        if mode:
            quantize(model, mode)
        model.save_to_preset(tmp_path / str(mode))
        sizes[mode] = (tmp_path / str(mode) / preset.WEIGHTS).stat().st_size
    assert sizes["int8"] < 0.28 * sizes[None] and sizes["int4"] < 0.2 * sizes[None]
    text = (tmp_path / "int8/config.json").read_text()
    (told,) = json.loads(text)["transforms"]["quantization"]
    assert (told["mode"], told["activations"]) == ("int8", False) and "encoder.block_0.self_attention.query" in told[
        "layers"
    ]
    assert "class_name" not in text and "keras.src" not in text


@once
def test_heads_of_labels_norms_and_biases_stay_float():
    model = quantized("int8")
    whole = {path for path, array in arrays(model).items() if array.dtype == np.int8}
    assert (
        whole == {path for path in whole if path.endswith(("kernel", "embeddings"))}
        and "classifier/kernel" not in whole
    )
    assert {"embedding/token/embeddings", "encoder/block_1/feed_forward/down/kernel"} <= whole
    kernels = {path for path in arrays(model) if path.endswith(("kernel", "embeddings"))}
    assert kernels - whole == {"classifier/kernel"} | {path for path in kernels if path.startswith("pooler")} - whole


@pytest.mark.parametrize("make", [translator, pytest.param(lambda: translator(dtype="bfloat16"), marks=once)])
def test_greedy_generation_goes_on(make):
    model = make()
    plain = generated(model)
    quantize(model, "int8")
    found = generated(model)
    assert found.shape == plain.shape and (found == generated(model)).all()
    assert (found == plain).mean() > 0.6  # one other word makes others of all that follow


@once
def test_another_backend_or_dtype_reads_the_same_preset(tmp_path):
    model = quantized("int8")
    model.save_to_preset(tmp_path / "preset")
    again = kt.TextClassifier.from_preset(tmp_path / "preset", dtype="bfloat16")
    assert again.backbone.encoder.blocks[0].self_attention.query.kernel.dtype == "int8"
    assert (
        relative_error(
            again({"token_ids": np.ones((1, 4), "int32")}).float(), model({"token_ids": np.ones((1, 4), "int32")})
        )
        < 0.05
    )


@once
def test_a_quantized_body_serves_another_task(tmp_path):
    quantized("int8").save_to_preset(tmp_path / "preset")
    with pytest.warns(UserWarning, match="classifier.kernel, classifier.bias begin anew"):
        tagger = kt.TokenClassifier.from_preset(tmp_path / "preset", labels=["O", "X"])
    assert outputs(tagger).shape == (3, 20, 2)


@once
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_keras_own_quantize_is_saved_too(mode, tmp_path):
    model = classifier()
    model.quantize(mode, filters="query")
    assert {path.split("/")[-2] for path, array in arrays(model).items() if array.dtype == np.int8} == {"query"}
    model.save(tmp_path / "model.keras")
    same(model, keras.saving.load_model(tmp_path / "model.keras"))
    model.save_to_preset(tmp_path / "preset")
    same(model, kt.TextClassifier.from_preset(tmp_path / "preset"))


@once
def test_inputs_may_be_rounded_too(tmp_path):
    model, expected = classifier(), outputs(classifier())
    quantize(model, "int8", activations=True)
    assert relative_error(outputs(model), outputs(quantized("int8"))) > 1e-3
    assert relative_error(outputs(model), expected) < 2 * ERRORS["int8"]
    model.save_to_preset(tmp_path / "preset")
    assert json.loads((tmp_path / "preset/config.json").read_text())["transforms"]["quantization"][0]["activations"]
    same(model, kt.TextClassifier.from_preset(tmp_path / "preset"))
    with pytest.raises(ValueError, match="no gradient passes a rounding. Quantize with activations=False, or add ad"):
        model.fit({"token_ids": np.ones((3, 4), "int32")}, np.zeros(3), verbose=0)
    add_lora(model, targets="all")
    assert relative_error(outputs(model), outputs(quantized("int8"))) <= 1e-6
    model.compile(keras.optimizers.Adam(1e-2))
    losses = [step(model) for _ in range(6)]
    assert losses[-1] < 0.8 * losses[0]


# --- adapters on a quantized base ---


@pytest.mark.each_keras
@pytest.mark.parametrize("mode", ["int8", pytest.param("int4", marks=once)])
def test_adapters_train_on_a_quantized_base(mode, tmp_path):
    model = quantized(mode)
    plain = outputs(model)
    add_lora(model, rank=4, targets="all", seed=1)
    np.testing.assert_allclose(outputs(model), plain, atol=1e-6)
    before = arrays(model)
    model.compile(keras.optimizers.Adam(1e-2))
    losses = [step(model) for _ in range(6)]
    assert losses[-1] < 0.8 * losses[0]
    trained = {weight.path for weight in model.trainable_variables}
    changed = {path for path, array in arrays(model).items() if (array != before[path]).any() and "seed" not in path}
    assert changed == trained and {path for path in trained if "lora" not in path} >= {"classifier/kernel"}
    model.save_to_preset(tmp_path / "preset")
    same(model, kt.TextClassifier.from_preset(tmp_path / "preset"))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    same(model, again)
    assert step(again) == pytest.approx(step(model), rel=1e-5)


@once
def test_quantizing_an_adapted_model_leaves_the_adapters():
    model = classifier()
    add_lora(model, targets="all")
    with_numbers(model)
    expected, before = outputs(model), arrays(model)
    quantize(model, "int8")
    assert relative_error(outputs(model), expected) < ERRORS["int8"]
    after = arrays(model)
    assert all((after[path] == before[path]).all() for path in before if "lora" in path)


@once
def test_adapters_of_a_quantized_model_fit_the_float_one(tmp_path):
    name = "bert/BertForSequenceClassification"
    model = kt.TextClassifier.from_preset(conformance.folder(name))
    quantize(model, "int8")
    add_lora(model, targets="all")
    expected = outputs(with_numbers(model))
    save_lora(model, tmp_path / "adapter")
    plain = kt.TextClassifier.from_preset(conformance.folder(name))
    kt.transforms.load_lora(plain, tmp_path / "adapter")
    assert relative_error(outputs(plain), expected) < 0.05
    with pytest.raises(
        ValueError, match="Expected float matrices to add adapters to, got quantized ones in .*save_lora"
    ):
        merge_lora(model)
    remove_lora(model)


@once
def test_explain_says_what_was_done():
    model = quantized("int8")
    add_lora(model, rank=4, alpha=2, dropout=0.1)
    assert kt.explain(model).splitlines()[-3:] == [
        "int8       16 layers (dense, down, key, output, position, query, segment, token, up, value)",
        "adapters   beside 4 layers (query, value), of rank 4, times 0.5, dropout 0.1",
        "trained    whole: classifier.kernel, classifier.bias",
    ]


# --- what is refused ---


@once
def test_what_cannot_be_quantized():
    with pytest.raises(ValueError, match="Expected mode to be one of int8, int4, got 'int2'"):
        quantize(classifier(), "int2")
    model = quantized("int8")
    with pytest.raises(ValueError, match="Expected a model with float weights, got .* in embedding.position"):
        quantize(model, "int4")
    with pytest.raises(ValueError, match="Expected float weights to make room for tokens"):
        model.with_vocabulary(80)
    with pytest.raises(ValueError, match="Expected mode='int8' and a model without adapters .* got 'int4'"):
        quantize(classifier(), "int4", activations=True)
    adapted = classifier()
    add_lora(adapted)
    with pytest.raises(ValueError, match="without adapters with activations=True, got 'int8' and adapters"):
        quantize(adapted, activations=True)


@once
@pytest.mark.filterwarnings("ignore")
def test_quantized_weights_do_not_train_whole(tmp_path):
    with pytest.raises(
        ValueError, match="Expected float weights to train whole, got quantized ones in encoder.block_1"
    ):
        add_lora(quantized("int8"), train=("block_1.feed_forward.up",))
    name = "bert/BertForSequenceClassification"
    model = kt.TextClassifier.from_preset(conformance.folder(name))
    add_lora(model, train=("pooler",))
    save_lora(model, tmp_path / "adapter")
    small = kt.TextClassifier.from_preset(conformance.folder(name))
    quantize(small, "int8")
    with pytest.raises(ValueError, match="pooler.transform.dense.kernel: expected a float weight"):
        kt.transforms.load_lora(small, tmp_path / "adapter")


@once
def test_an_older_keras_is_told(monkeypatch):
    monkeypatch.delattr(keras.quantizers, "Int8QuantizationConfig")
    with pytest.raises(ImportError, match="Expected Keras 3.13 or later"):
        quantize(classifier())


@once
def test_other_modes_are_not_saved(tmp_path):
    model = classifier()
    with pytest.warns(UserWarning):
        model.quantize("float8")
    with pytest.raises(
        ValueError, match="Expected weights of int8 or int4 to save, got float8 in embedding.token|float8 in"
    ):
        model.save_to_preset(tmp_path / "preset")


@once
def test_a_preset_of_unknown_transforms_is_refused(tmp_path):
    quantized("int8").save_to_preset(tmp_path / "preset")
    path = tmp_path / "preset/config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"transforms": values["transforms"] | {"pruning": 1}}))
    with pytest.raises(ValueError, match="Expected transforms among quantization, lora, got pruning"):
        kt.TextClassifier.from_preset(tmp_path / "preset")


@once
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("mode", "block_size"), [("int8", None), ("int4", 32), ("int4", 20), ("int4", None)])
def test_the_direct_view_computes_what_keras_quantized_layers_do(mode, block_size, dtype):
    import torch

    from keras_transformers.backends.torch.direct import direct

    model = translator(dtype=dtype)
    quantize(model, mode, block_size=block_size)
    block, table = model.backbone.decoder.blocks[0], model.backbone.embedding.token
    x = torch.randn(2, 3, 32).to(getattr(torch, dtype))
    for layer, arguments in (
        (block.self_attention.query, (x,)),
        (block.feed_forward.up, (x,)),
        (table, (torch.tensor([[3, 5], [1, 66]], dtype=torch.int32),)),
        (functools.partial(table, reverse=True), (x,)),
    ):
        options = getattr(layer, "keywords", {})
        view = direct(getattr(layer, "func", layer))
        assert not isinstance(view, keras.layers.Layer)
        with torch.no_grad():
            assert relative_error(view(*arguments, **options).float(), layer(*arguments).float()) <= (
                1e-5 if dtype == "float32" else 3e-2
            )
