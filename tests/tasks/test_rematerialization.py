"""`compile(rematerialize=True)`: each block is computed again in the backward pass, with the same dropout."""

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.positions import RelativeBuckets
from keras_transformers.layers.stack import StackConfig

TOKENS, WIDTH = 30, 16


def t5():
    """Both stacks, dropout everywhere, and a bias that is learned outside of the blocks."""
    attention = AttentionConfig(2, positions=RelativeBuckets(8, 6), dropout=0.2)
    stack = StackConfig(2, BlockConfig(attention, FeedForwardConfig(32), dropout=0.2))
    embeddings = EmbeddingsConfig(TOKENS, context_length=12)
    return kt.Seq2SeqLM(kt.ModelConfig(WIDTH, embeddings, encoder=stack, decoder=stack))


def gpt():
    return kt.CausalLM(kt.models.gpt(TOKENS, num_layers=2, hidden_dim=WIDTH, num_heads=2, max_length=12, dropout=0.2))


def batches(model):
    draw = np.random.default_rng(0)
    ids = [draw.integers(1, TOKENS, (8, 12), dtype="int32") for _ in range(2)]
    names = ("token_ids", "decoder_token_ids") if isinstance(model, kt.Seq2SeqLM) else ("token_ids",)
    return dict(zip(names, ids, strict=False)), draw.integers(1, TOKENS, (8, 12), dtype="int32")


@pytest.mark.parametrize("make", [gpt, t5])
def test_the_same_weights_are_learned_and_each_block_is_computed_again(make, monkeypatch):
    remat, blocks = keras.remat, []
    monkeypatch.setattr(keras, "remat", lambda function: blocks.append(function) or remat(function))
    weights = []
    for rematerialize in (False, True):
        keras.utils.set_random_seed(5)
        model = make()
        model.compile(keras.optimizers.SGD(0.5), rematerialize=rematerialize)
        inputs, labels = batches(model)
        losses = [model.train_on_batch(inputs, labels) for _ in range(3)]
        assert np.isfinite(losses).all() and bool(blocks) == rematerialize
        weights.append(model.get_weights())
        assert np.isfinite(model.test_on_batch(inputs, labels)).all()
    for ours, kept in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, kept, atol=1e-6)


def test_a_file_remembers(tmp_path):
    model = gpt()
    model.compile(keras.optimizers.SGD(0.1), rematerialize=True)
    inputs, labels = batches(model)
    model.train_on_batch(inputs, labels)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").backbone.decoder.rematerialize is True
    model.compile(keras.optimizers.SGD(0.1))
    assert model.backbone.decoder.rematerialize is False
