"""The many spellings of one checkpoint: names, copies, formats, dtypes and labels; and what is wrong with a broken one,
told at once, nothing loaded."""

import json
import os
import struct
import sys

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from keras import ops

import keras_transformers as kt
from keras_transformers.models.weights import named_weights
from tests.conformance import checkpoints, outputs, reference
from tests.conformance.cases import CHECKPOINTS
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")

BODY, MASKED, TEXT = (f"bert/Bert{kind}" for kind in ("Model", "ForMaskedLM", "ForSequenceClassification"))
WORDS, COPY = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"


def tensors_of(name):
    return safetensors.numpy.load_file(checkpoints.folder(name) / "model.safetensors")


def values_of(name):
    return json.loads((checkpoints.folder(name) / "config.json").read_bytes())


def written(folder, tensors, values):
    """A checkpoint's folder of these tensors and this `config.json`."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values))
    safetensors.numpy.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def computes_the_same(model, name):
    inputs = outputs.inputs(CHECKPOINTS[name][0])
    # weights may lie in another order, by which a processor adds in another
    return relative_error(outputs.ours(model, inputs), outputs.ours(checkpoints.model(name), inputs)) <= 1e-6


def assert_comes_back(folder, model, place):
    """Saved again, every file is equal to the byte, and there are no other tensors."""
    model.save_to_preset(place)
    for file in sorted(folder.iterdir()):
        assert (place / file.name).read_bytes() == file.read_bytes(), file.name
    assert len(list(place.glob("*.safetensors"))) == len(list(folder.glob("*.safetensors")))


# Names


def _without_prefix(tensors):
    return {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}


def _old_names(tensors):
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors.items()
    }


def _with_copies(tensors):
    return tensors | {COPY: tensors[WORDS], "cls.predictions.decoder.bias": tensors["cls.predictions.bias"]}


def _copies_alone(tensors):
    return {COPY if name == WORDS else name: tensor for name, tensor in tensors.items()}


def _with_what_is_ignored(tensors):
    ignored = {
        "bert.embeddings.position_ids": np.arange(40)[None],
        "bert.pooler.dense.weight": np.ones((32, 32), "float32"),
        "bert.pooler.dense.bias": np.ones(32, "float32"),
        "cls.seq_relationship.weight": np.ones((2, 32), "float32"),
        "cls.seq_relationship.bias": np.ones(2, "float32"),
    }
    return tensors | ignored


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (BODY, _without_prefix),
        (MASKED, _old_names),
        (MASKED, _with_copies),
        (MASKED, _copies_alone),
        (MASKED, _with_what_is_ignored),
        (MASKED, lambda tensors: _old_names(_with_what_is_ignored(_with_copies(tensors)))),
    ],
)
def test_a_file_spelled_otherwise_is_the_same_and_comes_back(tmp_path, name, change):
    folder = written(tmp_path / "theirs", change(tensors_of(name)), values_of(name))
    model = checkpoints.load(folder, CHECKPOINTS[name][1])
    assert computes_the_same(model, name)
    assert_comes_back(folder, model, tmp_path / "ours")


def test_a_body_is_read_from_a_checkpoint_with_a_head():
    model = kt.TextEmbedder.from_preset(checkpoints.folder(MASKED))
    inputs = outputs.inputs(CHECKPOINTS[MASKED][0])
    wanted = ops.convert_to_numpy(checkpoints.model(MASKED).backbone(inputs))
    assert relative_error(outputs.ours(model, inputs), wanted) <= 1e-6


def test_several_files_come_back(tmp_path):
    reference.model(MASKED).save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    assert len(list((tmp_path / "theirs").glob("*.safetensors"))) > 2
    model = kt.MaskedLM.from_preset(tmp_path / "theirs")
    assert computes_the_same(model, MASKED)
    assert_comes_back(tmp_path / "theirs", model, tmp_path / "ours")


def test_package_loads_without_importing_the_package(tmp_path, monkeypatch):
    package = tmp_path / "my_small_models"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    written(package / "bert", tensors_of(TEXT), values_of(TEXT))
    monkeypatch.syspath_prepend(tmp_path)
    assert computes_the_same(kt.TextClassifier.from_preset("package://my_small_models/bert"), TEXT)
    assert "my_small_models" not in sys.modules


# PyTorch's own format


def _torch_folder(folder, content, name=TEXT, **options):
    import torch

    folder.mkdir()
    (folder / "config.json").write_bytes((checkpoints.folder(name) / "config.json").read_bytes())
    torch.save(content, folder / "pytorch_model.bin", **options)
    return folder


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_pytorch_files_are_read(tmp_path, options):
    folder = _torch_folder(tmp_path / "theirs", reference.model(TEXT).state_dict(), **options)
    model = kt.TextClassifier.from_preset(folder)
    assert computes_the_same(model, TEXT)
    model.save_to_preset(tmp_path / "ours")
    assert computes_the_same(kt.TextClassifier.from_preset(tmp_path / "ours"), TEXT)
    assert (tmp_path / "ours" / "config.json").read_bytes() == (folder / "config.json").read_bytes()


def test_a_pytorch_file_in_bfloat16_is_read(tmp_path):
    import torch

    state = {name: tensor.to(torch.bfloat16) for name, tensor in reference.model(TEXT).state_dict().items()}
    model = kt.TextClassifier.from_preset(_torch_folder(tmp_path / "theirs", state))
    kernel = named_weights(model)["classifier.kernel"]
    assert str(kernel.dtype) == "float32"
    np.testing.assert_array_equal(ops.convert_to_numpy(kernel).T, state["classifier.weight"].float().numpy())


class _Code:
    """Pickled, it is a call that makes a folder."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_a_pytorch_file_with_code_is_refused_and_nothing_is_executed(tmp_path):
    folder = _torch_folder(tmp_path / "theirs", {"bert": _Code(tmp_path / "executed")})
    with pytest.raises(
        ValueError, match="Expected tensors and nothing else in .*pytorch_model.bin, .*Nothing was exec"
    ):
        kt.TextClassifier.from_preset(folder)
    assert not (tmp_path / "executed").exists()


