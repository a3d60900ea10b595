"""The few tensor operations that the decoding loops need.

Everywhere but on PyTorch they are `keras.ops`, whose price is paid once, while tracing. PyTorch runs them for every
token, where `keras.ops` adds 5 to 20 µs to a call that takes 1 to 5: there they are PyTorch's own, and positions are
Python ints.

Legend: `R` rows, `N` entries a row, `k` entries kept.
"""

import keras
import numpy as np
from keras import ops

if keras.backend.backend() == "torch":
    import torch

    def scalar(value):
        """A position or a length, as the loop carries it: a Python int."""
        return int(value)

    def float32(x):
        return x.float()

    def power(base, exponent):
        """`base`, a position or a length, to a float exponent."""
        return float(base) ** exponent

    def top_k(x, k):
        """The `k` largest of the last axis and their indices; equal values in any order.

        On a CPU PyTorch's own moves each value about. Looking only into the `k` blocks whose largest values are largest
        takes a fifth of its time for 8 of 32,000.
        """
        length, width = x.shape[-1], 64
        if x.device.type != "cpu" or length < 4 * width * k:
            return torch.topk(x, k)
        end = length - length % width
        best = torch.topk(x[..., :end].unflatten(-1, (-1, width)).amax(dim=-1), k).indices
        places = (best[..., None] * width + torch.arange(width)).flatten(-2)
        places = torch.cat((places, torch.arange(end, length).expand(*x.shape[:-1], -1)), dim=-1)
        values, indices = torch.topk(x.gather(-1, places), k)
        return values, places.gather(-1, indices)

    def ranked(x, k):
        """As `top_k`, with equal values in the order of their indices; it sorts, so it is for short axes."""
        values, indices = torch.sort(x, dim=-1, descending=True, stable=True)
        return values[..., :k], indices[..., :k]

    def first(condition):
        """Where the last axis is True for the first time; its length where it never is."""
        return torch.where(condition.any(dim=-1), condition.to(torch.uint8).argmax(dim=-1), condition.shape[-1])

    def argmax(x):
        return torch.argmax(x, dim=-1)

    def log_normalizer(x):
        """`log(sum(exp(x)))` over the last axis, kept as an axis of 1."""
        # What the largest value loses: `log_softmax` is one pass where `logsumexp` makes three.
        return largest(x) - largest(torch.log_softmax(x, dim=-1))

    def reshape(x, shape):
        return x.reshape(shape)

    def join(x, y):
        """`x` and `y` one after the other along axis 1."""
        return torch.cat((x, y), dim=1)

    def take(x, rows):
        """The given rows of axis 0."""
        return x.index_select(0, rows)

    def column(x, position):
        return x[:, position : position + 1]

    def pick(x, indices):
        """`x [R, N]` at one index of each row: `[R]`."""
        return x.gather(1, indices.long()[:, None])[:, 0]

    def put(x, position, values):
        """`x [..., N]` with `values [...]` at `position` of its last axis. It writes in place: give it a tensor that
        nobody else holds."""
        x[..., position] = values
        return x

    def until(x, end):
        """`x [R, S]` up to place `end`: what comes after is cut off, or -1."""
        return x[:, :end]

    def since(x, begin):
        """`x [R, S]` from place `begin` on: what comes before is cut off, or -1."""
        return x[:, begin:]

    def last(x, end, count):
        """The `count` places of `x [R, S]` before `end`; -1 where it begins later."""
        missing = max(count - end, 0)
        return torch.nn.functional.pad(x[:, end - count + missing : end], (missing, 0), value=-1)

    def counts(token_ids, size):
        """How often each id stands in each row of `token_ids [R, N]`: float32 `[R, size]`. -1 is not counted."""
        places = torch.where(token_ids < 0, size, token_ids).long()
        found = torch.zeros(len(token_ids), size + 1, device=token_ids.device)
        return found.scatter_add_(1, places, torch.ones((), device=token_ids.device).expand(places.shape))[:, :size]

    def without(x, token_ids):
        """`x [R, N]` with `-inf` at the places `token_ids [R, M]` of each row; -1 is none."""
        values = torch.where(token_ids < 0, float("inf"), float("-inf")).to(x.dtype)
        return x.scatter_reduce(1, token_ids.clamp(min=0).long(), values, "amin")

    def when(condition, then, otherwise):
        """`then()` where `condition`, of the loop's positions, is True, else `otherwise`."""
        return then() if condition else otherwise

    def constant(x, like):
        """A NumPy array as a tensor, on the device of `like`."""
        return torch.as_tensor(x, device=like.device)

    def int32(x):
        return x.to(torch.int32)

    def count(n, like):
        """`0, 1, … n - 1`, on the device of `like`."""
        return torch.arange(n, device=like.device)

    def where(condition, x, y):
        return torch.where(condition, x, y)

    def any_(x):
        return x.any(dim=-1)

    def all_(x):
        return x.all(dim=-1)

    def smallest(x):
        """The smallest of the last axis, kept as an axis of 1."""
        return x.amin(dim=-1, keepdim=True)

    def largest(x):
        """The largest of the last axis, kept as an axis of 1."""
        return x.amax(dim=-1, keepdim=True)

    def in_place_order(rows):
        """Whether `rows` is `0, 1, 2, …`, where the answer is free: on a GPU it would make the host wait, so the
        answer is no."""
        return rows.device.type == "cpu" and torch.equal(rows, torch.arange(len(rows), dtype=rows.dtype))

