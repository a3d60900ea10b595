"""Names for types that annotations of backends share."""

import typing

Tensor: typing.TypeAlias = typing.Any
"""A tensor of the backend that runs."""