def test_a_pytorch_file_of_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected a dictionary of tensors in .*pytorch_model.bin, got list"):
        kt.TextClassifier.from_preset(_torch_folder(tmp_path / "theirs", [1, 2]))
    (tmp_path / "theirs" / "pytorch_model.bin").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match="Expected tensors and nothing else in .*Download it again"):
        kt.TextClassifier.from_preset(tmp_path / "theirs")


# Dtypes


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_files_are_computed_in_float32_and_come_back(tmp_path, dtype):
    narrow = np.dtype(getattr(ml_dtypes, dtype, dtype))
    tensors = {name: tensor.astype(narrow) for name, tensor in tensors_of(TEXT).items()}
    folder = written(tmp_path / "theirs", tensors, values_of(TEXT) | {"torch_dtype": dtype})
    model = kt.TextClassifier.from_preset(folder)
    for name, weight in named_weights(model).items():
        assert str(weight.dtype) == "float32", name
    assert_comes_back(folder, model, tmp_path / "ours")


def test_weights_that_changed_are_saved_in_float32(tmp_path):
    tensors = {name: tensor.astype("float16") for name, tensor in tensors_of(TEXT).items()}
    folder = written(tmp_path / "theirs", tensors, values_of(TEXT) | {"torch_dtype": "float16"})
    model = kt.TextClassifier.from_preset(folder)
    model.classifier.bias.assign(model.classifier.bias + 1e-6)
    model.save_to_preset(tmp_path / "ours")
    saved = safetensors.numpy.load_file(tmp_path / "ours" / "model.safetensors")
    assert {tensor.dtype.name for tensor in saved.values()} == {"float32"}
    np.testing.assert_array_equal(saved["classifier.bias"], ops.convert_to_numpy(model.classifier.bias))
    values = json.loads((tmp_path / "ours" / "config.json").read_bytes())
    assert values == values_of(TEXT) | {"torch_dtype": "float32"}


# Broken ones


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_a_truncated_file_is_refused(tmp_path, length):
    folder = written(tmp_path / "theirs", tensors_of(TEXT), values_of(TEXT))
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="Expected a whole safetensors file, got .*Download or save it again"):
        kt.TextClassifier.from_preset(folder)


def test_a_header_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    folder = written(tmp_path / "theirs", tensors_of(TEXT), values_of(TEXT))
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 10**12) + path.read_bytes()[8:])
    with pytest.raises(ValueError, match="whose header alone claims 1000000000000 bytes"):
        kt.TextClassifier.from_preset(folder)


def test_an_index_that_leads_out_of_the_folder_is_refused(tmp_path):
    reference.model(TEXT).save_pretrained(tmp_path / "theirs", max_shard_size="20KB")
    path = tmp_path / "theirs" / "model.safetensors.index.json"
    index = json.loads(path.read_bytes())
    index["weight_map"]["classifier.bias"] = "../elsewhere.safetensors"
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match="Expected file names inside the preset's folder, got '../elsewhere.safetens"):
        kt.TextClassifier.from_preset(tmp_path / "theirs")


def test_all_that_is_wrong_with_the_weights_is_told_at_once(tmp_path):
    tensors = tensors_of(TEXT)
    del tensors["bert.encoder.layer.1.output.dense.bias"]
    tensors["bert.encoder.layer.0.output.dense.weight"] = np.zeros((32, 40), "float32")
    tensors["bert.encoder.layer.7.output.dense.bias"] = np.zeros(32, "float32")
    with pytest.raises(ValueError) as error:
        kt.TextClassifier.from_preset(written(tmp_path / "theirs", tensors, values_of(TEXT)))
    message = str(error.value)
    assert "missing encoder.block_1.feed_forward.down.bias [32]" in message
    assert "encoder.block_0.feed_forward.down.kernel: expected shape [48, 32], got [40, 32]" in message
    assert "unknown bert.encoder.layer.7.output.dense.bias [32]" in message


