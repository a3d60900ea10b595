"""Optimizers learn narrow weights by float32 copies of them."""

import keras
import numpy as np
import pytest

from keras_transformers.training.narrow import keep_in_float32

SHAPES = ((7, 5), (5,))
OPTIMIZERS = {
    "Adam": lambda: keras.optimizers.Adam(1e-4),
    "AdamW": lambda: keras.optimizers.AdamW(1e-4, weight_decay=0.1),
    "SGD": lambda: keras.optimizers.SGD(1e-4, momentum=0.9),
    "RMSprop": lambda: keras.optimizers.RMSprop(1e-4),
    "Lion": lambda: keras.optimizers.Lion(1e-5),
    "Adafactor": lambda: keras.optimizers.Adafactor(1e-4),
    "Muon": lambda: keras.optimizers.Muon(1e-4),
    "Lamb": lambda: keras.optimizers.Lamb(1e-4),
    "averages": lambda: keras.optimizers.Adam(1e-4, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3),
    "accumulation": lambda: keras.optimizers.Adam(1e-4, gradient_accumulation_steps=2),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-4)),
}
# Newer than the oldest Keras that is supported.
if hasattr(keras.optimizers, "ScheduleFreeAdamW"):
    OPTIMIZERS["ScheduleFreeAdamW"] = lambda: keras.optimizers.ScheduleFreeAdamW(1e-4)
if hasattr(keras.optimizers, "MultiOptimizer"):
    OPTIMIZERS["several"] = lambda: _several(keras.optimizers.Adam(1e-4), keras.optimizers.SGD(1e-4))


def _several(one, other):
    return keras.optimizers.MultiOptimizer(lambda variable: one if len(variable.shape) > 1 else other)


def rounded(array, dtype="bfloat16"):
    return keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.cast(array, dtype), "float32"))


def learnt(name, dtype, steps=20):
    draw = np.random.default_rng(0)
    variables = [keras.Variable(rounded(draw.standard_normal(shape)), dtype=dtype) for shape in SHAPES]
    optimizer = OPTIMIZERS[name]()
    keep_in_float32(getattr(optimizer, "inner_optimizer", optimizer), variables)
    optimizer.build(variables)
    for _ in range(steps):
        gradients = [keras.ops.cast(rounded(draw.standard_normal(shape)), dtype) for shape in SHAPES]
        if keras.backend.backend() == "jax":  # as Keras's training does there
            state = [[each.value for each in group] for group in (optimizer.variables, variables)]
            new = optimizer.stateless_apply(state[0], gradients, state[1])
            for variable, value in zip([*variables, *optimizer.variables], [*new[0], *new[1]], strict=True):
                variable.assign(value)
        else:
            optimizer.apply(gradients, variables)
    optimizer.finalize_variable_values(variables)
    return [keras.ops.convert_to_numpy(keras.ops.cast(each, "float32")) for each in variables]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_narrow_weight_is_the_wide_one_rounded(name):
    """A step is a hundredth of what separates two numbers: alone, none would count."""
    for ours, wide in zip(learnt(name, "bfloat16"), learnt(name, "float32"), strict=True):
        np.testing.assert_allclose(ours, wide, rtol=2**-8)
        exact = np.isclose(ours, rounded(wide), rtol=1e-6)
        assert exact.mean() > 0.9  # but where the last bit of float32 decides


def test_a_weight_that_is_set_from_outside_goes_on_from_there():
    variable, optimizer = keras.Variable(np.ones(4), dtype="bfloat16"), keras.optimizers.SGD(1e-3)
    keep_in_float32(optimizer, [variable])
    optimizer.build([variable])
    step = [keras.ops.ones((4,), "bfloat16")]
    optimizer.apply(step, [variable])
    found = keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))
    np.testing.assert_array_equal(found, 1)  # but its copy moved
    variable.assign(np.array([1.0, 3.0, 3.0, 3.0]))
    for _ in range(4):
        optimizer.apply(step, [variable])
    expected = rounded(np.array([1 - 5e-3, 3 - 4e-3, 3 - 4e-3, 3 - 4e-3], "float32"))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32")), expected)


def test_wide_weights_leave_an_optimizer_as_it_is_and_a_used_one_is_refused():
    wide, narrow = keras.Variable(np.ones(4)), keras.Variable(np.ones(4), dtype="bfloat16")
    optimizer = keras.optimizers.Adam()
    keep_in_float32(optimizer, [wide])
    assert "apply" not in vars(optimizer)
    optimizer.build([narrow])
    with pytest.raises(ValueError, match="new optimizer for weights of bfloat16, got one that has been built"):
        keep_in_float32(optimizer, [narrow])


def test_decay_leaves_out_what_it_left_out():
    kernel, bias = keras.Variable(np.ones((2, 2)), dtype="bfloat16"), keras.Variable(np.ones(2), dtype="bfloat16")
    optimizer = keras.optimizers.AdamW(1e-2, weight_decay=10.0)
    optimizer.exclude_from_weight_decay(var_list=[bias])
    keep_in_float32(optimizer, [kernel, bias])
    optimizer.build([kernel, bias])
    optimizer.apply([keras.ops.zeros((2, 2), "bfloat16"), keras.ops.zeros((2,), "bfloat16")], [kernel, bias])
    found = [keras.ops.convert_to_numpy(keras.ops.cast(each, "float32")) for each in (kernel, bias)]
    assert found[0].max() < 0.95 and found[1].min() == 1.0
