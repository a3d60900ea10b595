"""Names for types that annotations of backends share."""

import typing

Tensor: typing.TypeAlias = typing.Any
"""A tensor of the backend that runs."""

Shape: typing.TypeAlias = tuple[typing.Any, ...]
"""Sizes of a tensor's axes: an int, None if it is not known, or a scalar in a graph of TensorFlow."""
