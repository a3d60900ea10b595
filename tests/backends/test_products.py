"""JAX on a processor: kernels turned for a few rows, and XLA's other way to multiply for many."""

import gc
import weakref

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.generation import GenerationConfig, executors

pytestmark = pytest.mark.one_backend("jax")

if keras.backend.backend() == "jax":
    from keras_transformers.backends.jax import products, transposed

SOURCES = [[5, 6, 7, 2], [8, 2], [9, 5, 2]]


@pytest.fixture
def translator():
    keras.utils.set_random_seed(0)
    model = kt.Seq2SeqLM(kt.models.transformer(20, num_layers=2, hidden_dim=16, num_heads=4, max_length=40))
    for variable in model.variables:  # as if trained: no two tokens equally likely
        variable.assign(np.random.default_rng(len(variable.shape)).normal(size=variable.shape, scale=0.3))
    return model


@pytest.fixture
def turned(monkeypatch):
    """The turned kernels of each call, by the names of the kernels."""
    found, turn = [], transposed.copies

    def watched(model, step, shape, cache):
        arrays = turn(model, step, shape, cache)
        for place, array in arrays.items():
            np.testing.assert_array_equal(array, np.asarray(model.variables[place]).T)
        found.append({model.variables[place].path: array for place, array in arrays.items()})
        return arrays

    monkeypatch.setattr(transposed, "copies", watched)
    return found


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 1), (1, 7), (3, 2), (64, 1)])
def test_a_turned_kernel_computes_the_same(shape, use_bias):
    layer = keras.layers.Dense(5, activation="relu", use_bias=use_bias, bias_initializer="normal")
    x = keras.random.normal((*shape, 6))
    expected, asked = layer(x), []

    def find(kernel):
        asked.append(kernel)
        return kernel.value.T

    with transposed.kernels_from(find):
        np.testing.assert_allclose(products.dense(layer, x), expected, atol=1e-6)
        assert asked == [layer.kernel]
        products.dense(layer, x[:1, :1])  # one row needs no order
        products.dense(layer, keras.random.normal((transposed.FEW_OF_KERNELS + 1, 6)))
        products.dense(layer, keras.ops.cast(x, "bfloat16"))
        layer.enable_lora(2)
        np.testing.assert_allclose(products.dense(layer, x), layer(x))
        assert len(asked) == 1
    products.dense(layer, x)
    assert len(asked) == 1


@pytest.mark.parametrize("num_beams", [1, 4])
def test_generation_turns_what_a_step_multiplies_with(translator, num_beams, turned, monkeypatch):
    config = GenerationConfig(start_id=1, num_beams=num_beams, max_new_tokens=8, end_ids=(2,))
    found = translator.generate(SOURCES, config)
    kernels = {variable.path for variable in translator.variables if variable.path.endswith("kernel")}
    read_before = {path for path in kernels if "encoder/" in path or "cross_attention/key" in path}
    read_before |= {path for path in kernels if "cross_attention/value" in path}
    assert read_before and turned[0].keys() == kernels - read_before

    def without():
        with monkeypatch.context() as patch:
            patch.setattr(transposed, "FEW_OF_KERNELS", 0)
            generated = translator.generate(SOURCES, config)
        assert turned[-1] == {}
        return generated

    np.testing.assert_array_equal(found.token_ids, without().token_ids)
    kernel = next(v for v in translator.variables if v.path.endswith("decoder/block_1/feed_forward/down/kernel"))
    kernel.assign(-keras.ops.flip(kernel))  # new weights are turned anew
    changed = translator.generate(SOURCES, config)
    np.testing.assert_array_equal(changed.token_ids, without().token_ids)
    assert not np.array_equal(changed.token_ids, found.token_ids)


def test_turned_kernels_live_as_long_as_the_weights(translator, turned):
    config = GenerationConfig(start_id=1, max_new_tokens=4)
    for _ in range(2):
        translator.generate(SOURCES, config)
    assert turned[0] and all(array is turned[0][path] for path, array in turned[-1].items())
    old = [weakref.ref(array) for array in turned[0].values()]
    old += [weakref.ref(variable.value) for variable in translator.variables]
    turned.clear()
    for variable in translator.variables:
        variable.assign(np.array(variable) + 1)
    gc.collect()
    assert not [reference for reference in old if reference() is not None]


def test_one_row_and_many_keep_their_kernels(translator, turned):
    translator.generate(SOURCES[:1], GenerationConfig(start_id=1, max_new_tokens=4))
    translator.generate(SOURCES * 22, GenerationConfig(start_id=1, max_new_tokens=4))
    assert turned and not any(turned)


def test_an_adapter_is_turned_with_what_it_adapts(translator, turned):
    config = GenerationConfig(start_id=1, num_beams=2, max_new_tokens=8, end_ids=(2,))
    before = translator.generate(SOURCES, config)
    kt.transforms.add_lora(translator, targets="all", rank=2)
    for variable in translator.variables:
        if "lora_B" in variable.path:
            variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    after = translator.generate(SOURCES, config)
    assert turned[-1].keys() == turned[0].keys() and not np.array_equal(before.token_ids, after.token_ids)


@pytest.mark.parametrize("task", [kt.TextEmbedder, kt.MaskedLM])
def test_encoders_without_a_vocabulary_are_compiled_so(task, monkeypatch):
    import jax

    told, jit = [], jax.jit
    monkeypatch.setattr(jax, "jit", lambda *arguments, **options: told.append(options) or jit(*arguments, **options))
    model = task(kt.models.encoder(20, num_layers=1, hidden_dim=16, num_heads=2, max_length=8))
    executors.forward(model, model.call)
    assert told[-1]["compiler_options"] == (transposed.compiler_options() if task is kt.TextEmbedder else None)


def test_products_of_many_rows_are_xla_s_own():
    import jax

    if not transposed.compiler_options():
        pytest.skip("this XLA does not know the option")

    def product(x, kernel):
        return x @ kernel

    arguments = np.ones((64, 32), "float32"), np.ones((32, 128), "float32")
    plain, told = (
        jax.jit(product, compiler_options=options).lower(*arguments).compile()
        for options in (None, transposed.compiler_options())
    )
    assert "ynn" in plain.as_text() and "ynn" not in told.as_text()
    np.testing.assert_allclose(told(*arguments), plain(*arguments))
