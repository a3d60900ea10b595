import numpy as np
import pytest
from keras import ops

from keras_transformers.generation import GenerationConfig, MinP, Temperature, TopK, TopP, generate
from keras_transformers.generation.samplers import draw, uniforms
from tests.generation.models import TableModel

LOGITS = np.log(np.array([[0.05, 0.4, 0.1, 0.3, 0.15], [0.2, 0.2, 0.2, 0.2, 0.2]], "float32"))


def probabilities(sampler, logits=LOGITS):
    return ops.convert_to_numpy(ops.softmax(sampler(ops.convert_to_tensor(logits)), axis=-1))


def test_temperature():
    expected = np.exp(LOGITS[0] / 0.5)
    assert probabilities(Temperature(0.5))[0] == pytest.approx(expected / expected.sum(), rel=1e-5)


def test_top_k():
    assert probabilities(TopK(2))[0] == pytest.approx([0, 4 / 7, 0, 3 / 7, 0], rel=1e-5)
    assert probabilities(TopK(99))[0] == pytest.approx(np.exp(LOGITS[0]), rel=1e-5)
    assert probabilities(TopK(2))[1] == pytest.approx([0.2] * 5), "equal tokens are kept together"


@pytest.mark.parametrize(
    "p, kept", [(0.01, 1), (0.39, 1), (0.41, 2), (0.69, 2), (0.71, 3), (0.84, 3), (0.86, 4), (0.99, 5), (1.0, 5)]
)
def test_top_p(p, kept):
    row = probabilities(TopP(p))[0]
    likeliest = np.argsort(-LOGITS[0])[:kept]
    expected = np.zeros(5)
    expected[likeliest] = np.exp(LOGITS[0])[likeliest]
    assert row == pytest.approx(expected / expected.sum(), rel=1e-5)


def test_min_p():
    assert np.flatnonzero(probabilities(MinP(0.35))[0]).tolist() == [1, 3, 4]
    assert np.flatnonzero(probabilities(MinP(1.0))[0]).tolist() == [1]


def test_draw_follows_the_distribution_and_never_takes_what_is_ruled_out():
    weights = np.array([0, 0.1, 0, 0.6, 0.3, 0], "float32")
    with np.errstate(divide="ignore"):
        logits = np.tile(np.log(weights), (1001, 1))
    uniform = (np.arange(1001, dtype="float32") / 1001)[:, None]
    uniform[-1] = np.nextafter(np.float32(1), np.float32(0))
    tokens = ops.convert_to_numpy(draw(ops.convert_to_tensor(logits), ops.convert_to_tensor(uniform)))
    assert np.bincount(tokens, minlength=6) / 1001 == pytest.approx(weights, abs=2e-3)
    assert set(tokens) == {1, 3, 4}


def test_uniforms_belong_to_seed_row_and_position():
    numbers = uniforms(3, [0, 1, 2], 64)
    assert numbers.shape == (3, 64) and numbers.dtype == np.float32 and 0 <= numbers.min() and numbers.max() < 1
    assert np.array_equal(uniforms(3, [2, 0], 16), numbers[[2, 0], :16])
    assert not np.isin(uniforms(4, [0, 1, 2], 64), numbers).any()
    assert len(np.unique(numbers)) == numbers.size


@pytest.mark.parametrize(
    "settings, expected",
    [
        ({}, [0.4, 0.3, 0.2, 0.1]),
        ({"temperature": 0.5}, [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
        ({"top_k": 2}, [4 / 7, 3 / 7, 0, 0]),
        ({"top_p": 0.75}, [4 / 9, 3 / 9, 2 / 9, 0]),
        ({"temperature": 0.5, "top_k": 3, "top_p": 0.8}, [16 / 25, 9 / 25, 0, 0]),
    ],
)
def test_samples_follow_the_settings(settings, expected):
    table = TableModel(np.tile([0.4, 0.3, 0.2, 0.1], (4, 1)))
    config = GenerationConfig(do_sample=True, max_new_tokens=32, num_return_sequences=64, seed=11, **settings)
    tokens = generate(table, table.step, table.cache(2), [[0], [0]], config).token_ids
    assert tokens.shape == (128, 32)
    shares = np.bincount(tokens.ravel(), minlength=4) / tokens.size
    # 4096 draws: a share's standard deviation is at most 0.008.
    assert shares == pytest.approx(expected, abs=0.03)
    assert (shares[np.array(expected) == 0] == 0).all()
    assert len({tuple(row) for row in tokens}) == 128, "rows are independent"


def test_a_seed_repeats_and_its_absence_follows_numpy():
    table = TableModel(np.tile([0.4, 0.3, 0.2, 0.1], (4, 1)))

    def sample(seed):
        config = GenerationConfig(do_sample=True, max_new_tokens=20, seed=seed)
        return generate(table, table.step, table.cache(), [[0]], config).token_ids.tolist()

    assert sample(1) == sample(1) != sample(2)
    assert sample(None) != sample(None)
    np.random.seed(0)
    first = sample(None)
    np.random.seed(0)
    assert sample(None) == first


def test_samples_agree_between_backends():
    table = TableModel(np.tile([0.4, 0.3, 0.2, 0.1], (4, 1)))
    config = GenerationConfig(do_sample=True, max_new_tokens=12, seed=5)
    assert generate(table, table.step, table.cache(), [[0]], config).token_ids.tolist() == [AGREED]


AGREED = np.searchsorted([0.4, 0.7, 0.9], uniforms(5, [0], 12)[0]).tolist()
