"""The cache of a decoder, a value that is passed in and returned: the states of its layers, and the projected source.

    states            one a layer, such as its keys and values   rows [R]   written at `offset`, fixed in shape
    cross_attention   per layer, key and value apart     [B, K, S, H]       made once from the source, only read

With beam search `R = B * beams`: each hypothesis has its own row in the states. The hypotheses of a sentence share its
row of the cross-attention, which is therefore never copied.

Legend: `B` sentences, `R` rows (hypotheses), `K` key/value heads, `S` positions, `H` head width.
"""

from __future__ import annotations

import typing

from keras import ops

from keras_transformers.backends import attention
from keras_transformers.layers.choices import Choices
from keras_transformers.layers.state import ANY_NUMBER, Rows, State


class Cache(typing.NamedTuple):
    """The state of decoding between tokens.

    Attributes:
        offset: the number of written positions, the same in every row: an int32 scalar, a Python int on PyTorch.
        states: the `State` of each layer.
        cross_attention: the keys and values of the source for each layer, `[B, K, S, H]`.
        source_padding_mask: bool `[B, S]`, True where a token of the source is real, or None.
        starts: int32 `[R, 1]`, the position where the text of each row begins after its padding; None without padding.
        choices: the tokens that may be written; None for the whole vocabulary.
    """

    offset: typing.Any
    states: tuple[State, ...]
    cross_attention: tuple = ()
    source_padding_mask: typing.Any = None
    starts: typing.Any = None
    choices: Choices | None = None


start = attention.start


def room(cache: Cache) -> int:
    """The number of positions that fit; 0 if no layer's state needs room."""
    return max((state.room or 0 for state in cache.states), default=0)


def reach(cache: Cache) -> int:
    """The number of newest positions that `trim` can remove from the state of every layer."""
    return min((state.reach for state in cache.states), default=ANY_NUMBER)


def reorder(cache: Cache, rows: typing.Any) -> Cache:
    """The cache with its rows gathered by `rows [R]`: hypotheses change places, sentences stay.

    On PyTorch do not use the given cache again: its states are overwritten, as by a call.
    """
    gathered = Rows(rows, cache.offset)
    return cache._replace(
        states=tuple(state.reorder(gathered) for state in cache.states), starts=_take(cache.starts, rows)
    )


def select(cache: Cache, rows: typing.Any, sentences: typing.Any) -> Cache:
    """The cache of fewer sentences: keeps rows `rows` of hypotheses, and rows `sentences` of sentences."""
    return reorder(cache, rows)._replace(
        cross_attention=tuple(tuple(_take(x, sentences) for x in pair) for pair in cache.cross_attention),
        source_padding_mask=_take(cache.source_padding_mask, sentences),
        choices=None if cache.choices is None else cache.choices.select(sentences),
    )


def trim(cache: Cache, length: typing.Any) -> Cache:
    """The cache as it was with `length` written positions, at most `reach` fewer than now."""
    return cache._replace(offset=length, states=tuple(state.trim(cache.offset, length) for state in cache.states))


def grow(cache: Cache, length: int) -> Cache:
    """The cache with room for `length` positions; written positions stay in place."""
    if length <= room(cache):
        return cache
    return cache._replace(states=tuple(state.grow(length) for state in cache.states))


def split(cache: Cache) -> tuple[tuple, tuple]:
    """Split a cache into the part that a step writes, and the part that it only reads. A compiled loop carries only the
    first part."""
    return tuple(cache[:2]), tuple(cache[2:])


def joined(written: tuple, read: tuple) -> Cache:
    """Join both parts to a cache: the inverse of `split`."""
    return Cache(*written, *read)


def _take(x: typing.Any, rows: typing.Any) -> typing.Any:
    return None if x is None else ops.take(x, rows, axis=0)
