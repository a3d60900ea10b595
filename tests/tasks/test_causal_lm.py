"""A decoder alone: texts beside each other, behind padding, and token by token are what each is by itself."""

import dataclasses

import numpy as np
import pytest
from keras import ops

import keras_transformers as kt
from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.positions import Alibi, Learned, RelativeBuckets, Rotary, Sinusoidal
from keras_transformers.layers.stack import StackConfig
from tests.layers.reference import relative_error

POSITIONS = {
    "rotary": (None, Rotary()),
    "alibi": (None, Alibi()),
    "buckets": (None, RelativeBuckets(8, 16)),
    "learned": (Learned(12), None),
    "sinusoidal": (Sinusoidal(12), None),
}


def make(name, **attention):
    absolute, relative = POSITIONS[name]
    block = BlockConfig(
        AttentionConfig(4, 2, positions=relative, **attention), FeedForwardConfig(24), norm_placement="pre"
    )
    return kt.CausalLM(kt.ModelConfig(16, EmbeddingsConfig(40, absolute), decoder=StackConfig(2, block, True)))


@pytest.fixture(params=POSITIONS)
def model(request):
    return make(request.param)


def logits(model, token_ids, **inputs):
    inputs = {name: np.array(each, "int32") for name, each in {"token_ids": token_ids, **inputs}.items()}
    return ops.convert_to_numpy(model(inputs))


TEXTS = [[5, 9, 3, 7, 2], [8, 4, 11], [1, 30, 22, 6]]


def test_padding_before_a_text_changes_nothing(model):
    for text in TEXTS:
        padded = [[0] * 4 + text]
        found = logits(model, padded, starts=[[4]])[:, 4:]
        assert relative_error(found, logits(model, [text])) <= 1e-5


def test_texts_in_one_row_do_not_see_each_other(model):
    row = sum(TEXTS, [])
    starts = np.repeat(np.cumsum([0, *map(len, TEXTS[:-1])]), [len(text) for text in TEXTS])
    found = logits(model, [row], starts=[starts])
    wanted = np.concatenate([logits(model, [text]) for text in TEXTS], axis=1)
    assert relative_error(found, wanted) <= 1e-5


def test_prompts_of_unequal_length_go_on_as_they_do_alone(model):
    config = kt.GenerationConfig(max_new_tokens=6)
    together = model.generate_ids(TEXTS, config).token_ids
    for row, text in enumerate(TEXTS):
        np.testing.assert_array_equal(model.generate_ids([text], config).token_ids, together[row : row + 1])
        ids = list(text)
        for token_id in together[row]:
            assert logits(model, [ids])[0, -1].argmax() == token_id
            ids.append(token_id)


def test_a_window_counts_from_the_query(model):
    windowed = dataclasses.replace(model.config.decoder.block.attention, window=2)
    block = dataclasses.replace(model.config.decoder.block, attention=windowed)
    model = kt.CausalLM(
        dataclasses.replace(model.config, decoder=dataclasses.replace(model.config.decoder, block=block))
    )
    found = logits(model, [[0, 0, 0, *TEXTS[0]]], starts=[[3]])[:, 3:]
    assert relative_error(found, logits(model, TEXTS[:1])) <= 1e-5


def test_a_model_with_an_encoder_is_refused():
    with pytest.raises(ValueError, match="with a decoder and no encoder"):
        kt.CausalLM(kt.models.encoder(40, num_layers=1, hidden_dim=16, num_heads=4))
