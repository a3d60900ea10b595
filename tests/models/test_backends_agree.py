"""The three backends agree: each is held to what one of them computed once, `expected.npz` (see make_expected.py)."""

import keras
import numpy as np
import pytest

from tests.layers.reference import relative_error
from tests.models import make_expected
from tests.parameters import few
from tests.quick_compilation import fast

# One optimizer and one kind of positions on each backend; PyTorch has another of both.
LEARNED = [("rotary", "adam"), ("buckets", "sgd")]


@pytest.fixture(scope="module")
def expected():
    return np.load(make_expected.PATH)


@pytest.fixture(scope="module", params=few(make_expected.CONFIGS, "alibi"))
def named_model(request):
    return request.param, make_expected.model(request.param)


def test_the_logits_agree(named_model, expected):
    name, model = named_model
    inputs = {name: keras.ops.convert_to_tensor(each) for name, each in make_expected.inputs().items()}
    assert relative_error(fast(lambda inputs: model(inputs))(inputs), expected[f"{name}/logits"]) < 1e-5


def test_greedy_translations_agree(named_model, expected):
    name, model = named_model
    np.testing.assert_array_equal(make_expected.found(model, 1).token_ids, expected[f"{name}/greedy"])


def test_beam_search_agrees(named_model, expected):
    name, model = named_model
    found = make_expected.found(model, 4)
    np.testing.assert_array_equal(found.token_ids, expected[f"{name}/beams"])
    np.testing.assert_allclose(found.scores, expected[f"{name}/scores"], rtol=1e-5)


@pytest.mark.parametrize("name, optimizer", few(LEARNED, LEARNED[0]))
@pytest.mark.parametrize("steps", [40, pytest.param(100, marks=pytest.mark.slow)])
def test_the_loss_of_each_step_agrees(name, optimizer, steps, expected):
    wanted = expected[f"{name}/losses"]
    assert wanted[-1] < 0.8 * wanted[0]
    assert np.abs(make_expected.losses(name, optimizer, steps) - wanted[:steps]).max() < 1e-4
