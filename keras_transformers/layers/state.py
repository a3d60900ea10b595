"""The state of a layer between tokens, a value that is passed in and returned.

    start_state ──► call ──► call ──► call …      each call takes the state and returns it with its tokens in it
                         ├─ reorder               beams: rows change places
                         ├─ trim                  guesses: the newest positions are taken back
                         └─ grow                  room for more positions

`State` is the protocol of all kinds of state. `KeysAndValues` is the state of attention, the KV cache. Generation knows
only the protocol: a layer with another state (a running vector, the last inputs of a convolution) defines its own kind.

Legend: `R` rows (hypotheses), `K` key/value heads, `S` positions that there is room for, `H` head width, `T` new
positions.
"""

from __future__ import annotations

import typing

from keras import ops

from keras_transformers.backends import attention

ANY_NUMBER = 2**31 - 1

write, visible_length = attention.write, attention.visible_length


class State(typing.Protocol):
    """The protocol of a layer's state: a `NamedTuple` of tensors with rows on their first axis. A call does not change
    their shapes.

    The layer makes the state by `start_state(rows, length)`. Its call takes the state as `cache`, and returns it after
    the output. The call argument `offset` is the number of positions in the state: an int32 scalar, a Python int on
    PyTorch.
    """

    @property
    def room(self) -> int | None:
        """The number of positions that fit; None if the size of the state does not depend on it."""

    @property
    def reach(self) -> int:
        """The number of newest positions that `trim` can remove: `ANY_NUMBER`, or 0 for none."""

    def reorder(self, rows: Rows) -> State:
        """The state with other rows: `rows.take(tensor)` for each tensor."""

    def trim(self, written: typing.Any, length: int | typing.Any) -> State:
        """The state as it was with the first `length` of its `written` positions, at most `reach` fewer."""

    def grow(self, length: int) -> State:
        """The state with room for at least `length` positions."""


class Rows:
    """The rows `[R]`, int32, that a state should have next, as indices of its present rows. Only `written` positions
    hold values.

    Do not use the given states again: a backend may gather a buffer in place.
    """

    def __init__(self, rows: typing.Any, written: typing.Any = None) -> None:
        self._rows, self._written, self._spare = rows, written, None

    def take(self, tensor: typing.Any) -> typing.Any:
        """The rows of a tensor `[R, …]`."""
        return ops.take(tensor, self._rows, axis=0)

    def take_written(self, buffer: typing.Any) -> typing.Any:
        """The rows of a buffer `[R, K, S, H]`, of which only the written positions are read."""
        taken, self._spare = attention.take_written(buffer, self._rows, self._written, self._spare)
        return taken


class KeysAndValues(typing.NamedTuple):
    """The KV cache of one attention: keys and values of earlier positions, each `[R, K, S, H]`, written at an offset.

    The axis of heads is before that of positions, so that the keys of each head lie together in memory. Positions after
    the offset are never read, so `trim` changes nothing: new positions overwrite the removed ones.
    """

    key: typing.Any
    value: typing.Any

    @classmethod
    def empty(cls, rows: int, num_key_value_heads: int, length: int, head_dim: int, dtype: str) -> KeysAndValues:
        """Zeros, with room for `length` positions."""
        shape = (rows, num_key_value_heads, length, head_dim)
        return cls(ops.zeros(shape, dtype), ops.zeros(shape, dtype))

    @property
    def room(self) -> int:
        return self.key.shape[2]

    @property
    def reach(self) -> int:
        return ANY_NUMBER

    def write(
        self, key: typing.Any, value: typing.Any, offset: int | typing.Any
    ) -> tuple[KeysAndValues, typing.Any, typing.Any]:
        """Put new keys and values `[R, K, T, H]` at `offset`.

        Returns: the new state (changed in place on PyTorch), and the keys and values that a query sees.
        """
        keys, seen_keys = write(self.key, key, offset)
        values, seen_values = write(self.value, value, offset)
        return KeysAndValues(keys, values), seen_keys, seen_values

    def reorder(self, rows: Rows) -> KeysAndValues:
        return KeysAndValues(rows.take_written(self.key), rows.take_written(self.value))

    def trim(self, written: typing.Any, length: int | typing.Any) -> KeysAndValues:
        return self

    def grow(self, length: int) -> KeysAndValues:
        missing = length - self.room
        if missing <= 0:
            return self
        padding = ((0, 0), (0, 0), (0, missing), (0, 0))
        return KeysAndValues(ops.pad(self.key, padding), ops.pad(self.value, padding))
