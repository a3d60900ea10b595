"""Tensor operations whose cost or meaning depends on the backend.

Compiled backends pay for `keras.ops` only once, while tracing: the bodies here suit them. PyTorch runs the operations
of a decoding loop for every token. Its own bodies (`backends/torch/arrays.py`) avoid the 5 to 20 µs that `keras.ops`
adds to a call of 1 to 5 µs, and their positions are Python ints.

Legend: `R` rows, `N` entries a row, `k` entries kept.
"""

import typing
from collections.abc import Callable, Iterable

import numpy as np
from keras import ops

from keras_transformers.backends.types import Tensor

Position: typing.TypeAlias = typing.Any
"""A position or a length as a loop carries it: an int32 scalar, or a Python int on PyTorch."""


def scalar(value: int) -> Position:
    """A position or a length in the form that a loop carries."""
    return ops.convert_to_tensor(np.int32(value))


def tensor(x: np.ndarray) -> Tensor:
    """A NumPy array as a tensor of the same dtype."""
    return ops.convert_to_tensor(x)


def constant(x: np.ndarray, like: Tensor) -> Tensor:
    """A NumPy array as a tensor on the device of `like`."""
    return ops.convert_to_tensor(x)


def fixed(x: np.ndarray) -> typing.Any:
    """A NumPy array in the form that a layer keeps, even if Keras builds the layer without values."""
    return x


def beside(fixed: typing.Any, like: Tensor) -> typing.Any:
    """An array from `fixed` on the device of `like`."""
    return fixed


def known_values(x: typing.Any) -> np.ndarray | None:
    """The values of a tensor; None if they are not computed yet, or are on another device."""
    return x if isinstance(x, np.ndarray) else None


def surely_all(condition: Tensor) -> bool:
    """Whether a boolean tensor is True everywhere; False if checking that is not free."""
    return False


def in_place_order(rows: Tensor) -> bool:
    """Whether `rows` is `0, 1, 2, …`; False if checking that is not free."""
    return False


def float32(x: Tensor) -> Tensor:
    """`x` as float32."""
    return ops.cast(x, "float32")


def int32(x: Tensor) -> Tensor:
    """`x` as int32."""
    return ops.cast(x, "int32")


def power(base: Position, exponent: float) -> Position:
    """`base`, a position or a length, to the power of a float exponent."""
    return ops.power(ops.cast(base, "float32"), exponent)


