import keras
import numpy as np
import pytest

from keras_transformers.training.schedules import CoolDown, InverseSquareRoot


def rate(schedule, step):
    return float(keras.ops.convert_to_numpy(schedule(step)))


def test_is_the_published_formula():
    hidden_dim, warmup_steps = 512, 4000
    schedule = InverseSquareRoot(hidden_dim**-0.5 * warmup_steps**-0.5, warmup_steps)
    for update in [1, 2, 100, 3999, 4000, 4001, 100_000]:  # the paper counts updates from 1, Keras from 0
        expected = hidden_dim**-0.5 * min(update**-0.5, update * warmup_steps**-1.5)
        assert rate(schedule, update - 1) == pytest.approx(expected, rel=1e-5)


def test_starts_from_initial_and_takes_an_integer_variable():
    schedule = InverseSquareRoot(1e-3, 10, initial=1e-4)
    assert rate(schedule, keras.Variable(0, dtype="int32", trainable=False)) == pytest.approx(1.9e-4)
    assert rate(schedule, 9) == pytest.approx(1e-3)


def test_without_warmup_falls_from_the_first_step():
    schedule = InverseSquareRoot(1e-3, 0)
    np.testing.assert_allclose([rate(schedule, 0), rate(schedule, 3)], [1e-3, 5e-4], rtol=1e-6)


def test_config_round_trip_through_an_optimizer():
    optimizer = keras.optimizers.Adam(InverseSquareRoot(1e-3, 10, 1e-5))
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert copy._learning_rate.get_config() == {"peak": 1e-3, "warmup_steps": 10, "initial": 1e-5}


def test_cools_down_in_a_straight_line_to_zero():
    warm = InverseSquareRoot(1e-3, 10)
    schedule = CoolDown(warm, total_steps=100, cool_down_steps=40)
    assert rate(schedule, 5) == rate(warm, 5) and rate(schedule, 60) == rate(warm, 60)
    assert rate(schedule, 70) == pytest.approx(0.75 * rate(warm, 70))
    assert rate(schedule, keras.Variable(99, dtype="int32", trainable=False)) == pytest.approx(rate(warm, 99) / 40)
    assert rate(schedule, 100) == rate(schedule, 150) == 0.0


@pytest.mark.parametrize("schedule", [1e-3, InverseSquareRoot(1e-3, 10)])
def test_a_cool_down_goes_through_an_optimizer_config(schedule):
    optimizer = keras.optimizers.Adam(CoolDown(schedule, 20, 10))
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert rate(copy._learning_rate, 15) == rate(optimizer._learning_rate, 15) > 0


@pytest.mark.parametrize("steps", [(10, 0), (10, 11)])
def test_refuses_a_cool_down_that_does_not_fit(steps):
    with pytest.raises(ValueError, match="cool_down_steps from 1 to total_steps"):
        CoolDown(1e-3, *steps)


@pytest.mark.parametrize("arguments", [(0, 10), (1e-3, -1), (1e-3, 1, -1.0)])
def test_refuses_negative_arguments(arguments):
    with pytest.raises(ValueError, match="Expected"):
        InverseSquareRoot(*arguments)
