"""Adam by the backend's own kernel changes weights as Keras's composition does."""

import keras
import numpy as np
import pytest

from keras_transformers.training.fused import fuse

BACKEND = keras.backend.backend()
SHAPES = ((7, 5), (5,), (3, 4, 2), ())


def trained(optimizer, gradients, transposed=False):
    """Weights after a step for each list of gradients."""
    draw = np.random.default_rng(0)
    variables = []
    for shape in SHAPES:
        start = draw.standard_normal(shape).astype("float32")
        variables.append(keras.Variable(start))
        if transposed:  # as kernels of a checkpoint lie
            variables[-1].value.data = variables[-1].value.T.contiguous().T if len(shape) == 2 else variables[-1].value
    optimizer.build(variables)
    for step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(each) for each in step], variables)
    return [keras.ops.convert_to_numpy(each) for each in variables]


@pytest.fixture
def gradients():
    draw = np.random.default_rng(1)
    return [[draw.standard_normal(shape).astype("float32") for shape in SHAPES] for _ in range(5)]


def close(one, other):
    # 1 - 0.999 in float32 is right to 1e-5, and so is a step of up to 0.1
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=3e-6)


OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(0.01, epsilon=1e-3),
    "AdamW": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1, clipnorm=1.0),
    "schedule": lambda: keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.1, 4)),
    "accumulation": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "average": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_kernel_computes_what_keras_composes(name, gradients):
    optimizer = OPTIMIZERS[name]()
    fuse(optimizer)
    fused = {"torch": "_parallel_update_step", "tensorflow": "update_step"}.get(BACKEND)
    assert fused is None or fused in vars(optimizer)
    close(trained(optimizer, gradients), trained(OPTIMIZERS[name](), gradients))


@pytest.mark.one_backend("torch")
def test_a_compiled_function_may_hold_it(gradients):
    """Keras compiles a whole step of training where `jit_compile` is set; PyTorch has no way to compile the kernel."""
    import torch

    optimizer = OPTIMIZERS["Adam"]()
    fuse(optimizer)
    optimizer.apply = torch.compile(optimizer.apply, backend="aot_eager")
    close(trained(optimizer, gradients), trained(OPTIMIZERS["Adam"](), gradients))


def test_what_is_not_keras_s_own_adam_stays_as_it_is(gradients):
    class Mine(keras.optimizers.Adam):
        pass

    for make in (Mine, lambda: keras.optimizers.Adam(amsgrad=True), keras.optimizers.Nadam, keras.optimizers.SGD):
        optimizer = make()
        before = dict(vars(optimizer))
        fuse(optimizer)
        assert vars(optimizer).keys() == before.keys()
        close(trained(optimizer, gradients), trained(make(), gradients))


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_weights_of_another_dtype_learn_as_well_as_by_keras(dtype, gradients):
    def learnt(fused):
        variable, optimizer = keras.Variable(np.ones((7, 5)), dtype=dtype), keras.optimizers.Adam(0.1)
        optimizer.build([variable])
        if fused:
            fuse(optimizer)
        for step in gradients:
            optimizer.apply([keras.ops.cast(step[0], dtype)], [variable])
        return keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))

    if (dtype, BACKEND) == ("bfloat16", "torch"):  # Keras's own rate is 0 there: beta_2 is rounded to 1
        exact = trained(keras.optimizers.Adam(0.1), gradients)[0] - trained(keras.optimizers.Adam(0.0), gradients)[0]
        assert np.abs(learnt(True) - 1 - exact).max() < 0.05
    else:
        np.testing.assert_allclose(learnt(True), learnt(False), rtol=1e-5)


@pytest.mark.skipif(BACKEND != "torch", reason="only PyTorch's gradients may be of another dtype than weights")
def test_a_gradient_may_be_of_another_dtype(gradients):
    import torch

    rounded = torch.tensor(gradients[0][0]).bfloat16()

    def learnt(gradient, prepare):
        weight, optimizer = keras.Variable(np.ones((7, 5), "float32")), keras.optimizers.Adam(0.1)
        optimizer.build([weight])
        prepare(optimizer)
        optimizer.apply([gradient], [weight])
        return keras.ops.convert_to_numpy(weight)

    close([learnt(rounded, fuse)], [learnt(rounded.float(), lambda optimizer: None)])


@pytest.mark.skipif(BACKEND != "torch", reason="only PyTorch has tensors in another order than their axes")
def test_weights_and_gradients_may_lie_in_any_order(gradients):
    import torch

    expected = trained(keras.optimizers.AdamW(0.01), gradients)
    optimizer = keras.optimizers.AdamW(0.01)
    fuse(optimizer)
    strided = [[torch.tensor(each.T.copy()).T if each.ndim == 2 else each for each in step] for step in gradients]
    close(trained(optimizer, strided, transposed=True), expected)
    close(trained(optimizer := keras.optimizers.AdamW(0.01), gradients, transposed=True), expected)
