"""Encoder-decoders of Hugging Face's, as tasks: they are trained, adapted, widened, and their decoders read."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.data.examples import Examples
from keras_transformers.data.pairs import Pairs, Ragged
from tests.conformance import checkpoints
from tests.conformance.cases import CASES, CHECKPOINTS, FIRST, soon

pytestmark = pytest.mark.one_backend("torch")

HEADS = {case.model_type: name for name, (case, head) in reversed(CHECKPOINTS.items()) if case.writes}
WRITERS = [HEADS[model_type] for model_type in FIRST if model_type in HEADS]
BART = "bart/BartForConditionalGeneration"


def _model(name):
    return checkpoints.load(checkpoints.folder(name), CHECKPOINTS[name][1])


def _texts(count=16):
    return np.random.default_rng(0).integers(10, 40, (count, 9)).astype("int32")


@pytest.mark.parametrize("name", soon({CHECKPOINTS[name][0].attention: name for name in WRITERS}.values(), WRITERS))
def test_the_loss_falls(name):
    model, texts = _model(name), Ragged.join(_texts())
    model.compile(keras.optimizers.Adam(1e-2), label_smoothing=0.0)
    assert _falls(model, Pairs(texts, texts, padding_id=5, start_id=3))


def test_the_loss_of_adapters_falls():
    model, texts = _model(BART), Ragged.join(_texts())
    kt.transforms.add_lora(model)
    model.compile(keras.optimizers.Adam(3e-2), label_smoothing=0.0)
    assert len(model.trainable_variables) > 0
    assert not any("token" in weight.path for weight in model.trainable_variables)
    assert _falls(model, Pairs(texts, texts, padding_id=5, start_id=3))


def _falls(model, examples):
    """Whether `fit` lowers the loss, by what the model then computes: much is dropped in training."""
    before = model.evaluate(examples, batch_size=8, verbose=0)["loss"]
    model.fit(examples, batch_size=8, epochs=12, verbose=0)
    after = model.evaluate(examples, batch_size=8, verbose=0)["loss"]
    return after < 0.9 * before


def test_a_classifier_whose_decoder_reads_learns():
    case, texts = CASES["bart"], _texts(24)
    undropped = {name: 0.0 for name in case.values if "drop" in name}
    model = kt.TextClassifier(case.family.config(case.values | undropped), num_classes=3)
    labels = (np.arange(24) % 3).astype("int32")
    texts[:, 2], texts[:, -1] = 20 + labels, 7
    model.compile(keras.optimizers.Adam(3e-3))
    assert _falls(model, Examples({"token_ids": Ragged.join(texts)}, labels, np.ones(24, "float32"), 5))


def test_more_tokens_in_a_table_that_two_stacks_share():
    model = _model(BART)
    inputs = {"token_ids": _texts(), "decoder_token_ids": _texts()}
    wider = model.with_vocabulary(70)
    assert wider.config.decoder_embeddings.vocabulary_size == 70
    np.testing.assert_allclose(wider(inputs).detach().numpy()[..., :67], model(inputs).detach().numpy(), atol=1e-5)


def test_generation_settings_come_back_byte_for_byte_unless_they_change(tmp_path):
    model = _model("marian/MarianMTModel")
    model.generation = kt.GenerationConfig(num_beams=4, start_id=5, end_ids=(0,), padding_id=5, max_length=30)
    model.save_to_preset(tmp_path / "first")
    file = tmp_path / "first" / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"transformers_version": "4.46.0"}, indent=8))
    again = kt.Seq2SeqLM.from_preset(tmp_path / "first")
    again.save_to_preset(tmp_path / "second")
    assert (tmp_path / "second" / file.name).read_bytes() == file.read_bytes()
    again.generation = dataclasses.replace(again.generation, num_beams=2)
    again.save_to_preset(tmp_path / "third")
    assert json.loads((tmp_path / "third" / file.name).read_text())["num_beams"] == 2


def test_transformers_is_told_what_a_decoder_starts_with(tmp_path):
    model = _model("marian/MarianMTModel")
    model.generation, model.origin = kt.GenerationConfig(start_id=5, end_ids=(0,), padding_id=5), None
    model.save_to_preset(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    assert (values["decoder_start_token_id"], values["eos_token_id"]) == (5, 0)


def test_what_is_said_of_them():
    told = kt.explain(checkpoints.model("bart/BartForSequenceClassification"))
    for each in ("the source's token vectors", "the source after token 9", "the last token 7", "left out 0.15"):
        assert each in told, told
    assert "the source after its last token" in kt.explain(checkpoints.model("mbart/MBartModel"))


def test_a_decoder_that_reads_only_what_it_is_given_makes_no_classifier():
    with pytest.raises(ValueError, match="with `reading`, got an encoder, and a decoder that reads only"):
        kt.TextClassifier(CASES["marian"].config)


def test_decoders_alone_are_refused_by_name():
    case = CASES["bart"]
    with pytest.raises(
        ValueError, match="is_encoder_decoder: only True is supported, got False; is_decoder: only False"
    ):
        case.family.config({**case.values, "is_encoder_decoder": False, "is_decoder": True})