def top_k(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest values of the last axis and their indices, with equal values in any order."""
    return ops.top_k(x, k)


def ranked(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The result of `top_k`, with equal values in the order of their indices. For short axes, since it may sort."""
    return ops.top_k(x, k)


def first(condition: Tensor) -> Tensor:
    """The index of the first True of the last axis; the length of the axis if there is none."""
    length = condition.shape[-1]
    return ops.min(ops.where(condition, ops.arange(length, dtype="int32"), length), axis=-1)


def argmax(x: Tensor) -> Tensor:
    """The index of the largest value of the last axis."""
    # The argmax of XLA visits the axis item by item on a CPU: two plain reductions take a quarter of its time.
    return ops.minimum(first(x == ops.max(x, axis=-1, keepdims=True)), x.shape[-1] - 1)


def log_normalizer(x: Tensor) -> Tensor:
    """`log(sum(exp(x)))` over the last axis, kept as an axis of 1."""
    return ops.logsumexp(x, axis=-1, keepdims=True)


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`x` in another shape."""
    return ops.reshape(x, shape)


def join(x: Tensor, y: Tensor) -> Tensor:
    """`x` and `y` concatenated along axis 1."""
    return ops.concatenate((x, y), axis=1)


def side_by_side(parts: Iterable[Tensor]) -> Tensor:
    """Tensors concatenated along the last axis."""
    return ops.concatenate(parts, axis=-1)


def take(x: Tensor, rows: Tensor) -> Tensor:
    """The given rows of axis 0."""
    return ops.take(x, rows, axis=0)


def column(x: Tensor, position: Position) -> Tensor:
    """`x [R, N]` at one position of axis 1: `[R, 1]`."""
    return ops.expand_dims(ops.take(x, position, axis=1), 1)


def pick(x: Tensor, indices: Tensor) -> Tensor:
    """`x [R, N]` at one index for each row: `[R]`."""
    return ops.take_along_axis(x, ops.expand_dims(indices, 1), axis=1)[:, 0]


def put(x: Tensor, position: Position, values: Tensor) -> Tensor:
    """`x [..., N]` with `values [...]` at `position` of its last axis. It may write in place: do not use `x` again."""
    return ops.where(ops.arange(ops.shape(x)[-1], dtype="int32") == position, ops.expand_dims(values, -1), x)


def until(x: Tensor, end: Position) -> Tensor:
    """`x [R, S]` before position `end`; the rest is cut off, or -1."""
    return ops.where(ops.arange(ops.shape(x)[1], dtype="int32") < end, x, -1)


def since(x: Tensor, begin: Position) -> Tensor:
    """`x [R, S]` from position `begin` on; the rest is cut off, or -1."""
    return ops.where(ops.arange(ops.shape(x)[1], dtype="int32") >= begin, x, -1)


def last(x: Tensor, end: Position, count: int) -> Tensor:
    """The `count` positions of `x [R, S]` before `end`; -1 for positions before the first."""
    places = end - count + ops.arange(count, dtype="int32")
    return ops.where(places >= 0, ops.take(x, ops.maximum(places, 0), axis=1), -1)


def counts(token_ids: Tensor, size: int) -> Tensor:
    """How often each id occurs in each row of `token_ids [R, N]`: float32 `[R, size]`. -1 is not counted."""
    rows = ops.shape(token_ids)[0]
    places = ops.where(token_ids < 0, size, token_ids) + ops.arange(rows, dtype="int32")[:, None] * (size + 1)
    places = ops.reshape(places, (-1,))
    found = ops.segment_sum(ops.ones_like(places, dtype="float32"), places, rows * (size + 1))
    return ops.reshape(found, (rows, size + 1))[:, :size]


def without(x: Tensor, token_ids: Tensor) -> Tensor:
    """`x [R, N]` with `-inf` at the positions `token_ids [R, M]` of each row; -1 for no position."""
    return ops.where(counts(token_ids, x.shape[-1]) > 0, float("-inf"), x)


def when(condition: typing.Any, then: Callable[[], Tensor], otherwise: Tensor) -> Tensor:
    """`then()` if `condition`, computed from positions of the loop, is True, else `otherwise`."""
    return ops.where(condition, then(), otherwise)


def count(n: int, like: Tensor) -> Tensor:
    """`0, 1, … n - 1` on the device of `like`."""
    return ops.arange(n, dtype="int32")


def rows(x: Tensor) -> Tensor:
    """`0, 1, … R - 1` for the rows of `x [R, …]`, on its device."""
    return ops.arange(ops.shape(x)[0], dtype="int32")


def where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """`x` where `condition` is True, else `y`."""
    return ops.where(condition, x, y)


def any_(x: Tensor) -> Tensor:
    """Whether any value of the last axis is True."""
    return ops.any(x, axis=-1)


def all_(x: Tensor) -> Tensor:
    """Whether all values of the last axis are True."""
    return ops.all(x, axis=-1)


def smallest(x: Tensor) -> Tensor:
    """The smallest value of the last axis, kept as an axis of 1."""
    return ops.min(x, axis=-1, keepdims=True)


def largest(x: Tensor) -> Tensor:
    """The largest value of the last axis, kept as an axis of 1."""
    return ops.max(x, axis=-1, keepdims=True)


def maximum(x: Tensor) -> Tensor:
    """The largest of all values: a scalar."""
    return ops.max(x)


def one_of(token_ids: Tensor, choices: Iterable[int]) -> Tensor:
    """A mask, True where `token_ids` equals one of a few Python ints; all False without ints."""
    found = token_ids != token_ids
    for choice in choices:
        found = found | (token_ids == choice)
    return found


def within(x: Tensor, indices: Tensor) -> Tensor:
    """`x [B, N, …]` at `indices [B, M]` of axis 1, sentence by sentence: `[B, M, …]`."""
    sentences, entries, *rest = ops.shape(x)
    rows = indices + ops.arange(sentences, dtype="int32")[:, None] * entries
    taken = ops.take(ops.reshape(x, (sentences * entries, *rest)), ops.reshape(rows, (-1,)), axis=0)
    return ops.reshape(taken, (sentences, indices.shape[1], *rest))


def linear_recurrence(kept: Tensor, added: Tensor) -> Tensor:
    """The states `h[t] = kept[t] * h[t - 1] + added[t]` from `h[-1] = 0`, for `[B, T, D]`.

    It takes log2(T) steps on all positions. After each, position `t` holds the effect of twice as many inputs (Hillis
    and Steele 1986).
    """
    length, distance = kept.shape[1], 1
    while distance < length:
        before = (ops.pad(x[:, : length - distance], ((0, 0), (distance, 0), (0, 0))) for x in (kept, added))
        kept_before, added_before = before
        kept, added, distance = kept * kept_before, added + kept * added_before, 2 * distance
    return added
