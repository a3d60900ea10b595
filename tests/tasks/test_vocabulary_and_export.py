"""Models that get more tokens, go to the hub, or leave as one graph with their tokenizer."""

import os
import subprocess
import sys
import types

import huggingface_hub
import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.families.registry import families
from tests.layers.reference import fill

TEXTS = ["The rain in Spain stays mainly in the plain.", "A man rides a bike.", "Two dogs play in the snow."]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def make(task, model_type="bert", **sizes):
    special = {"padding_token": "[PAD]", "unknown_token": "[UNK]", "class_token": "[CLS]", "separator_token": "[SEP]"}
    special |= {"mask_token": "[MASK]", "start_token": None, "end_token": None}
    tokenizer = kt.Tokenizer.train(TEXTS * 2, kind="wordpiece", vocabulary_size=90, **special)
    model = task(
        families()[model_type].config({"vocab_size": tokenizer.vocabulary_size, **(sizes or SIZES)}), tokenizer
    )
    fill(model)
    return model


@pytest.mark.each_keras
@pytest.mark.parametrize("task", [kt.TextClassifier, kt.MaskedLM])
@pytest.mark.parametrize(
    "model_type, sizes",
    [("bert", {}), pytest.param("electra", {**SIZES, "embedding_size": 8}, marks=pytest.mark.one_backend("torch"))],
)
def test_new_tokens_change_nothing_for_the_old_ones(task, model_type, sizes):
    model = make(task, model_type, **sizes)
    size = model.tokenizer.vocabulary_size
    before = model.predict(TEXTS)
    assert model.tokenizer.add_tokens(["<user>", "<link>"]) == 2
    grown = model.with_vocabulary()
    assert grown.config.embeddings.vocabulary_size == size + 2
    for old, new in zip(before, grown.predict(TEXTS), strict=True):
        np.testing.assert_allclose(new[..., :size], old, atol=1e-5)
    table = keras.ops.convert_to_numpy(grown.backbone.embedding.token.embeddings)
    np.testing.assert_allclose(table[-1], table[:size].mean(0), atol=1e-6)
    assert len(grown.predict(["Hello <user>"])) == 1
    smaller = grown.with_vocabulary(size + 2)
    np.testing.assert_array_equal(smaller.backbone.embedding.token.embeddings, table)
    with pytest.raises(ValueError, match=f"a vocabulary of {size + 2} tokens, where the model has {size + 1}"):
        grown.with_vocabulary(size + 1)


@pytest.mark.each_keras
def test_a_model_goes_to_the_hub_as_it_is_saved(tmp_path, monkeypatch):
    uploaded = {}

    class Api:
        def create_repo(self, name, private, exist_ok):
            uploaded["repository"] = (name, private, exist_ok)

        def upload_folder(self, *, repo_id, folder_path, revision, commit_message):
            uploaded["files"] = sorted(path.name for path in folder_path.iterdir())
            uploaded["model"] = kt.TextClassifier.from_preset(folder_path)
            return types.SimpleNamespace(__str__=lambda self: "address")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    model = make(kt.TextClassifier)
    model.push_to_hub("org/name", private=True)
    assert uploaded["repository"] == ("org/name", True, True)
    files = ["SHA256SUMS", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert uploaded["files"] == files
    np.testing.assert_allclose(uploaded["model"].predict(TEXTS), model.predict(TEXTS), atol=1e-6)


SERVE = """
import sys
import numpy as np
import tensorflow as tf
import tensorflow_text
served = tf.saved_model.load(sys.argv[1])
np.save(sys.argv[2], served.serve(tf.constant(sys.argv[3:]))["outputs"].numpy())
"""


@pytest.mark.one_backend("tensorflow")
@pytest.mark.parametrize(
    "model_type, sizes",
    [
        ("bert", {}),
        pytest.param(
            *("distilbert", {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}), marks=pytest.mark.slow
        ),
    ],
)
def test_one_graph_of_tokenizer_and_model(tmp_path, model_type, sizes):
    pytest.importorskip("tensorflow_text")
    model = make(kt.TextClassifier, model_type, **sizes)
    model.export_with_text(tmp_path / "served", length=20)
    texts = [*TEXTS, "", "Été – naïve, Straße ½ 猫", "the rain " * 30]
    environment = os.environ | {"PYTHONPATH": ""}
    command = [sys.executable, "-c", SERVE, tmp_path / "served", tmp_path / "outputs.npy", *texts]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    with pytest.warns(UserWarning, match="1 of 6 texts are longer than 20 tokens"):
        columns, _ = model.encode_texts(texts, max_length=20)
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), model.run(columns), atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="the error is of the other backends")
def test_a_graph_needs_tensorflow(tmp_path):
    with pytest.raises(RuntimeError, match="Expected the TensorFlow backend"):
        make(kt.TextClassifier).export_with_text(tmp_path / "served", length=8)
