"""Array operations of PyTorch, which cost less than those of `keras.ops` in a loop over tokens."""

import typing
from collections.abc import Callable, Iterable

import numpy as np
import torch

from keras_transformers.backends.default.arrays import *  # noqa: F403
from keras_transformers.backends.default.arrays import Position
from keras_transformers.backends.types import Tensor


def scalar(value: int) -> Position:
    """A position or a length in the form that a loop carries."""
    return int(value)


def constant(x: np.ndarray, like: Tensor) -> Tensor:
    """A NumPy array as a tensor on the device of `like`."""
    return torch.as_tensor(x, device=like.device)


def fixed(x: np.ndarray) -> typing.Any:
    """A NumPy array in the form that a layer keeps, even if Keras builds the layer without values."""
    return torch.from_numpy(x)  # `torch.compile` needs tensors


def beside(fixed: typing.Any, like: Tensor) -> typing.Any:
    """An array from `fixed` on the device of `like`."""
    # A meta tensor has no values, and would discard those of the array.
    return fixed if like.device in (fixed.device, torch.device("meta")) else fixed.to(like.device)


def known_values(x: typing.Any) -> np.ndarray | None:
    """The values of a tensor; None if they are not computed yet, or are on another device."""
    if isinstance(x, np.ndarray):
        return x
    plain = type(x) is torch.Tensor and x.device.type == "cpu" and not torch.compiler.is_compiling()
    if not plain or torch.jit.is_tracing() or torch._C._functorch.is_functorch_wrapped_tensor(x):
        return None
    return x.detach().numpy() if x.dtype != torch.bfloat16 else None


def surely_all(condition: Tensor) -> bool:
    """Whether a boolean tensor is True everywhere; False if checking that is not free."""
    # free on a CPU, if not compiled
    return condition.device.type == "cpu" and not torch.compiler.is_compiling() and bool(condition.all())


def in_place_order(rows: Tensor) -> bool:
    """Whether `rows` is `0, 1, 2, …`; False if checking that is not free."""
    # with a GPU the host would have to wait
    return rows.device.type == "cpu" and torch.equal(rows, torch.arange(len(rows), dtype=rows.dtype))


def float32(x: Tensor) -> Tensor:
    """`x` as float32."""
    return x.float()


def int32(x: Tensor) -> Tensor:
    """`x` as int32."""
    return x.to(torch.int32)


def power(base: Position, exponent: float) -> Position:
    """`base`, a position or a length, to the power of a float exponent."""
    return float(base) ** exponent


