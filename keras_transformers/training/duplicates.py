"""Equal texts in a batch, which must not be negatives of each other.

Shapes: `B` batch, `T` tokens.
"""

from keras import ops

from keras_transformers.backends.types import Tensor

_FACTORS = ((0x2C1B3C6D, 0x297A2D39), (0x85EBCA6B - 2**32, 0xC2B2AE35 - 2**32))


def fingerprints(token_ids: Tensor, padding_mask: Tensor) -> Tensor:
    """Hashes of rows of ids, two integers for each, int32 or int64 `[B, 2]`. If both are equal, the rows are equal
    without padding, except with a chance of one in 2⁶⁴.

    Args:
        token_ids: int32 `[B, T]`.
        padding_mask: bool `[B, T]`, True for a token.
    """
    there = ops.cast(padding_mask, "int32")
    places = ops.cumsum(there, axis=1) * there
    ids = ops.cast(token_ids, "int32") * there
    sums = [ops.sum(_mixed(ids * first + places * second, first, second) * there, axis=1) for first, second in _FACTORS]
    return ops.stack(sums, axis=1)


def _mixed(x: Tensor, first: int, second: int) -> Tensor:
    """Mix 32 bits so that each depends on every bit of `x`. Overflow is intended."""
    for shift, factor in ((15, first), (13, second)):
        x = ops.bitwise_xor(x, ops.bitwise_right_shift(x, shift)) * factor
    return ops.bitwise_xor(x, ops.bitwise_right_shift(x, 16))


def equal_rows(one: Tensor, other: Tensor) -> Tensor:
    """Which rows have the same fingerprints, bool `[B, B]`."""
    return ops.all(ops.equal(one[:, None], other[None, :]), axis=-1)
