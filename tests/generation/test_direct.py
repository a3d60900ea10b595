"""The direct view of a model computes what Keras's calls compute, and leaves alone what it does not know."""

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers import layers
from keras_transformers.generation.settings import GenerationConfig

pytestmark = pytest.mark.one_backend("torch")

SOURCES = [[5, 6, 7, 2], [8, 2], [9, 5, 2]]


def translator(dtype="float32", **options):
    keras.utils.set_random_seed(0)
    config = kt.models.transformer(20, num_layers=2, hidden_dim=16, num_heads=4, max_length=32, **options)
    return kt.Seq2SeqLM(config, dtype=dtype)


def first_logits(model, view):
    """Logits after two tokens, computed by a model or by its view."""
    import torch

    with torch.no_grad():
        _, cache = view._read(torch.tensor([[5, 6, 7, 2], [8, 2, 0, 0]], dtype=torch.int32), None)
        _, cache = view._step(torch.tensor([[1], [1]], dtype=torch.int32), cache)
        return view._step(torch.tensor([[4], [3]], dtype=torch.int32), cache)[0].float().numpy()


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "bfloat16"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm_placement": "pre", "norm": layers.RMSNorm(), "shared_embeddings": False, "tied_head": False},
        {"norm_placement": "around", "head_bias": True, "activation": "gelu"},
    ],
    ids=["original", "pre", "around"],
)
def test_the_same_logits(options, dtype):
    from keras_transformers.backends.torch.direct import direct

    model = translator(dtype, **options)
    tolerance = 1e-6 if dtype == "float32" else 2e-2
    expected = first_logits(model, model)
    np.testing.assert_allclose(first_logits(model, direct(model)), expected, atol=tolerance * np.abs(expected).max())


def test_weights_that_change_are_seen_by_the_next_generation():
    model = translator("mixed_bfloat16")
    config = GenerationConfig(start_id=1, max_new_tokens=6)
    before = model.generate(SOURCES, config).token_ids
    weights = model.get_weights()
    model.set_weights([np.flip(weight, 0) for weight in weights])
    assert not np.array_equal(model.generate(SOURCES, config).token_ids, before)
    model.set_weights(weights)
    np.testing.assert_array_equal(model.generate(SOURCES, config).token_ids, before)


def test_changed_layers_stay_with_keras():
    from keras_transformers.backends.torch.direct import Direct, direct

    plain, adapted, quantized = (keras.layers.Dense(4) for _ in range(3))
    for dense in (plain, adapted, quantized):
        dense.build((None, 8))
    adapted.enable_lora(2)
    quantized.quantize("float8")

    class Own(layers.FeedForward):
        pass

    own = Own(8)
    assert direct(plain) is not plain
    assert direct(adapted) is adapted
    assert direct(quantized) is quantized
    assert direct(own) is own
    assert isinstance(direct(layers.FeedForward(8)), Direct)


def test_a_model_with_an_adapter_generates_by_it():
    model = translator()
    config = GenerationConfig(start_id=1, max_new_tokens=6)
    before = model.generate(SOURCES, config).token_ids
    dense = model.backbone.decoder.blocks[1].feed_forward.down
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.random.default_rng(0).normal(size=dense.lora_kernel_b.shape, scale=9.0))
    assert not np.array_equal(model.generate(SOURCES, config).token_ids, before)


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 9])
def test_scores_of_few_rows_and_of_many_are_the_same_product(rows):
    import torch

    from keras_transformers.backends.torch.direct import direct

    layer = keras.layers.ReversibleEmbedding(40, 12)
    layer.build()
    x = torch.randn(rows, 1, 12)
    with torch.inference_mode():
        found = direct(layer)(x, reverse=True)
    assert found.shape == (rows, 1, 40) and found.is_contiguous()
    np.testing.assert_allclose(
        found.numpy(), x.numpy() @ keras.ops.convert_to_numpy(layer.embeddings).T, rtol=1e-5, atol=1e-6
    )
