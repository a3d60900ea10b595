"""Options of training that every task has: `compile(rematerialize=True)`, by which each block is computed again in the
backward pass, with the same dropout; and optimizers that accumulate gradients."""

import shutil

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.data.batches import Batches
from keras_transformers.data.examples import Examples
from keras_transformers.data.pairs import Ragged
from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.blocks import BlockConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.positions import RelativeBuckets
from keras_transformers.layers.stack import StackConfig
from keras_transformers.tasks import compiling
from keras_transformers.training.schedules import InverseSquareRoot, LinearDecay
from tests.parameters import few

TOKENS, WIDTH = 30, 16
ON_TORCH = keras.backend.backend() == "torch"  # which compiles nothing


def t5():
    """Both stacks, dropout everywhere, and a bias that is learned outside of the blocks."""
    attention = AttentionConfig(2, positions=RelativeBuckets(8, 6), dropout=0.2)
    stack = StackConfig(2 if ON_TORCH else 1, BlockConfig(attention, FeedForwardConfig(32), dropout=0.2))
    embeddings = EmbeddingsConfig(TOKENS, context_length=12)
    return kt.Seq2SeqLM(kt.ModelConfig(WIDTH, embeddings, encoder=stack, decoder=stack))


def gpt(dropout=0.2, num_layers=2):
    return kt.CausalLM(
        kt.models.gpt(TOKENS, num_layers=num_layers, hidden_dim=WIDTH, num_heads=2, max_length=12, dropout=dropout)
    )


def batches(model):
    draw = np.random.default_rng(0)
    ids = [draw.integers(1, TOKENS, (8, 12), dtype="int32") for _ in range(2)]
    names = ("token_ids", "decoder_token_ids") if isinstance(model, kt.Seq2SeqLM) else ("token_ids",)
    return dict(zip(names, ids, strict=False)), draw.integers(1, TOKENS, (8, 12), dtype="int32")


@pytest.mark.parametrize("make", few([gpt, t5], t5))
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


def test_training_without_a_graph_learns_the_same():
    weights = []
    without = {"run_eagerly": True}
    for options in ({}, *([without] if ON_TORCH else []), {**without, "rematerialize": True}):
        keras.utils.set_random_seed(5)
        model = gpt(num_layers=1)
        model.compile(keras.optimizers.SGD(0.5), **options)
        inputs, labels = batches(model)
        model.train_on_batch(inputs, labels)
        weights.append(model.get_weights())
    for each in weights[1:]:
        for ours, usual in zip(each, weights[0], strict=True):
            np.testing.assert_allclose(ours, usual, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() == "torch" and shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"
)
def test_a_compiled_step_learns_the_same():
    weights = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(5)
        model = gpt(dropout=0.0)
        # A large epsilon: a key's bias has no gradient but rounding, which Adam would make steps of.
        model.compile(keras.optimizers.AdamW(0.01, epsilon=1e-3), jit_compile=jit_compile)
        inputs, labels = batches(model)
        for _ in range(3):
            model.train_on_batch(inputs, labels)
        weights.append(model.get_weights())
    for compiled, usual in zip(*weights, strict=True):
        np.testing.assert_allclose(compiled, usual, atol=1e-5)


@pytest.mark.each_keras
def test_a_file_remembers(tmp_path):
    model = gpt()
    model.compile(keras.optimizers.SGD(0.1), rematerialize=True)
    inputs, labels = batches(model)
    model.train_on_batch(inputs, labels)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").backbone.decoder.rematerialize is True
    model.compile(keras.optimizers.SGD(0.1))
    assert model.backbone.decoder.rematerialize is False


SCHEDULES = [lambda: InverseSquareRoot(0.5, 3), lambda: LinearDecay(0.5)]


@pytest.mark.parametrize("schedule", few(SCHEDULES, SCHEDULES[0]))
def test_half_the_batch_accumulated_twice_is_the_batch(schedule):
    draw = np.random.default_rng(0)
    rows = draw.integers(1, TOKENS, (16, 13), dtype="int32")
    columns = {"token_ids": Ragged.join(rows[:, :-1])}, Ragged.join(rows[:, 1:])
    weights, rates = [], []
    for batches in (None, 2):
        keras.utils.set_random_seed(5)
        model = gpt(dropout=0.0)
        model.compile(keras.optimizers.SGD(schedule(), gradient_accumulation_steps=batches))
        examples = Examples(*columns, np.ones(len(rows), "float32"), 0)
        data = Batches(examples, batch_size=8 // (batches or 1), shuffle=False)
        history = model.fit(data, epochs=2, verbose=0)
        assert np.isfinite(history.history["loss"]).all() and int(model.optimizer.iterations) == 4
        rates.append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
        weights.append(model.get_weights())
    assert rates[0] == pytest.approx(rates[1], abs=1e-7)
    for whole, accumulated in zip(*weights, strict=True):
        np.testing.assert_allclose(accumulated, whole, atol=1e-5)


@pytest.mark.each_keras
def test_a_decay_is_as_long_as_fit_where_one_ends_within_an_update():
    rows = np.random.default_rng(0).integers(1, TOKENS, (10, 13), dtype="int32")
    examples = Examples({"token_ids": Ragged.join(rows[:, :-1])}, Ragged.join(rows[:, 1:]), np.ones(10, "float32"), 0)
    data = Batches(examples, batch_size=2, shuffle=False)
    model = gpt()
    model.compile(keras.optimizers.SGD(LinearDecay(0.5), gradient_accumulation_steps=2))
    spans = []
    for _ in range(2):  # updates after the batches 1, 3 of 0 to 4, and 5, 7, 9 of 5 to 9
        model.fit(data, verbose=0)
        followed = model.optimizer._learning_rate.schedule
        spans.append((followed.first_step, followed.total_steps))
    assert spans == [(0, 2), (2, 3)]
    model.optimizer._iterations.assign(8)  # the second `fit`, resumed after three of its batches
    compiling.lengthen_schedules(model, 5, done=3)
    assert (followed.first_step, followed.total_steps) == spans[1]


@pytest.mark.each_keras
def test_an_accumulating_optimizer_and_its_schedule_go_through_a_file(tmp_path):
    model = gpt()
    model.compile(keras.optimizers.SGD(InverseSquareRoot(0.1, 3), gradient_accumulation_steps=2))
    inputs, labels = batches(model)
    for _ in range(3):
        model.train_on_batch(inputs, labels)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    rates = [float(keras.ops.convert_to_numpy(each.optimizer.learning_rate)) for each in (model, copy)]
    assert rates[0] == pytest.approx(rates[1]) == pytest.approx(0.1 * 2 / 3)  # of the second update