def top_k(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest values of the last axis and their indices, with equal values in any order."""
    # On a CPU, `torch.topk` moves each value. Searching only the `k` blocks with the largest maxima takes a fifth of
    # its time for 8 of 32,000.
    length, width = x.shape[-1], 64
    if x.device.type != "cpu" or length < 4 * width * k:
        return torch.topk(x, k)
    end = length - length % width
    best = torch.topk(x[..., :end].unflatten(-1, (-1, width)).amax(dim=-1), k).indices
    places = (best[..., None] * width + torch.arange(width)).flatten(-2)
    places = torch.cat((places, torch.arange(end, length).expand(*x.shape[:-1], -1)), dim=-1)
    values, indices = torch.topk(x.gather(-1, places), k)
    return values, places.gather(-1, indices)


def ranked(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The result of `top_k`, with equal values in the order of their indices. For short axes, since it may sort."""
    values, indices = torch.sort(x, dim=-1, descending=True, stable=True)
    return values[..., :k], indices[..., :k]


def first(condition: Tensor) -> Tensor:
    """The index of the first True of the last axis; the length of the axis if there is none."""
    return torch.where(condition.any(dim=-1), condition.to(torch.uint8).argmax(dim=-1), condition.shape[-1])


def argmax(x: Tensor) -> Tensor:
    """The index of the largest value of the last axis."""
    return torch.argmax(x, dim=-1)


def log_normalizer(x: Tensor) -> Tensor:
    """`log(sum(exp(x)))` over the last axis, kept as an axis of 1."""
    # `log_softmax` makes one pass, `logsumexp` three. The normalizer is the amount that `log_softmax` subtracts.
    return largest(x) - largest(torch.log_softmax(x, dim=-1))


def reshape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`x` in another shape."""
    return x.reshape(shape)


def join(x: Tensor, y: Tensor) -> Tensor:
    """`x` and `y` concatenated along axis 1."""
    return torch.cat((x, y), dim=1)


def side_by_side(parts: Iterable[Tensor]) -> Tensor:
    """Tensors concatenated along the last axis."""
    return torch.cat(parts, dim=-1)


def take(x: Tensor, rows: Tensor) -> Tensor:
    """The given rows of axis 0."""
    return x.index_select(0, rows)


def column(x: Tensor, position: Position) -> Tensor:
    """`x [R, N]` at one position of axis 1: `[R, 1]`."""
    return x[:, position : position + 1]


def pick(x: Tensor, indices: Tensor) -> Tensor:
    """`x [R, N]` at one index for each row: `[R]`."""
    return x.gather(1, indices.long()[:, None])[:, 0]


def put(x: Tensor, position: Position, values: Tensor) -> Tensor:
    """`x [..., N]` with `values [...]` at `position` of its last axis. It may write in place: do not use `x` again."""
    x[..., position] = values
    return x


def until(x: Tensor, end: Position) -> Tensor:
    """`x [R, S]` before position `end`; the rest is cut off, or -1."""
    return x[:, :end]


def since(x: Tensor, begin: Position) -> Tensor:
    """`x [R, S]` from position `begin` on; the rest is cut off, or -1."""
    return x[:, begin:]


def last(x: Tensor, end: Position, count: int) -> Tensor:
    """The `count` positions of `x [R, S]` before `end`; -1 for positions before the first."""
    missing = max(count - end, 0)
    return torch.nn.functional.pad(x[:, end - count + missing : end], (missing, 0), value=-1)


def counts(token_ids: Tensor, size: int) -> Tensor:
    """How often each id occurs in each row of `token_ids [R, N]`: float32 `[R, size]`. -1 is not counted."""
    places = torch.where(token_ids < 0, size, token_ids).long()
    found = torch.zeros(len(token_ids), size + 1, device=token_ids.device)
    return found.scatter_add_(1, places, torch.ones((), device=token_ids.device).expand(places.shape))[:, :size]


def without(x: Tensor, token_ids: Tensor) -> Tensor:
    """`x [R, N]` with `-inf` at the positions `token_ids [R, M]` of each row; -1 for no position."""
    values = torch.where(token_ids < 0, float("inf"), float("-inf")).to(x.dtype)
    return x.scatter_reduce(1, token_ids.clamp(min=0).long(), values, "amin")


def when(condition: typing.Any, then: Callable[[], Tensor], otherwise: Tensor) -> Tensor:
    """`then()` if `condition`, computed from positions of the loop, is True, else `otherwise`."""
    return then() if condition else otherwise


def count(n: int, like: Tensor) -> Tensor:
    """`0, 1, … n - 1` on the device of `like`."""
    return torch.arange(n, device=like.device)


def rows(x: Tensor) -> Tensor:
    """`0, 1, … R - 1` for the rows of `x [R, …]`, on its device."""
    return torch.arange(x.shape[0], device=x.device)


def where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """`x` where `condition` is True, else `y`."""
    return torch.where(condition, x, y)


def any_(x: Tensor) -> Tensor:
    """Whether any value of the last axis is True."""
    return x.any(dim=-1)


def all_(x: Tensor) -> Tensor:
    """Whether all values of the last axis are True."""
    return x.all(dim=-1)


def smallest(x: Tensor) -> Tensor:
    """The smallest value of the last axis, kept as an axis of 1."""
    return x.amin(dim=-1, keepdim=True)


def largest(x: Tensor) -> Tensor:
    """The largest value of the last axis, kept as an axis of 1."""
    return x.amax(dim=-1, keepdim=True)


def maximum(x: Tensor) -> Tensor:
    """The largest of all values: a scalar."""
    return x.amax()


def within(x: Tensor, indices: Tensor) -> Tensor:
    """`x [B, N, …]` at `indices [B, M]` of axis 1, sentence by sentence: `[B, M, …]`."""
    rows = indices + torch.arange(len(x), device=indices.device)[:, None] * x.shape[1]
    return x.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, indices.shape)
