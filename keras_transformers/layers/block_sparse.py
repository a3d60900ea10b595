"""Block-sparse attention (Zaheer et al. 2020, BigBird), as a mask and a bias of full attention.

    block     0 1 2 3 4 5 6 7        a row is cut into blocks
        0     * * * * * * * *        the first and the last block see all
        1     r * * . . . . *        the others see the first, the last and their neighbours
        2     r * * * . . . *
        3     r . * * * . . *        r: the first block, counted 1 + num_random times
        …

The paper gives each block some random blocks too. In transformers they are random in training alone; otherwise each is
the first block. So its keys count 1 + num_random times, which is a bias of log(1 + num_random).

A row of at most (5 + 2 * num_random) blocks has full attention. Blocks are counted over the whole row: padding at its
end moves the last block.

Legend: `T` length, `S` key length.
"""

import math

from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.records import Count, Size, record


@record
class BlockSparse:
    """Sparse attention by blocks of `block_size` tokens; see the picture at the top of this file.

    Source: `BigBirdBlockSparseAttention` of transformers 5.
    """

    block_size: Size
    num_random: Count

    @property
    def full_length(self) -> int:
        """The length up to which all tokens see all."""
        return (5 + 2 * self.num_random) * self.block_size


def mask_and_bias(blocks: BlockSparse, positions_1T: Tensor) -> tuple[Tensor, Tensor]:
    """The mask, bool, and the bias, float32, of attention from each of `positions_1T` to each.

    Returns: two `[1, 1, T, T]`, or two None if the row is surely too short for sparse attention.
    """
    length = positions_1T.shape[1]
    if length is not None and length <= blocks.full_length:
        return None, None
    whole = ops.shape(positions_1T)[1] <= blocks.full_length
    block_1T = ops.floor_divide(positions_1T, blocks.block_size)
    last = ops.max(block_1T)
    query, key = block_1T[:, None, :, None], block_1T[:, None, None, :]
    query_at_end = ops.logical_or(ops.equal(query, 0), ops.equal(query, last))
    key_at_end = ops.logical_or(ops.equal(key, 0), ops.equal(key, last))
    near = ops.less_equal(ops.abs(query - key), 1)
    sees_all = ops.logical_or(query_at_end, whole)
    again = ops.logical_and(ops.logical_not(sees_all), ops.equal(key, 0))
    mask = ops.logical_or(sees_all, ops.logical_or(key_at_end, near))
    return mask, ops.cast(again, "float32") * math.log(1 + blocks.num_random)