else:

    def scalar(value):
        """A position or a length, as the loop carries it: an int32 scalar."""
        return ops.convert_to_tensor(np.int32(value))

    def float32(x):
        return ops.cast(x, "float32")

    def power(base, exponent):
        """`base`, a position or a length, to a float exponent."""
        return ops.power(ops.cast(base, "float32"), exponent)

    def top_k(x, k):
        """The `k` largest of the last axis and their indices; equal values in the order of their indices."""
        return ops.top_k(x, k)

    ranked = top_k

    def first(condition):
        """Where the last axis is True for the first time; its length where it never is."""
        length = condition.shape[-1]
        return ops.min(ops.where(condition, ops.arange(length, dtype="int32"), length), axis=-1)

    def argmax(x):
        # XLA's own runs over the axis item by item on a CPU: two plain reductions take a quarter of its time.
        return ops.minimum(first(x == ops.max(x, axis=-1, keepdims=True)), x.shape[-1] - 1)

    def log_normalizer(x):
        """`log(sum(exp(x)))` over the last axis, kept as an axis of 1."""
        return ops.logsumexp(x, axis=-1, keepdims=True)

    def reshape(x, shape):
        return ops.reshape(x, shape)

    def join(x, y):
        """`x` and `y` one after the other along axis 1."""
        return ops.concatenate((x, y), axis=1)

    def take(x, rows):
        """The given rows of axis 0."""
        return ops.take(x, rows, axis=0)

    def column(x, position):
        return ops.expand_dims(ops.take(x, position, axis=1), 1)

    def pick(x, indices):
        """`x [R, N]` at one index of each row: `[R]`."""
        return ops.take_along_axis(x, ops.expand_dims(indices, 1), axis=1)[:, 0]

    def put(x, position, values):
        """`x [..., N]` with `values [...]` at `position` of its last axis."""
        return ops.where(ops.arange(x.shape[-1], dtype="int32") == position, ops.expand_dims(values, -1), x)

    def until(x, end):
        """`x [R, S]` up to place `end`: what comes after is cut off, or -1."""
        return ops.where(ops.arange(x.shape[1], dtype="int32") < end, x, -1)

    def since(x, begin):
        """`x [R, S]` from place `begin` on: what comes before is cut off, or -1."""
        return ops.where(ops.arange(x.shape[1], dtype="int32") >= begin, x, -1)

    def last(x, end, count):
        """The `count` places of `x [R, S]` before `end`; -1 where it begins later."""
        places = end - count + ops.arange(count, dtype="int32")
        return ops.where(places >= 0, ops.take(x, ops.maximum(places, 0), axis=1), -1)

    def counts(token_ids, size):
        """How often each id stands in each row of `token_ids [R, N]`: float32 `[R, size]`. -1 is not counted."""
        rows = token_ids.shape[0]
        places = ops.where(token_ids < 0, size, token_ids) + ops.arange(rows, dtype="int32")[:, None] * (size + 1)
        places = ops.reshape(places, (-1,))
        found = ops.segment_sum(ops.ones_like(places, dtype="float32"), places, rows * (size + 1))
        return ops.reshape(found, (rows, size + 1))[:, :size]

    def without(x, token_ids):
        """`x [R, N]` with `-inf` at the places `token_ids [R, M]` of each row; -1 is none."""
        return ops.where(counts(token_ids, x.shape[-1]) > 0, float("-inf"), x)

    def when(condition, then, otherwise):
        """`then()` where `condition`, of the loop's positions, is True, else `otherwise`."""
        return ops.where(condition, then(), otherwise)

    def constant(x, like):
        """A NumPy array as a tensor."""
        return ops.convert_to_tensor(x)

    def int32(x):
        return ops.cast(x, "int32")

    def count(n, like):
        """`0, 1, … n - 1`."""
        return ops.arange(n, dtype="int32")

    def where(condition, x, y):
        return ops.where(condition, x, y)

    def any_(x):
        return ops.any(x, axis=-1)

    def all_(x):
        return ops.all(x, axis=-1)

    def smallest(x):
        """The smallest of the last axis, kept as an axis of 1."""
        return ops.min(x, axis=-1, keepdims=True)

    def largest(x):
        """The largest of the last axis, kept as an axis of 1."""
        return ops.max(x, axis=-1, keepdims=True)

    def in_place_order(rows):
        """Whether `rows` is `0, 1, 2, …`: not known while tracing."""
        return False


def tensor(x):
    """A NumPy array as a tensor of the same dtype."""
    return ops.convert_to_tensor(x)


def one_of(token_ids, choices):
    """Where `token_ids` equals one of a few Python ints; nowhere if there are none."""
    found = token_ids != token_ids
    for choice in choices:
        found = found | (token_ids == choice)
    return found


def within(x, indices):
    """`x [B, N, …]` at `indices [B, M]` of axis 1, sentence by sentence: `[B, M, …]`."""
    sentences, entries = x.shape[:2]
    rows = indices + count(sentences, indices)[:, None] * entries
    taken = take(reshape(x, (sentences * entries, *x.shape[2:])), reshape(rows, (-1,)))
    return reshape(taken, (sentences, indices.shape[1], *x.shape[2:]))
