"""Which parameters of a test every backend runs.

JAX and TensorFlow compile each operation for each shape, so that a test of layers takes them many times as long as
PyTorch. They run a few parameters of a test, one for each way to compute; PyTorch runs all.
"""

import pytest


def few(values, *everywhere):
    """A test's parameters: those in `everywhere` for each backend, the others for PyTorch alone. A tuple is the values
    of several names."""

    def on_torch(value):
        return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.one_backend("torch"))

    return [value if value in everywhere else on_torch(value) for value in values]
