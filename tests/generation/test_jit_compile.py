"""`jit_compile` on PyTorch: `torch.compile` computes what the eager step and forward pass do, once for all sizes."""

import shutil

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.generation import executors
from keras_transformers.layers import AttentionConfig, BlockConfig, FeedForwardConfig, Rotary, StackConfig
from keras_transformers.layers.embeddings import EmbeddingsConfig

pytestmark = pytest.mark.one_backend("torch")
compiled = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")

SOURCES = [[5, 6, 7, 2], [8, 2], [9, 5, 2]]


@pytest.fixture(autouse=True)
def nothing_compiled_yet():
    import torch

    torch._dynamo.reset()


def graphs():
    """How many functions PyTorch has compiled in this process."""
    import torch

    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.fixture
def traced(monkeypatch):
    """PyTorch traces, and runs what it traced as it is: no wait for code."""
    import torch

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: compile_(function, backend="eager"))


@pytest.fixture
def translator():
    keras.utils.set_random_seed(0)
    return kt.Seq2SeqLM(kt.models.transformer(20, num_layers=1, hidden_dim=16, num_heads=4, max_length=200))


@pytest.fixture
def decoder():
    """Grouped heads, rotary positions and a window that ends within the texts."""
    keras.utils.set_random_seed(0)
    attention = AttentionConfig(4, 2, positions=Rotary(), window=6)
    block = BlockConfig(attention, FeedForwardConfig(32), norm_placement="pre")
    return kt.CausalLM(kt.ModelConfig(16, EmbeddingsConfig(40), decoder=StackConfig(1, block, True)))


def assert_equal(found, expected):
    for mine, its in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine.token_ids, its.token_ids)
        np.testing.assert_allclose(mine.scores, its.scores, rtol=1e-5)


@compiled
def test_a_beam_search_finds_the_same_whatever_the_sizes(translator):
    configs = [kt.GenerationConfig(start_id=1, num_beams=2, max_new_tokens=count) for count in (9, 40, 100)]

    def generate():
        some = [translator.generate(SOURCES, config) for config in configs]
        return [*some, translator.generate(SOURCES[:2], configs[0])]

    expected = generate()
    translator.jit_compile = True
    before = graphs()
    assert_equal(generate(), expected)
    assert graphs() - before == 1, "from two to eight rows, and lengths and room, are open"


def test_any_size_in_any_dtype(translator, traced):
    """Each branch that a size takes is compiled once."""
    model = kt.Seq2SeqLM(translator.config, dtype="bfloat16")
    model.set_weights(translator.get_weights())
    configs = [kt.GenerationConfig(start_id=1, num_beams=count, max_new_tokens=20) for count in (1, 2, 9)]

    def generate(some):
        return [model.generate(SOURCES * 3, configs[0])] + [
            model.generate(SOURCES[:rows], config) for rows in some for config in configs
        ]

    model.jit_compile = True
    generate((1, 2))
    before = graphs()
    found = generate((1, 2, 3))
    assert graphs() == before
    model.jit_compile = False
    for mine, its in zip(found, generate((1, 2, 3)), strict=True):
        np.testing.assert_array_equal(mine.token_ids, its.token_ids)


def test_a_decoder_samples_the_same(decoder, traced):
    prompts = [[5, 6, 7, 8, 9, 3, 4, 5, 6], [8, 4], [9, 5, 4]]
    config = kt.GenerationConfig(do_sample=True, seed=3, max_new_tokens=30, log_probabilities=True)
    expected = decoder.generate_ids(prompts, config)
    decoder.jit_compile = True
    before = graphs()
    assert_equal([decoder.generate_ids(prompts, config)], [expected])
    assert graphs() - before == 1
    weights = decoder.get_weights()
    decoder.set_weights([np.flip(weight, 0) for weight in weights])
    other = decoder.generate_ids(prompts, config)
    decoder.jit_compile = False
    assert_equal([decoder.generate_ids(prompts, config)], [other])


@compiled
def test_a_forward_pass_is_compiled_once():
    model = kt.TextEmbedder(kt.models.encoder(20, num_layers=1, hidden_dim=16, num_heads=4, max_length=32))

    def computed():
        run = executors.forward(model, model.call)
        ids = [np.random.default_rng(0).integers(3, 20, shape).astype("int32") for shape in ((2, 5), (3, 9), (4, 8))]
        return [run({"token_ids": each}) for each in ids]

    expected = computed()
    model.jit_compile = True
    before = graphs()
    for found, wanted in zip(computed(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert graphs() - before == 1
