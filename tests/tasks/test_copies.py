"""A task shown, copied and configured by Keras's and Python's own means: nothing of it is lost."""

import copy
import pickle

import keras
import numpy as np
import pytest

import keras_transformers as kt

TEXTS = ["the cat sat", "on the mat", "a dog ran far"] * 8
SIZE = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "max_length": 16}

pytestmark = pytest.mark.one_backend("torch")


@pytest.fixture(scope="module")
def tokenizer():
    return kt.Tokenizer.train(TEXTS, vocabulary_size=300)


@pytest.fixture(scope="module")
def made(tokenizer):
    sizes = {**SIZE, "padding_id": tokenizer.padding_id}
    count = tokenizer.vocabulary_size
    encoder, gpt = kt.models.encoder(count, **sizes), kt.models.gpt(count, **sizes)
    transformer = kt.models.transformer(count, **sizes)
    generation = kt.GenerationConfig(max_new_tokens=5, num_beams=2, end_ids=(tokenizer.end_id,))
    return {
        "TextClassifier": kt.TextClassifier(encoder, tokenizer, labels=["x", "y"], problem="multi_label"),
        "TokenClassifier": kt.TokenClassifier(encoder, tokenizer, labels=["O", "B-X"]),
        "TextEmbedder": kt.TextEmbedder(encoder, tokenizer, pooling="max", normalize=False, max_length=9, scale=3.0),
        "MaskedLM": kt.MaskedLM(encoder, tokenizer, mask_rate=0.2),
        "QuestionAnswerer": kt.QuestionAnswerer(encoder, tokenizer, overlap=3),
        "CausalLM": kt.CausalLM(gpt, tokenizer, generation),
        "Seq2SeqLM": kt.Seq2SeqLM(transformer, tokenizer, generation),
    }


TASKS = ("TextClassifier", "TokenClassifier", "TextEmbedder", "MaskedLM", "QuestionAnswerer", "CausalLM", "Seq2SeqLM")
WITH_WEIGHTS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}
WITHOUT_WEIGHTS = {
    "clone_model": keras.models.clone_model,
    "from_config": lambda model: type(model).from_config(model.get_config()),
    "json": lambda model: keras.models.model_from_json(model.to_json()),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("way", [*WITH_WEIGHTS, *WITHOUT_WEIGHTS])
def test_a_copy_has_all_but_perhaps_the_weights(made, task, way):
    model = made[task]
    again = {**WITH_WEIGHTS, **WITHOUT_WEIGHTS}[way](model)
    assert type(again) is type(model) and again is not model
    assert again.tokenizer.encode(TEXTS) == model.tokenizer.encode(TEXTS)
    assert again.get_config() == model.get_config()
    assert again.compiled is model.compiled is False
    for name in ("labels", "problem", "generation", "normalize", "scale", "max_length", "mask_rate", "overlap"):
        assert getattr(again, name, None) == getattr(model, name, None), name
    pairs = list(zip(model.get_weights(), again.get_weights(), strict=True))
    same = all(np.array_equal(ours, theirs) for ours, theirs in pairs)
    assert same == (way in WITH_WEIGHTS)


def test_a_copy_without_a_tokenizer_has_none(made):
    assert keras.models.clone_model(kt.MaskedLM(made["MaskedLM"].config)).tokenizer is None


def test_adapters_and_fewer_bits_are_copied(made):
    model = copy.deepcopy(made["TextClassifier"])
    kt.transforms.add_lora(model, rank=2)
    for again in (copy.deepcopy(model), keras.models.clone_model(model)):
        assert [weight.path for weight in again.trainable_variables] == [
            weight.path for weight in model.trainable_variables
        ]


def paths(model):
    return [weight.path for weight in model.trainable_variables]


@pytest.mark.parametrize(
    "freeze", [lambda model: model.freeze(layers=1), lambda model: setattr(model, "trainable", False)]
)
def test_what_is_frozen_stays_so_in_a_copy_and_a_file(made, freeze, tmp_path):
    model = copy.deepcopy(made["TextClassifier"])
    whole = len(paths(model))
    freeze(model)
    assert len(paths(model)) < whole
    model.save(tmp_path / "model.keras")
    for again in (keras.models.clone_model(model), keras.saving.load_model(tmp_path / "model.keras")):
        assert paths(again) == paths(model)


def test_a_frozen_backbone_stays_so_in_a_model_around_it(made, tmp_path):
    backbone = kt.Backbone(made["MaskedLM"].config)
    backbone.trainable = False
    inputs = keras.Input((None,), dtype="int32")
    model = keras.Model(inputs, keras.layers.Dense(2)(kt.layers.Pooler()(backbone(inputs))))
    model.save(tmp_path / "model.keras")
    assert len(keras.saving.load_model(tmp_path / "model.keras").trainable_variables) == 2


def test_a_loaded_model_is_still_fine_tuned(made, tmp_path):
    model = copy.deepcopy(made["CausalLM"])
    assert not model.pretrained and not copy.deepcopy(model).pretrained
    model.save_to_preset(tmp_path / "preset")
    kt.CausalLM.from_preset(tmp_path / "preset").save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").pretrained


@pytest.mark.parametrize("task", TASKS)
def test_a_model_shows_what_it_is(made, task):
    text = repr(made[task])
    assert text == str(made[task]) == kt.explain(made[task]).rstrip()
    assert text.startswith(f"{task}:") and "parameters" in text and "heads" in text
    assert repr(made[task].backbone).startswith("Backbone:")


def test_keras_finds_its_way_in_a_task(made, tmp_path):
    model = made["TextClassifier"]
    assert [layer.name for layer in model.layers] == ["backbone", "classifier", "pooler"]
    assert model.get_layer("backbone") is model.backbone and model.get_layer(index=0) is model.backbone
    assert model.count_params() == sum(weight.size for weight in model.get_weights())
    names = [weight.path for weight in model.weights if "seed_generator" not in weight.path]
    assert len(set(names)) == len(names)
    model.build((None, 8))  # it is built already
    model.build({"token_ids": (None, 8)})
    model.save_weights(tmp_path / "mine.weights.h5")
    again = keras.models.clone_model(model)
    again.load_weights(tmp_path / "mine.weights.h5")
    for ours, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
