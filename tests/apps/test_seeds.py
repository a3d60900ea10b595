"""A run's seed sets what Keras's own function sets."""

import random
import sys

import keras
import numpy as np
import pytest

from keras_transformers.apps.seeds import set_random_seed


def drawn():
    layer = keras.layers.Dense(3)
    layer.build((None, 2))
    drawn = [random.random(), np.random.random(), keras.random.normal((2,)), layer.kernel]
    drawn += [keras.layers.Dropout(0.5)(np.ones((1, 20), "float32"), training=True)]
    return [keras.ops.convert_to_numpy(each) for each in drawn]


@pytest.mark.one_backend("torch")
def test_the_same_numbers_are_drawn(monkeypatch):
    keras.utils.set_random_seed(7)
    wanted = drawn()
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    set_random_seed(7)
    assert all(map(np.array_equal, drawn(), wanted))
