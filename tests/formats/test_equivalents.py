"""Models of this library as models of transformers: the logits are the same, and what has no equal is refused."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.layers.norms import LayerNorm, RMSNorm
from keras_transformers.layers.positions import Learned
from keras_transformers.layers.simple_recurrence import SimpleRecurrence
from keras_transformers.models.config import ModelConfig
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")

SIZES = {"num_layers": (1, 1), "hidden_dim": 8, "num_heads": 2, "max_length": 16}


def transformer(learned: bool = False, **options: object) -> ModelConfig:
    config = kt.models.transformer(24, **SIZES, **options)
    if not learned:
        return config
    sides = {
        name: dataclasses.replace(each, positions=Learned(16), norm=LayerNorm())
        for name in ("embeddings", "decoder_embeddings")
        if (each := getattr(config, name)) is not None
    }
    return dataclasses.replace(config, **sides)


def random_model(config: ModelConfig) -> kt.Seq2SeqLM:
    model, random = kt.Seq2SeqLM(config), np.random.default_rng(0)
    for weight in model.weights:
        if "seed" not in weight.path:
            weight.assign(random.normal(size=weight.shape) / 2 + weight.path.endswith("gamma"))
    return model


@pytest.mark.parametrize(
    "architecture, options",
    [
        ("MarianMTModel", {}),
        ("MarianMTModel", {"position_layout": "halves", "tied_head": False}),
        ("MarianMTModel", {"target_vocabulary_size": 20, "shared_embeddings": False, "head_bias": True}),
        ("PegasusForConditionalGeneration", {"norm_placement": "pre"}),
        ("PegasusForConditionalGeneration", {"norm_placement": "pre", "shared_embeddings": False, "head_bias": True}),
        ("BartForConditionalGeneration", {"learned": True}),
        ("BartForConditionalGeneration", {"learned": True, "shared_embeddings": False}),
        ("MBartForConditionalGeneration", {"learned": True, "norm_placement": "pre", "tied_head": False}),
    ],
)
def test_transformers_computes_the_same(architecture, options, tmp_path):
    import torch
    import transformers

    config = transformer(**options)
    model, random = random_model(config), np.random.default_rng(1)
    model.generation = dataclasses.replace(model.generation, start_id=2, end_ids=(1,))
    model.export_hugging_face(tmp_path / "theirs")
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "theirs").eval()
    assert type(theirs).__name__ == architecture
    assert (theirs.config.decoder_start_token_id, theirs.config.eos_token_id) == (2, 1)
    sources, targets = random.integers(1, 24, (2, 7)), random.integers(1, 20, (2, 5))
    sources[1, 4:] = 0
    mask = torch.tensor(sources != 0).long()
    with torch.no_grad():
        expected = theirs(torch.tensor(sources), mask, decoder_input_ids=torch.tensor(targets)).logits.numpy()
    ours = keras.ops.convert_to_numpy(model({"token_ids": sources, "decoder_token_ids": targets}))
    assert relative_error(ours, expected) < 1e-5
    again = kt.Seq2SeqLM.from_preset(tmp_path / "theirs")
    ours = keras.ops.convert_to_numpy(again({"token_ids": sources, "decoder_token_ids": targets}))
    assert relative_error(ours, expected) < 1e-5


@pytest.mark.parametrize(
    "message, options",
    [
        ("'marian', which differs in encoder.block.norm, LayerNorm and not RMSNorm", {"norm": RMSNorm()}),
        ("encoder.block.norm.epsilon, 1e-05 and not 1e-09", {"norm": LayerNorm(1e-9)}),
        ("decoder.block.recurrence, None and not SimpleRecurrence", {"recurrence": SimpleRecurrence()}),
        (
            "'pegasus', which differs in decoder_embeddings.vocabulary_size, 24 and not 20",
            {"norm_placement": "pre", "target_vocabulary_size": 20, "shared_embeddings": False},
        ),
    ],
)
def test_a_model_without_an_equal_is_refused_with_the_reason(message, options, tmp_path):
    with pytest.raises(ValueError, match=message):
        random_model(transformer(**options)).export_hugging_face(tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()


def test_a_quantized_model_is_refused(tmp_path):
    model = random_model(transformer())
    kt.transforms.quantize(model)
    with pytest.raises(ValueError, match="Expected float weights for transformers"):
        model.export_hugging_face(tmp_path / "theirs")


def test_the_embedded_translator_leaves_with_its_tokenizer(tmp_path):
    import torch
    import transformers

    model = kt.Seq2SeqLM.from_preset("english-french")
    model.export_hugging_face(tmp_path / "theirs")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "theirs", dtype=torch.float32)
    inputs = tokenizer(["The house is small."], return_tensors="pt")
    ids = theirs.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    assert tokenizer.batch_decode(ids, skip_special_tokens=True) == model.translate(["The house is small."])
