"""Scaled dot-product attention, and the KV cache that it reads.

    softmax(Q Kᵀ · scale, capped, + bias, masked) V                          (Vaswani et al. 2017, section 3.2.1)

Grouped heads: `N` query heads share `K` key/value heads, `G = N / K` for each. The queries of a group read the same
keys, so a group is treated as more query positions,

    query [B, N, T, H] ─ reshape ► [B, K, G·T, H] · key [B, K, S, H] ─► scores [B, K, G·T, S] ─ reshape ► [B, N, T, S]

and keys are never copied. In the same way, for beam search, `fold_rows` turns the hypotheses of a sentence into more
query positions.

Legend: `B` batch, `T` query length, `S` key length, `D` model width, `N` query heads, `K` key/value heads, `G` query
heads per key/value head, `H` head width.
"""

import typing
from collections.abc import Callable

from keras import ops
from keras.src import backend

from keras_transformers.backends.types import Tensor

Offset: typing.TypeAlias = typing.Any
"""The number of written positions of a cache: an int32 scalar, or a Python int on PyTorch."""

_HIDDEN = -1e30  # far below any score; the softmax is computed in float32


def split_heads(x_BTD: Tensor, num_heads: int) -> Tensor:
    """`[B, T, N*H]` to `[B, N, T, H]`."""
    batch, length, width = ops.shape(x_BTD)
    return ops.transpose(ops.reshape(x_BTD, (batch, length, num_heads, width // num_heads)), (0, 2, 1, 3))


def merge_heads(x_BNTH: Tensor) -> Tensor:
    """`[B, N, T, H]` to `[B, T, N*H]`."""
    batch, heads, length, width = ops.shape(x_BNTH)
    return ops.reshape(ops.transpose(x_BNTH, (0, 2, 1, 3)), (batch, length, heads * width))


def fold_rows(query_RNTH: Tensor, sentences: int) -> Tensor:
    """`[B*beams, N, T, H]` to `[B, N, beams*T, H]`, so that the hypotheses of a sentence read one copy of its keys."""
    rows, heads, length, width = ops.shape(query_RNTH)
    beams = rows // sentences
    x = ops.transpose(ops.reshape(query_RNTH, (sentences, beams, heads, length, width)), (0, 2, 1, 3, 4))
    return ops.reshape(x, (sentences, heads, beams * length, width))


def unfold_rows(x_BNXH: Tensor, rows: int) -> Tensor:
    """The inverse of `fold_rows`: `[B, N, beams*T, H]` to `[B*beams, N, T, H]`."""
    sentences, heads, folded, width = ops.shape(x_BNXH)
    beams = rows // sentences
    x = ops.reshape(x_BNXH, (sentences, heads, beams, folded // beams, width))
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3, 4)), (rows, heads, folded // beams, width))


def score(query_BKQH: Tensor, key_BKSH: Tensor) -> Tensor:
    """The products of queries and keys: `[B, K, Q, S]`."""
    return ops.einsum("bkqh,bksh->bkqs", query_BKQH, key_BKSH)


def attend(
    query_BNTH: Tensor,
    key_BKSH: Tensor,
    value_BKSH: Tensor,
    *,
    scale: float,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    causal: bool = False,
    soft_cap: float | None = None,
    dropout: typing.Any = None,
    return_scores: bool = False,
    product: Callable[[Tensor, Tensor], Tensor] = score,
) -> tuple[Tensor, Tensor | None]:
    """Attention of queries to keys. For a query that sees no key, the output is zeros.

    Args:
        query_BNTH: `[B, N, T, H]`.
        key_BKSH, value_BKSH: `[B, K, S, H]`.
        scale: factor of the products of queries and keys.
        mask: boolean, broadcastable to `[B, N, T, S]`; True where a query may see a key.
        bias: float, broadcastable to `[B, N, T, S]`; added to the scores.
        causal: whether each query sees only its own and earlier positions; then `T == S`.
        soft_cap: bound that smoothly limits the scores to ±`soft_cap`.
        dropout: a Keras dropout layer, in training.
        return_scores: whether to return the weights.
        product: the function for products of queries and keys, by default `score`.

    Returns: `(output [B, N, T, H], weights [B, N, T, S] or None)`.
    """
    batch, num_heads, length, head_dim = ops.shape(query_BNTH)
    num_key_value_heads, key_length = ops.shape(key_BKSH)[1:3]
    folded = (batch, num_key_value_heads, (num_heads // num_key_value_heads) * length)

    query = ops.reshape(query_BNTH * ops.cast(scale, query_BNTH.dtype), (*folded, head_dim))
    scores = product(query, key_BKSH)
    scores = ops.cast(ops.reshape(scores, (batch, num_heads, length, key_length)), "float32")
    if soft_cap is not None:
        scores = ops.tanh(scores / soft_cap) * soft_cap
    if bias is not None:
        scores = scores + ops.cast(bias, "float32")
    if causal:
        past = ops.arange(key_length)[None, :] <= ops.arange(length)[:, None]
        mask = past if mask is None else ops.logical_and(mask, past)
    if mask is not None:
        scores = ops.where(mask, scores, _HIDDEN)
    weights = backend.nn.softmax(scores, axis=-1)  # the softmax of `ops` warns if there is one key
    if mask is not None:  # a query that sees no key gets zeros, not the mean of the hidden values
        weights = ops.where(ops.any(mask, axis=-1, keepdims=True), weights, 0.0)
    weights = ops.cast(weights, value_BKSH.dtype)
    dropped = weights if dropout is None else dropout(weights, training=True)
    output = ops.einsum("bkqs,bksh->bkqh", ops.reshape(dropped, (*folded, key_length)), value_BKSH)
    output = ops.reshape(output, (batch, num_heads, length, head_dim))
    return (output, weights) if return_scores else (output, None)


def start() -> Offset:
    """The offset of an empty cache."""
    return ops.zeros((), "int32")


def write(buffer: Tensor, new: Tensor, offset: Offset) -> tuple[Tensor, Tensor]:
    """Write `new [R, K, T, H]` into `buffer [R, K, S, H]` at `offset`, in place if the backend can.

    Returns: the buffer, and the part of it to attend to, which is the whole buffer if shapes are fixed.
    """
    buffer = ops.slice_update(buffer, (0, 0, offset, 0), ops.cast(new, buffer.dtype))
    return buffer, buffer


def visible_length(room: int, offset: Offset, new: int) -> int:
    """The number of key positions that attention sees after writing `new` positions at `offset`, in buffers with `room`
    positions."""
    return room


def take_written(buffer: Tensor, rows: Tensor, end: Offset, spare: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The `rows` of a buffer `[R, K, S, H]` with `end` written positions; the other positions hold any finite values.

    Returns: the rows, and a spare buffer or None: pass it to the call for the next buffer. Do not use the given buffer
    again.
    """
    return ops.take(buffer, rows, axis=0), None
