"""A few hundred bytes of configuration cannot ask for gigabytes: what is asked for is compared with what is held."""

import json
import resource
import shutil
import time
import tracemalloc

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.formats import budget
from tests.fuzz import doors

pytestmark = pytest.mark.one_backend("torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    doors.DOORS["classifiers"].make(folder)
    return folder / "classifier"


def refuses(task, folder, message, seconds=10.0, most=64 * 2**20):
    """Opening is refused with a message, soon and within little memory."""
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        task.from_preset(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024
    assert time.monotonic() - begin < seconds


def changed(source, target, **values):
    shutil.copytree(source, target)
    path = target / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return target


@pytest.mark.parametrize(
    "values, message",
    [
        ({"num_hidden_layers": 100_000}, "num_hidden_layers: expected a number from 0 to 1000, got 100000"),
        ({"num_hidden_layers": 900}, "900 blocks of the encoder"),
        ({"max_position_embeddings": 10**8}, "100,000,000 positions of 16 numbers"),
        ({"vocab_size": 10**9}, "vocabulary_size=1,000,000,000"),
        ({"intermediate_size": 10**8}, "intermediate_dim=100,000,000"),
        ({"num_labels": 10**7, "id2label": None}, "num_labels from 1 to 1,000,000, got 10000000"),
    ],
)
def test_a_hugging_face_folder(folder, tmp_path, values, message):
    refuses(kt.TextClassifier, changed(folder, tmp_path / "odd", **values), message)


def test_a_new_head_out_of_proportion():
    tensors = {"body": np.zeros((10, 10), "float32")}
    budget.check_weights({"body": (10, 10), "head": (10, 1000)}, ["head"], tensors, "a folder")
    with pytest.raises(ValueError, match="of the content of a folder, 100 numbers, got one that asks for 100 of them"):
        budget.check_weights({"body": (10, 10), "head": (10, 10**7)}, ["head"], tensors, "a folder")
    with pytest.raises(ValueError, match="asks for 10,000,000,000 of them and 0 new ones"):
        budget.check_weights({"body": (10**5, 10**5)}, [], tensors, "a folder")


def test_a_preset_of_ours(tmp_path):
    doors.DOORS["generators"].make(tmp_path)
    path = tmp_path / "translator" / "config.json"
    whole = json.loads(path.read_text())
    assert whole["model_type"] == "keras_transformers"
    for place, value, message in [
        (("encoder", "num_layers"), 100_000, "100,000 blocks of the encoder"),
        (("embeddings", "positions", "max_length"), 10**8, "100,000,000 positions of 16 numbers"),
        (("encoder", "block", "attention", "num_heads"), 2**30, "no multiple of num_heads=1073741824"),
        (("encoder", "block", "feed_forward", "intermediate_dim"), 2**30, "intermediate_dim=1,073,741,824"),
    ]:
        values = json.loads(json.dumps(whole))
        inner = values["config"]
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
        path.write_text(json.dumps(values))
        refuses(kt.Seq2SeqLM, path.parent, message)


def test_a_tensor_of_strides_of_0(folder, tmp_path):
    import safetensors.torch
    import torch

    odd = changed(folder, tmp_path / "odd")
    state = safetensors.torch.load_file(odd / "model.safetensors")
    (odd / "model.safetensors").unlink()
    state["bert.embeddings.word_embeddings.weight"] = torch.zeros(1).expand(600_000_000, 1)
    torch.save(state, odd / "pytorch_model.bin")
    refuses(kt.TextClassifier, odd, r"of which .* holds every number, got others, such as .*\[600000000, 1\]")


def test_a_data_set_that_was_never_written(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    from keras_transformers.formats import keras_weights

    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        file.create_dataset("layers/dense/vars/0", (600_000_000,), "float32", chunks=(1000,))
    with pytest.raises(ValueError, match="Expected 2400000000 bytes of numbers as layers/dense/vars/0 .*, got 0"):
        keras_weights.datasets(tmp_path, ["model.weights.h5"], "model")


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_weights_of_another_kind(folder, tmp_path, dtype):
    import safetensors.numpy

    odd = changed(folder, tmp_path / "odd")
    tensors = safetensors.numpy.load_file(odd / "model.safetensors")
    name = next(name for name, array in tensors.items() if array.ndim == 2)
    tensors[name] = np.ones(tensors[name].shape, dtype)
    safetensors.numpy.save_file(tensors, odd / "model.safetensors", {"format": "pt"})
    kinds = {"int32": "I32", "int64": "I64", "uint8": "U8", "bool": "BOOL"}
    with pytest.raises(ValueError, match=f"expected floating-point numbers, got {kinds[dtype]}"):
        kt.TextClassifier.from_preset(odd)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"hidden_size": 0}, "hidden_size: expected a number of at least 1, got 0"),
        ({"num_attention_heads": 3}, "no multiple of num_heads=3"),
        ({"hidden_dropout_prob": -0.1}, "hidden_dropout_prob: expected a number from 0 to 1, got -0.1"),
        ({"attention_probs_dropout_prob": 1.5}, "attention_probs_dropout_prob: expected a number from 0 to 1"),
        ({"layer_norm_eps": -1e-5}, "layer_norm_eps: expected a number from 0 to 1, got -1e-05"),
        ({"layer_norm_eps": float("nan")}, "got NaN, which is no finite number"),
        ({"num_hidden_layers": True}, "num_hidden_layers: expected int, got True"),
        ({"architectures": 3}, "architectures"),
        ({"model_type": {}}, "model_type"),
        ({"id2label": [1, 2]}, "Expected id2label to give numbers names"),
        ({"id2label": {"0": {}, "1": []}}, "Expected labels that are strings and differ"),
        ({"problem_type": []}, "Expected problem_type to be one of"),
    ],
)
def test_numbers_out_of_range_and_values_of_another_type(folder, tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        kt.TextClassifier.from_preset(changed(folder, tmp_path / "odd", **values))


def test_what_was_refused_leaves_nothing_behind(folder, tmp_path):
    odd = changed(folder, tmp_path / "odd", max_position_embeddings=300)
    with pytest.raises(ValueError, match="expected shape"):
        kt.TextClassifier.from_preset(odd)
    from keras_transformers.models.weights import global_state

    assert not global_state.get_global_attribute("uninitialized_variables")
