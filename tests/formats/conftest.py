"""What the tests of several formats share."""

import keras
import pytest


@pytest.fixture(scope="session")
def hub():
    """KerasHub's models."""
    if tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15):
        pytest.skip(f"KerasHub needs a newer Keras than {keras.__version__}")
    return pytest.importorskip("keras_hub", reason="keras-hub is not installed").models
