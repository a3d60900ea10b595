"""Names for types that annotations of backends share."""

import typing

Tensor: typing.TypeAlias = typing.Any
"""A tensor of the current backend."""

Shape: typing.TypeAlias = tuple[typing.Any, ...]
"""Sizes of a tensor's axes: each an int, None if unknown, or a scalar in a TensorFlow graph."""
