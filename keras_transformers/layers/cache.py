"""A decoder's state as a value, passed in and returned: the states of all its layers, and what they read of a source.

    states            one a layer, such as its keys and values   rows [R]   written at `offset`, fixed in shape
    cross_attention   per layer, key and value apart     [B, K, S, H]       made once from the source, only read

With beam search `R = B * beams`: hypotheses have rows of their own in the states, and share their sentence's rows of
the cross-attention, which are therefore never copied.

Legend: `B` sentences, `R` rows (hypotheses), `K` key/value heads, `S` positions, `H` head width.
"""

from __future__ import annotations

import typing

from keras import ops

from keras_transformers.backends import attention
from keras_transformers.layers.state import ANY_NUMBER, Rows, State


class Cache(typing.NamedTuple):
    """What decoding carries from token to token.

    Attributes:
        offset: how many positions are written, in every row alike: an int32 scalar, a Python int on PyTorch.
        states: the `State` of each layer.
        cross_attention: each layer's keys and values of the source, `[B, K, S, H]`.
        source_padding_mask: bool `[B, S]`, True where a token of the source is real, or None.
        starts: int32 `[R, 1]`, where the text of each row begins, after its padding; None if no row has any.
    """

    offset: typing.Any
    states: tuple[State, ...]
    cross_attention: tuple = ()
    source_padding_mask: typing.Any = None
    starts: typing.Any = None


start = attention.start


def room(cache: Cache) -> int:
    """How many positions there is room for; 0 if no layer's state needs any."""
    return max((state.room or 0 for state in cache.states), default=0)


def reach(cache: Cache) -> int:
    """How many of the newest positions `trim` can take back from every layer's state."""
    return min((state.reach for state in cache.states), default=ANY_NUMBER)


def reorder(cache: Cache, rows: typing.Any) -> Cache:
    """The cache with its rows gathered by `rows [R]`: hypotheses change places, sentences stay.

    On PyTorch the states of the given cache are used up, as by a call.
    """
    gathered = Rows(rows, cache.offset)
    return cache._replace(
        states=tuple(state.reorder(gathered) for state in cache.states), starts=_take(cache.starts, rows)
    )


def select(cache: Cache, rows: typing.Any, sentences: typing.Any) -> Cache:
    """The cache of fewer sentences: rows `rows`, and of what belongs to sentences, rows `sentences`."""
    return reorder(cache, rows)._replace(
        cross_attention=tuple(tuple(_take(x, sentences) for x in pair) for pair in cache.cross_attention),
        source_padding_mask=_take(cache.source_padding_mask, sentences),
    )


def trim(cache: Cache, length: typing.Any) -> Cache:
    """The cache as it was when `length` positions were written, at most `reach` fewer than are."""
    return cache._replace(offset=length, states=tuple(state.trim(cache.offset, length) for state in cache.states))


def grow(cache: Cache, length: int) -> Cache:
    """The cache with room for `length` positions; what is written stays where it is."""
    if length <= room(cache):
        return cache
    return cache._replace(states=tuple(state.grow(length) for state in cache.states))


def split(cache: Cache) -> tuple[tuple, tuple]:
    """What a step writes, and what it only reads: a compiled loop carries the former alone."""
    return tuple(cache[:2]), tuple(cache[2:])


def joined(written: tuple, read: tuple) -> Cache:
    """The inverse of `split`."""
    return Cache(*written, *read)


def _take(x: typing.Any, rows: typing.Any) -> typing.Any:
    return None if x is None else ops.take(x, rows, axis=0)
