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


def false_negatives(text: Tensor, others: list[Tensor], sample_weight: Tensor = None) -> Tensor:
    """Which candidates of a batch are no true negatives of a text, bool `[B, M]`: rows that only fill the batch, texts
    that equal the text or its positive, and positives of equal texts.

    Args:
        text: fingerprints of the texts, `[B, 2]`.
        others: fingerprints of their positives, and of each column of hard negatives, `[B, 2]` each.
        sample_weight: float `[B]`, 0 for a row that only fills the batch, or None.
    """
    positive, *negatives = others
    rows = ops.arange(ops.shape(text)[0])
    same = equal_rows(text, text) | equal_rows(positive, positive) | equal_rows(text, positive)
    columns = [ops.logical_and(same, rows[:, None] != rows[None, :])]
    columns += [equal_rows(positive, each) | equal_rows(text, each) for each in negatives]
    if sample_weight is not None:
        filling = ops.equal(sample_weight, 0)[None, :]
        columns = [ops.logical_or(each, filling) for each in columns]
    return ops.concatenate(columns, axis=1)
