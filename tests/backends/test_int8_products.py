"""Products of int8 weights on PyTorch: near to float ones, each row by itself, and packed again when weights change."""

import numpy as np
import pytest

pytestmark = pytest.mark.one_backend("torch")
torch = pytest.importorskip("torch")


def made(outputs, inputs, bias, transposed, monkeypatch, large=0):
    from keras_transformers.backends.torch import int8_products

    monkeypatch.setattr(int8_products, "LARGE", large)
    generator = np.random.default_rng(1)
    narrow = torch.from_numpy(generator.integers(-127, 128, (outputs, inputs)).astype("int8"))
    scale = torch.from_numpy(generator.uniform(300, 900, outputs).astype("float32"))
    bias = torch.from_numpy(generator.normal(size=outputs).astype("float32")) if bias else None
    given = narrow.t().contiguous() if transposed else narrow
    multiply = int8_products.product(given, scale, bias, transposed=transposed)

    def exact(x):
        return torch.nn.functional.linear(x, narrow / scale[:, None], bias)

    return multiply, exact, given


@pytest.mark.parametrize(("bias", "transposed"), [(True, True), (False, False)])
def test_it_is_near_to_the_product_of_floats(bias, transposed, monkeypatch):
    multiply, exact, _ = made(96, 64, bias, transposed, monkeypatch)
    x = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 5)[:, None] + 0.3
    found, expected = multiply(x), exact(x)
    assert found.shape == expected.shape
    error = (found - expected).abs().amax(-1) / expected.abs().amax(-1)  # of each row, whatever its size
    assert 1e-5 < error.max() < 0.03
    small, exact, _ = made(96, 64, bias, transposed, monkeypatch, large=2**18)
    assert (small(x) - exact(x)).abs().max() <= 1e-5 * expected.abs().max()


def test_a_row_is_the_same_alone_and_beside_others(monkeypatch):
    multiply, exact, _ = made(80, 48, True, True, monkeypatch)
    x = torch.randn(7, 48, generator=torch.Generator().manual_seed(0)) * torch.logspace(-2, 2, 7)[:, None]
    together = multiply(x)
    for row in range(7):
        assert torch.equal(multiply(x[row : row + 1])[0], together[row])
    equal = torch.full((2, 48), 0.7)  # a row without width
    torch.testing.assert_close(multiply(equal), exact(equal), rtol=1e-4, atol=1e-3)
    assert multiply(torch.zeros(0, 48)).shape == (0, 80)


def test_weights_that_change_are_packed_again(monkeypatch):
    from keras_transformers.backends.torch import int8_products

    multiply, exact, narrow = made(64, 32, False, False, monkeypatch)
    x = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    before, scale = multiply(x), torch.full((64,), 500.0)
    narrow.copy_(narrow.flip(0))
    after = int8_products.product(narrow, scale, None, transposed=False)(x)
    expected = torch.nn.functional.linear(x, narrow / 500)
    assert (after - expected).abs().max() < 0.03 * expected.abs().max() < (after - before).abs().max()
