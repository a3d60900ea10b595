"""Exported graphs, run by their own runtimes: the outputs are those of the model, for any batch and any length."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.families.registry import families
from tests.layers.reference import fill

pytestmark = [
    pytest.mark.one_backend("torch"),
    # NumPy and onnxscript, in the exporter of PyTorch.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

TEXTS = ["The rain in Spain stays mainly in the plain.", "A man rides a bike.", "Two dogs play in the snow."]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
SPECIAL = {"padding_token": "[PAD]", "unknown_token": "[UNK]", "class_token": "[CLS]", "separator_token": "[SEP]"}


def reader(task, model_type="bert", **arguments):
    special = {**SPECIAL, "mask_token": "[MASK]", "start_token": None, "end_token": None}
    tokenizer = kt.Tokenizer.train(TEXTS * 2, kind="wordpiece", vocabulary_size=90, **special)
    config = families()[model_type].config({"vocab_size": tokenizer.vocabulary_size, **SIZES})
    model = task(config, tokenizer, **arguments)
    fill(model)
    model.pretrained = True
    return model


def translator(**arguments):
    tokenizer = kt.Tokenizer.train(TEXTS * 2, vocabulary_size=280)
    sizes = {"hidden_dim": 16, "num_heads": 2, "intermediate_dim": 32, "num_layers": 1}
    model = kt.Seq2SeqLM(kt.models.transformer(tokenizer.vocabulary_size, **sizes, **arguments), tokenizer)
    fill(model)
    model.pretrained = True
    return model


def run_script(folder, *texts):
    result = subprocess.run([sys.executable, folder / "run.py", *texts], capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


def test_a_classifier_as_onnx(tmp_path):
    pytest.importorskip("onnxscript")
    import onnxruntime

    model = reader(kt.TextClassifier, labels=["bad", "good"])
    exported = model.export(tmp_path / "model")
    assert exported.difference < 1e-5 and exported.files == {"model": "onnx/model.onnx"}
    session = onnxruntime.InferenceSession(tmp_path / "model" / "onnx" / "model.onnx")
    assert {each.name: each.shape for each in session.get_inputs()} == dict.fromkeys(
        ["input_ids", "attention_mask", "token_type_ids"], ["batch_size", "sequence_length"]
    )
    assert json.loads((tmp_path / "model" / "config.json").read_text())["id2label"] == {"0": "bad", "1": "good"}
    found = [eval(line, {}) for line in run_script(tmp_path / "model", *TEXTS)]
    for ours, theirs in zip(model.classify(TEXTS), found, strict=True):
        assert ours["label"] == theirs["label"] and ours["score"] == pytest.approx(theirs["score"], abs=1e-5)


def test_a_translator_as_onnx(tmp_path):
    pytest.importorskip("onnxscript")
    model = translator()
    exported = model.export(tmp_path / "model")
    assert exported.difference < 1e-5
    assert exported.files["decoder_model"] == "onnx/decoder_model_merged.onnx"
    texts = [*TEXTS, "12:30", "A"]
    with pytest.warns(UserWarning, match="were cut at the limit"):
        expected = model.translate(texts, num_beams=1)
    assert run_script(tmp_path / "model", *texts) == [line for text in expected for line in text.splitlines() or [""]]


@pytest.mark.slow
def test_a_model_on_another_backend_than_that_of_the_format(tmp_path):
    pytest.importorskip("tensorflow")
    model = reader(kt.TextClassifier, labels=["bad", "good"])
    exported = model.export(tmp_path / "model", format="tf_saved_model")
    assert exported.difference < 1e-5 and (tmp_path / "model" / "saved_model.pb").exists()


def test_a_backend_that_is_missing_is_named(tmp_path, monkeypatch):
    from keras_transformers import extras

    find = extras.importlib.util.find_spec
    monkeypatch.setattr(
        extras.importlib.util, "find_spec", lambda name: None if name in ("tensorflow", "openvino") else find(name)
    )
    model = reader(kt.TextClassifier, num_classes=2)
    with pytest.raises(ImportError, match=r"Expected tensorflow .*keras-transformers\[tensorflow\]"):
        model.export(tmp_path / "model", format="tf_saved_model")
    with pytest.raises(ImportError, match=r"Expected openvino .*keras-transformers\[openvino\]"):
        model.export(tmp_path / "model", format="openvino")
    with pytest.raises(ValueError, match="Expected a model of one stack for the format 'torch', got an encoder-dec"):
        translator().export(tmp_path / "model", format="torch")
    assert not (tmp_path / "model").exists()


def test_the_command_exports_a_preset(tmp_path):
    testing = pytest.importorskip("typer.testing")
    from keras_transformers.apps.cli.app import app

    def call(*arguments):
        return testing.CliRunner().invoke(app, ["export", *map(str, arguments)])

    reader(kt.TextClassifier, labels=["bad", "good"]).save_to_preset(tmp_path / "preset")
    result = call(tmp_path / "preset", tmp_path / "made", "--format", "torch")
    assert result.exit_code == 0, result.exception
    assert "Its outputs differ from the model's by" in result.stderr and (tmp_path / "made" / "model.pt2").exists()
    assert "did you mean 'onnx'" in str(call(tmp_path / "preset", tmp_path / "x", "--format", "onxx").exception)
    assert "did you mean 'MaskedLM'" in str(call(tmp_path / "preset", tmp_path / "x", "--task", "MaskLM").exception)


def test_the_guide_has_the_measured_table():
    from benchmarks import exports
    from tests.test_guides import GUIDES

    assert exports.table() in (GUIDES / "exporting.md").read_text("utf-8")


def test_a_wrong_graph_is_refused():
    from keras_transformers.formats.exports import comparison

    case = comparison.Case({}, {"logits": np.array([[1.0, -2.0]], "float32")})
    assert case.difference({"logits": np.array([[1.0, -2.001]])}) == pytest.approx(5e-4)
    assert case.difference({"logits": np.array([[1.0, np.nan]])}) == np.inf
    with pytest.raises(ValueError, match="got a difference of 5.0e-04. Nothing was written"):
        comparison.check(5e-4, comparison.TOLERANCE, "onnx")
    with pytest.raises(ValueError, match=r"Expected logits of shape \(1, 2\)"):
        case.difference({"logits": np.zeros((1, 3))})


def test_an_export_that_cannot_be_is_refused_first(tmp_path):
    model = reader(kt.TextClassifier, num_classes=2)
    with pytest.raises(ValueError, match=r"Expected format to be one of onnx.*, got 'onxn' \(did you mean 'onnx'\?\)"):
        model.export(tmp_path / "model", format="onxn")
    with pytest.raises(ValueError, match="Expected a folder to write, got .*model.onnx"):
        model.export(tmp_path / "model.onnx", format="onnx")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(FileExistsError, match="a folder without onnx/model.onnx"):
        model.export(tmp_path / "mine", format="onnx")


def test_a_model_that_answers_at_random_is_warned_of():
    from keras_transformers.tasks import exporting

    model = reader(kt.TextClassifier, num_classes=2)
    exporting._warn_of_untrained(model)
    model.new_weights = ("classifier.kernel",)
    with pytest.warns(UserWarning, match=r"answers at random: its head \(classifier.kernel\) was neither"):
        exporting._warn_of_untrained(model)
    model.pretrained, model.new_weights = False, ()
    with pytest.warns(UserWarning, match="answers at random: its weights were neither loaded nor trained"):
        exporting._warn_of_untrained(model)
    model.compile()
    model.optimizer.iterations.assign(keras.ops.convert_to_tensor(3))
    exporting._warn_of_untrained(model)


def test_texts_as_the_arrays_that_a_model_reads():
    model = reader(kt.TextClassifier, num_classes=2)
    inputs = model.preprocess(TEXTS)
    assert {name: array.dtype.name for name, array in inputs.items()} == {
        "token_ids": "int32",
        "padding_mask": "bool",
        "segment_ids": "int32",
    }
    logits = keras.ops.convert_to_numpy(model(inputs))
    np.testing.assert_allclose(logits, model.predict(TEXTS), atol=1e-5)
    with pytest.warns(UserWarning, match="2 of 2 texts are longer than 12 tokens"):
        pairs = model.preprocess(TEXTS[:2], TEXTS[1:], max_length=12)
    assert pairs["token_ids"].shape[1] == 12 and pairs["segment_ids"].max() == 1


def test_sources_and_prompts_as_the_arrays_that_a_model_reads():
    model = translator()
    inputs = model.preprocess(TEXTS)
    assert inputs["decoder_token_ids"].tolist() == [[model.generation.start_id]] * 3
    assert model(inputs).shape == (3, 1, model.config.embeddings.vocabulary_size)
    with pytest.raises(ValueError, match="Expected single texts for a Seq2SeqLM"):
        model.preprocess(TEXTS, TEXTS)
    writer = kt.CausalLM(kt.models.gpt(280, hidden_dim=16, num_heads=2, num_layers=1), model.tokenizer)
    inputs = writer.preprocess(["A man", "The rain in Spain"])
    alone = writer.preprocess(["A man"])
    assert not alone["starts"].any() and not inputs["padding_mask"][0, 0]
    both, one = (keras.ops.convert_to_numpy(writer(each)) for each in (inputs, alone))
    np.testing.assert_allclose(both[:1, -one.shape[1] :], one, atol=1e-5)
