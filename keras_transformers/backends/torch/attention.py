"""Attention with the fused kernel of PyTorch, called directly, and a KV cache that is written in place."""

import typing

import torch

from keras_transformers.backends.default import attention as default
from keras_transformers.backends.default.attention import *  # noqa: F403
from keras_transformers.backends.default.attention import Offset
from keras_transformers.backends.torch import arrays
from keras_transformers.backends.types import Tensor


def split_heads(x_BTD: Tensor, num_heads: int) -> Tensor:
    """`[B, T, N*H]` to `[B, N, T, H]`."""
    return x_BTD.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(x_BNTH: Tensor) -> Tensor:
    """`[B, N, T, H]` to `[B, T, N*H]`."""
    return x_BNTH.transpose(1, 2).flatten(2)


def fold_rows(query_RNTH: Tensor, sentences: int) -> Tensor:
    """`[B*beams, N, T, H]` to `[B, N, beams*T, H]`, so that the hypotheses of a sentence read one copy of its keys."""
    return query_RNTH.unflatten(0, (sentences, -1)).transpose(1, 2).flatten(2, 3)


def unfold_rows(x_BNXH: Tensor, rows: int) -> Tensor:
    """The inverse of `fold_rows`: `[B, N, beams*T, H]` to `[B*beams, N, T, H]`."""
    return x_BNXH.unflatten(2, (rows // len(x_BNXH), -1)).transpose(1, 2).flatten(0, 1)


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
) -> tuple[Tensor, Tensor | None]:
    """Attention of queries to keys. For a query that sees no key, the output is zeros."""
    if return_scores or soft_cap is not None:  # the kernel supports neither
        return default.attend(
            query_BNTH,
            key_BKSH,
            value_BKSH,
            scale=scale,
            mask=mask,
            bias=bias,
            causal=causal,
            soft_cap=soft_cap,
            dropout=dropout,
            return_scores=return_scores,
        )
    seen = None
    if mask is not None or bias is not None:
        mask, seen = _kernel_mask(query_BNTH, key_BKSH, mask, bias, causal)
        causal = False

    shape = query_BNTH.shape
    grouped = bool(shape[1] != key_BKSH.shape[1])  # while tracing, a size is not an int
    if grouped and shape[2] == 1 and (mask is None or mask.shape[1] == 1):
        query_BNTH, grouped = query_BNTH.reshape(shape[0], key_BKSH.shape[1], -1, shape[3]), False
    output = torch.nn.functional.scaled_dot_product_attention(
        query_BNTH,
        key_BKSH,
        value_BKSH,
        attn_mask=mask,
        dropout_p=0.0 if dropout is None else dropout.rate,
        is_causal=causal,
        scale=scale,
        enable_gqa=grouped,
    ).reshape(shape)
    return (output if seen is None else output.masked_fill(~seen, 0.0)), None


def _kernel_mask(
    query_BNTH: Tensor, key_BKSH: Tensor, mask: Tensor | None, bias: Tensor | None, causal: bool
) -> tuple[Tensor, Tensor | None]:
    """The mask that the kernel adds or applies, which joins mask, bias and causality; and which queries see any key, or
    None if all do."""
    if causal:
        past = torch.ones(query_BNTH.shape[2], key_BKSH.shape[2], dtype=torch.bool, device=query_BNTH.device).tril()
        mask = past if mask is None else mask & past
    if mask is None:
        return typing.cast(Tensor, bias).to(query_BNTH.dtype), None
    # Softmax over no keys is NaN: let such a query see all keys, and replace its output.
    seen = mask.any(-1, keepdim=True)
    seen = None if arrays.surely_all(seen) else seen
    mask = mask if seen is None else mask | ~seen
    return mask if bias is None else bias.masked_fill(~mask, float("-inf")).to(query_BNTH.dtype), seen


def start() -> Offset:
    """The offset of an empty cache."""
    return 0


def write(buffer: Tensor, new: Tensor, offset: Offset) -> tuple[Tensor, Tensor]:
    """Write `new [R, K, T, H]` into `buffer [R, K, S, H]` at `offset`, in place if the backend can."""
    if isinstance(offset, torch.SymInt):  # exported: the buffer is full, and grows
        grown = torch.cat((buffer, new.to(buffer.dtype)), dim=2)
        return grown, grown
    if not isinstance(offset, int):  # compiled: attend to the whole buffer
        places = offset + torch.arange(new.shape[2], device=new.device)
        return buffer.index_copy_(2, places, new.to(buffer.dtype)), buffer
    end = offset + new.shape[2]
    buffer[:, :, offset:end] = new
    return buffer, buffer[:, :, :end]


def visible_length(room: int, offset: Offset, new: int) -> int:
    """The number of key positions that attention sees after writing `new` positions at `offset`, in buffers with `room`
    positions."""
    return offset + new if isinstance(offset, int | torch.SymInt) else room


def take_written(buffer: Tensor, rows: Tensor, end: Offset, spare: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The `rows` of a buffer `[R, K, S, H]` with `end` written positions; the other positions hold any finite
    values."""
    # Gather each buffer into the one that the last call freed: this copies only written positions, and allocates
    # almost nothing.
    if not isinstance(end, int) or len(rows) != len(buffer):
        return default.take_written(buffer, rows, end, None)
    if spare is None or spare.shape != buffer.shape or spare.dtype != buffer.dtype:
        spare = buffer.new_empty(buffer.shape)
        spare[:, :, end:] = 0  # a compiled step multiplies hidden positions too: they must be finite
    torch.index_select(buffer[:, :, :end], 0, rows, out=spare[:, :, :end])
    return spare, buffer
