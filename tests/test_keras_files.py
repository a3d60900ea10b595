"""Keras's own files, opened in a new Python that knows nothing but `import keras_transformers`."""

import importlib
import json
import os
import pathlib
import pkgutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers import registered

ROOT = pathlib.Path(__file__).resolve().parents[1]
TEXTS = ["the cat sat", "on the mat", "a dog ran far"] * 8
SIZE = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "max_length": 16, "dropout": 0.0}
# Which of the library's modules each program has loaded before it opens the files: none.
PROGRAM = """
import json, sys
{imports}
assert not [name for name in sys.modules if name.startswith("keras_transformers.layers")]
results = {{}}
for path in sys.argv[1:]:
    model = keras.saving.load_model(path)
    ids = __import__("numpy").array([[5, 6, 7, 8]], "int32")
    double = {{"token_ids": ids, "decoder_token_ids": ids}}
    inputs = double if type(model).__name__ == "Seq2SeqLM" else ids
    outputs = keras.ops.convert_to_numpy(model(inputs))
    tokenizer = getattr(model, "tokenizer", None)
    encoded = None if tokenizer is None else tokenizer.encode(["the cat"])
    results[path] = [outputs.tolist(), type(model).__name__, encoded]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def tokenizer():
    return kt.Tokenizer.train(TEXTS, vocabulary_size=300)


def tasks(tokenizer):
    sizes = {**SIZE, "padding_id": tokenizer.padding_id}
    encoder = kt.models.encoder(tokenizer.vocabulary_size, **sizes)
    yield kt.TextClassifier(encoder, tokenizer, labels=["a", "b"])
    yield kt.TokenClassifier(encoder, tokenizer, labels=["O", "B-X"])
    yield kt.TextEmbedder(encoder, tokenizer, pooling="max", normalize=False)
    yield kt.MaskedLM(encoder, tokenizer, mask_rate=0.2)
    yield kt.QuestionAnswerer(encoder, tokenizer, overlap=3)
    yield kt.CausalLM(kt.models.gpt(tokenizer.vocabulary_size, **sizes), tokenizer)
    yield kt.Seq2SeqLM(kt.models.transformer(tokenizer.vocabulary_size, **sizes), tokenizer)


def model_of_layers():
    """Layers of ours, a schedule, and metrics, in anyone's model."""
    layers = kt.layers
    block = layers.BlockConfig(layers.AttentionConfig(2, positions=layers.Rotary()), layers.FeedForwardConfig(24))
    inputs = keras.Input((None,), dtype="int32")
    x = layers.PositionalEmbedding(30, 16, 16, padding_id=0)(inputs)
    y = layers.Encoder(1, block)(x)
    y = layers.DecoderBlock(2, 24)(layers.EncoderBlock(2, 24)(y), layers.MultiHeadAttention(2)(x))
    y = layers.Decoder(1, block, cross_attention=False)(layers.RMSNormalization()(layers.FeedForward(24)(y)))
    y = keras.layers.TimeDistributed(layers.Transform())(y)
    model = keras.Model(inputs, layers.VocabularyHead(30, tied=False)(y))
    metrics = [kt.training.TokenAccuracy(), kt.training.Perplexity()]
    schedule = kt.training.InverseSquareRoot(1e-3, 10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule), loss, weighted_metrics=metrics)
    return model


def model_of_a_backbone():
    inputs = keras.Input((None,), dtype="int32")
    x = kt.Backbone(kt.models.encoder(30, **SIZE))(inputs)
    return keras.Model(inputs, kt.layers.Pooler("mean")(x))


# Keras is looked up, and imported after us.
LOOKED_UP = "import importlib.util\nimport keras_transformers\nassert importlib.util.find_spec('keras')\nimport keras"
# The order of imports does not matter, and one backend is enough to see that.
KERAS_FIRST = "import keras\nimport keras_transformers"


def open_anew(paths, imports):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", PROGRAM.format(imports=imports), *map(str, paths)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=paths[0].parent)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_kind_of_model_opens_in_a_new_process(tmp_path, tokenizer):
    models = [*tasks(tokenizer), model_of_a_backbone(), model_of_layers()]
    if keras.backend.backend() != "torch":  # which opens each; here, one that reads, one that writes, and layers
        models = [models[0], *models[-3::2]]
    ids = np.array([[5, 6, 7, 8]], "int32")
    models[0].compile()
    paths = []
    for n, model in enumerate(models):
        paths.append(tmp_path / f"{n}.keras")
        model.save(paths[-1])
    found = open_anew(paths, KERAS_FIRST if keras.backend.backend() == "jax" else LOOKED_UP)
    for path, model in zip(paths, models, strict=True):
        outputs, name, encoded = found[str(path)]
        inputs = {"token_ids": ids, "decoder_token_ids": ids} if isinstance(model, kt.Seq2SeqLM) else ids
        expected = keras.ops.convert_to_numpy(model(inputs))
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5, err_msg=name)
        assert name == type(model).__name__
        assert encoded == (tokenizer.encode(["the cat"]) if hasattr(model, "tokenizer") else None)


@pytest.mark.one_backend("torch")
def test_the_table_names_every_registered_class():
    for module in pkgutil.walk_packages(kt.__path__, "keras_transformers."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    prefix = f"{registered.PACKAGE}>"
    classes = {key: each for key, each in keras.saving.get_custom_objects().items() if key.startswith(prefix)}
    homes = {
        f"{prefix}{name}": f"{registered.PACKAGE}.{home}" for home, names in registered.HOMES.items() for name in names
    }
    assert {key: each.__module__ for key, each in classes.items()} == homes


@pytest.mark.one_backend("torch")
def test_a_configuration_may_not_write_outside_of_its_folder(tokenizer):
    config = next(tasks(tokenizer)).get_config()
    config["tokenizer"] = {"../outside.json": "e30="}
    with pytest.raises(ValueError, match="'../outside.json', which leads out of its folder"):
        kt.TextClassifier.from_config(config)
