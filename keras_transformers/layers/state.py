"""A layer's state: what it carries from one token to the next, as a value that is passed in and returned.

    start_state ──► call ──► call ──► call …      each call takes the state and returns it with its tokens in it
                         ├─ reorder               beams: rows change places
                         ├─ trim                  guesses: the newest positions are taken back
                         └─ grow                  room for more positions

`State` says what each kind of state has to give, and `KeysAndValues` is the kind of attention, the KV cache. Generation
knows the protocol alone: a layer with another state (a running vector, the last inputs of a convolution) brings its
kind with it.

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
    """What a layer's state has to be: a `NamedTuple` of tensors, rows on their first axis, shapes that a call does not
    change.

    The layer makes it, by `start_state(rows, length)`, and its call takes it as `cache` and returns it after the
    output. The call's `offset` says how many positions the state holds: an int32 scalar, a Python int on PyTorch.
    """

    @property
    def room(self) -> int | None:
        """How many positions there is room for; None if the state has the same size after any number of them."""

    @property
    def reach(self) -> int:
        """How many of the newest positions `trim` can take back: `ANY_NUMBER`, or 0 if none."""

    def reorder(self, rows: Rows) -> State:
        """The state with other rows: `rows.take(tensor)` of each tensor."""

    def trim(self, written: typing.Any, length: int | typing.Any) -> State:
        """The state as it was when `length` of its `written` positions were in it, at most `reach` fewer."""

    def grow(self, length: int) -> State:
        """The state with room for at least `length` positions."""


class Rows:
    """The rows `[R]`, int32, that a state is to have, of those that it has; `written` positions hold anything.

    The states given may be used up: a backend may gather a buffer into the place of another.
    """

    def __init__(self, rows: typing.Any, written: typing.Any = None) -> None:
        self._rows, self._written, self._spare = rows, written, None

    def take(self, tensor: typing.Any) -> typing.Any:
        """The rows of a tensor `[R, …]`."""
        return ops.take(tensor, self._rows, axis=0)

    def take_written(self, buffer: typing.Any) -> typing.Any:
        """The rows of a buffer `[R, K, S, H]`, of which nobody reads more positions than are written."""
        taken, self._spare = attention.take_written(buffer, self._rows, self._written, self._spare)
        return taken


class KeysAndValues(typing.NamedTuple):
    """The KV cache of one attention: keys and values of earlier positions, each `[R, K, S, H]`, written at an offset.

    Heads stand before positions, so that each head's keys lie together. Nobody sees what stands behind the offset, so
    that positions are taken back by writing over them.
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

        Returns: the state with them in it (in place on PyTorch), and the keys and the values that a query sees.
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
