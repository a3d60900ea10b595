"""Rows of models that have an encoder and a decoder."""

import collections.abc
from typing import Any

from keras_transformers.families.fields import Fields, Values
from keras_transformers.families.keys import Key, optional
from keras_transformers.models.config import ShiftedSource

SIDES = ("encoder", "decoder")


def both(*paths: str) -> tuple[str, ...]:
    """Return the paths of fields in both stacks.

    Example:
        >>> both("block.dropout")
        ('encoder.block.dropout', 'decoder.block.dropout')
    """
    return tuple(f"{side}.{path}" for path in paths for side in SIDES)


def in_both(values: collections.abc.Mapping[str, Any]) -> Values:
    """Return values by path for both stacks, given the values of one."""
    return {f"{side}.{path}": value for side in SIDES for path, value in values.items()}


def start_token(default: int | None) -> Key:
    """Return the row of the token before a source text that the decoder reads too; None means that it reads none."""
    return optional("decoder_start_token_id", int, default, "reading", adapt=_shifted, restore=_start_id)


def _shifted(start_id: int | None, values: Values) -> ShiftedSource | None:
    return None if start_id is None else ShiftedSource(start_id)


def _start_id(fields: Fields) -> int | None:
    return None if fields("reading") is None else fields("reading.start_id")
