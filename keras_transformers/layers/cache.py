"""The key/value cache as a value: what was computed for earlier positions, passed in and returned.

    self_attention    per layer, key and value apart     [R, K, S, H]   written at `offset`, fixed in shape
    cross_attention   per layer, key and value apart     [B, K, S, H]   made once from the source, only read

Heads stand before positions, so that each head's keys lie together. With beam search `R = B * beams`: hypotheses have
their own self-attention rows, and share their sentence's cross-attention rows, which are therefore never copied.

Legend: `B` sentences, `R` rows (hypotheses), `K` key/value heads, `S` positions, `H` head width, `T` new positions.
"""

import typing

import keras
from keras import ops


class Cache(typing.NamedTuple):
    """`offset` positions are written, in every row alike: an int32 scalar, a Python int on PyTorch. `starts`, int32
    `[R, 1]`, is where the text of each row begins, after its padding; None where no row has any."""

    offset: typing.Any
    self_attention: tuple
    cross_attention: tuple = ()
    source_padding_mask: typing.Any = None
    starts: typing.Any = None


def empty(num_layers, rows, num_key_value_heads, length, head_dim, dtype):
    """Zeroed self-attention buffers for `length` positions."""
    shape = (rows, num_key_value_heads, length, head_dim)
    return tuple((ops.zeros(shape, dtype), ops.zeros(shape, dtype)) for _ in range(num_layers))


_cut = keras.backend.backend() == "torch"  # shapes may vary from step to step there

if _cut:

    def start():
        """The offset of a cache that holds nothing yet."""
        return 0

    def write(buffer, new, offset):
        """`buffer [R, K, S, H]` with `new [R, K, T, H]` put at `offset`: in place, and cut to the positions written;
        all of it where `offset` is a tensor."""
        if not isinstance(offset, int):
            places = offset + ops.arange(new.shape[2], dtype="int64")
            return buffer.index_copy_(2, places, new.to(buffer.dtype)), buffer
        end = offset + new.shape[2]
        buffer[:, :, offset:end] = new
        return buffer, buffer[:, :, :end]

else:

    def start():
        """The offset of a cache that holds nothing yet."""
        return ops.zeros((), "int32")

    def write(buffer, new, offset):
        """`buffer [R, K, S, H]` with `new [R, K, T, H]` put at `offset`, and the keys to attend to: all of it, since
        shapes are fixed."""
        buffer = ops.slice_update(buffer, (0, 0, offset, 0), ops.cast(new, buffer.dtype))
        return buffer, buffer


def visible_length(buffer, offset, new):
    """How many key positions attention sees once `new` positions are written to `buffer` at `offset`."""
    return offset + new if isinstance(offset, int) and _cut else buffer.shape[2]


def _map(pairs, function):
    return tuple((function(key), function(value)) for key, value in pairs)


def reorder(cache, rows):
    """The cache with its self-attention rows gathered by `rows [R]`: hypotheses change places, sentences stay.

    On PyTorch the buffers of the given cache are used up, as by `write`.
    """
    buffers = cache.self_attention
    if cache.starts is not None:
        cache = cache._replace(starts=ops.take(cache.starts, rows, axis=0))
    if _cut and buffers and len(rows) == len(buffers[0][0]):
        return cache._replace(self_attention=_gather_in_turn(buffers, rows, cache.offset))
    return cache._replace(self_attention=_map(buffers, lambda x: ops.take(x, rows, axis=0)))


def _gather_in_turn(pairs, rows, end):
    """The rows of PyTorch buffers, up to position `end`, gathered into one spare buffer, then into the one this frees,
    and so on: no more is copied than is written, and next to nothing allocated."""
    import torch

    spare = pairs[0][0].new_empty(pairs[0][0].shape)
    spare[:, :, end:] = 0  # a compiled step multiplies by what it does not see: anything finite

    def gather(buffer):
        nonlocal spare
        gathered, spare = spare, buffer
        torch.index_select(buffer[:, :, :end], 0, rows, out=gathered[:, :, :end])
        return gathered

    return _map(pairs, gather)


def select(cache, rows, sentences):
    """The cache of fewer sentences: self-attention rows `rows`, cross-attention rows `sentences`."""
    mask, starts = cache.source_padding_mask, cache.starts
    return cache._replace(
        self_attention=_map(cache.self_attention, lambda x: ops.take(x, rows, axis=0)),
        cross_attention=_map(cache.cross_attention, lambda x: ops.take(x, sentences, axis=0)),
        source_padding_mask=None if mask is None else ops.take(mask, sentences, axis=0),
        starts=None if starts is None else ops.take(starts, rows, axis=0),
    )


def grow(cache, length):
    """The cache with room for `length` positions; what is written stays where it is."""
    if not cache.self_attention or length <= cache.self_attention[0][0].shape[2]:
        return cache
    missing = length - cache.self_attention[0][0].shape[2]
    padding = ((0, 0), (0, 0), (0, missing), (0, 0))
    return cache._replace(self_attention=_map(cache.self_attention, lambda x: ops.pad(x, padding)))
