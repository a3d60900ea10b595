"""Sparse attention by blocks."""

import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import AttentionConfig, BlockSparse, MultiHeadAttention, Rotary
from tests.layers.reference import attention, fill, merge, numbers, projections, relative_error, split


def seen(length, size, random):
    """How often each query sees each key, `[T, T]`, by the lists of blocks that the paper has."""
    last = (length - 1) // size
    counts = np.zeros((length, length))
    for query in range(length):
        block = query // size
        blocks = [0, last, block - 1, block, block + 1] if block not in (0, last) else range(last + 1)
        for key in range(length):
            counts[query, key] = key // size in blocks
            if block not in (0, last) and key // size == 0:
                counts[query, key] += random
    return counts


@pytest.mark.parametrize("length", [15, 16, 17])
def test_blocks_see_the_ends_and_their_neighbours(length):
    layer = MultiHeadAttention(2, blocks=BlockSparse(2, 1))
    x = numbers((2, length, 8))
    layer.build(x.shape)
    fill(layer)
    real = np.ones((2, length), bool)
    real[1, -3:] = False
    query, key, value, output = projections(layer)
    counts = seen(length, 2, 1)
    heads = [split(each(x), 2) for each in (query, key, value)]
    mask = (counts > 0) & real[:, None, None]
    wanted, _ = attention(*heads, scale=0.5, mask=mask, bias=np.log(np.maximum(counts, 1)))
    found = ops.convert_to_numpy(layer(x, padding_mask=real))
    assert relative_error(found[real], output(merge(wanted))[real]) <= 1e-5


def test_short_rows_have_full_attention():
    layer = MultiHeadAttention(2, blocks=BlockSparse(2, 1))
    x = numbers((2, 14, 8))
    layer.build(x.shape)
    fill(layer)
    full = MultiHeadAttention(2)
    full.build(x.shape)
    full.set_weights(layer.get_weights())
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(full(x)))


@pytest.mark.parametrize("other", [{"positions": Rotary()}, {"window": 3}])
def test_blocks_have_neither_positions_nor_a_window(other):
    with pytest.raises(ValueError, match="Expected neither positions nor a window with BlockSparse"):
        AttentionConfig(2, blocks=BlockSparse(2, 1), **other)


def test_blocks_of_a_causal_attention_are_refused():
    with pytest.raises(ValueError, match="Expected an attention to both sides with BlockSparse.*, got causal=True"):
        MultiHeadAttention(2, blocks=BlockSparse(2, 1), causal=True)