def test_a_model_is_untouched_by_weights_that_do_not_fit(tmp_path):
    from keras_transformers.models.weights import assign

    model = checkpoints.load(checkpoints.folder(TEXT), CHECKPOINTS[TEXT][1])
    tensors = {name: np.zeros(weight.shape) for name, weight in named_weights(model).items()}
    del tensors["classifier.bias"]
    with pytest.raises(ValueError, match="missing classifier.bias"):
        assign(model, tensors, "nowhere")
    assert computes_the_same(model, TEXT)


# Heads and labels


def test_a_new_head_is_warned_about():
    with pytest.warns(
        UserWarning, match=r"no head of this task \(it was made for MaskedLM\): .*classifier\.kernel"
    ) as told:
        model = kt.TextClassifier.from_preset(checkpoints.folder(MASKED), num_classes=5)
    assert any("begin anew. Train the model before you rely on its answers." in str(each.message) for each in told)
    assert model.classifier.kernel.shape == (32, 5)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model.backbone.embedding.token.embeddings), tensors_of(MASKED)[WORDS]
    )


def test_a_head_of_other_classes_is_warned_about():
    with pytest.warns(UserWarning, match="a head of other classes .*: .*classifier.kernel, classifier.bias begin anew"):
        model = kt.TextClassifier.from_preset(checkpoints.folder(TEXT), num_classes=5)
    assert model.labels == tuple(f"LABEL_{number}" for number in range(5))


def test_the_same_number_of_classes_keeps_the_head(recwarn):
    model = kt.TextClassifier.from_preset(checkpoints.folder(TEXT), labels=("a", "b", "c"))
    assert computes_the_same(model, TEXT) and model.labels == ("a", "b", "c")
    assert not [each for each in recwarn if issubclass(each.category, UserWarning) and "anew" in str(each.message)]


def test_labels_and_problem_come_and_go(tmp_path):
    names = {"0": "bad", "1": "fair", "2": "good"}
    values = values_of(TEXT) | {"id2label": names, "problem_type": "multi_label_classification"}
    folder = written(tmp_path / "theirs", tensors_of(TEXT), values)
    model = kt.TextClassifier.from_preset(folder)
    assert (model.labels, model.problem) == (("bad", "fair", "good"), "multi_label")
    assert_comes_back(folder, model, tmp_path / "ours")
    model.labels = ("low", "middle", "high")
    model.save_to_preset(tmp_path / "renamed")
    saved = json.loads((tmp_path / "renamed" / "config.json").read_bytes())
    assert saved["id2label"] == {"0": "low", "1": "middle", "2": "high"}
    assert saved["label2id"] == {"low": 0, "middle": 1, "high": 2}
    assert saved["problem_type"] == "multi_label_classification"


@pytest.mark.filterwarnings("ignore:.*begin anew")
def test_new_labels_leave_nothing_of_the_old_ones(tmp_path):
    old = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "num_labels": 3, "problem_type": "multi_label_classification"}
    folder = written(tmp_path / "old", tensors_of(TEXT), values_of(TEXT) | old)
    kt.TextClassifier.from_preset(folder, labels=["a", "b", "c", "d"]).save_to_preset(tmp_path / "new")
    again = kt.TextClassifier.from_preset(tmp_path / "new")
    assert (again.labels, again.problem) == (("a", "b", "c", "d"), "single_label")


def test_a_number_of_labels_goes_before_two_names_that_old_files_have(tmp_path):
    values = values_of(TEXT) | {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "num_labels": 3}
    folder = written(tmp_path / "theirs", tensors_of(TEXT), values)
    model = kt.TextClassifier.from_preset(folder)
    assert model.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert_comes_back(folder, model, tmp_path / "ours")


def test_an_unknown_family_is_told_with_another_spelling(tmp_path):
    folder = written(tmp_path / "theirs", tensors_of(TEXT), values_of(TEXT) | {"model_type": "BERT"})
    with pytest.raises(ValueError, match=r"knows \(albert, bart, bert, .*got 'BERT' \(did you mean 'bert'\?\)"):
        kt.TextClassifier.from_preset(folder)
    values = {name: value for name, value in values_of(TEXT).items() if name != "model_type"}
    folder = written(tmp_path / "theirs", tensors_of(TEXT), values)
    assert computes_the_same(kt.TextClassifier.from_preset(folder), TEXT)
    folder = written(tmp_path / "theirs", tensors_of(TEXT), values | {"architectures": ["XLMModel"]})
    with pytest.raises(ValueError, match="got none: pass model_type="):
        kt.TextClassifier.from_preset(folder)
    del values["architectures"]
    folder = written(tmp_path / "theirs", tensors_of(TEXT), values)
    with pytest.raises(ValueError, match="got none: pass model_type="):
        kt.TextClassifier.from_preset(folder)
    assert computes_the_same(kt.TextClassifier.from_preset(folder, model_type="bert"), TEXT)
