"""Scaled dot-product attention: the one function, with a body per backend.

    softmax(Q Kᵀ · scale, capped, + bias, masked) V                          (Vaswani et al. 2017, section 3.2.1)

Grouped heads: `N` query heads share `K` key/value heads, `G = N / K` to each. A group's queries read the same keys, so
a group is only more query positions,

    query [B, N, T, H] ─ reshape ► [B, K, G·T, H] · key [B, K, S, H] ─► scores [B, K, G·T, S] ─ reshape ► [B, N, T, S]

and no key is ever copied. Beam search reads a sentence's keys the same way: `fold_rows` makes its hypotheses more query
positions.

Legend: `B` batch, `T` query length, `S` key length, `D` model width, `N` query heads, `K` key/value heads, `G` query
heads per key/value head, `H` head width.
"""

import keras
from keras import ops
from keras.src import backend

from keras_transformers.backends import arrays
from keras_transformers.layers.products import packs_right, turned_round


def split_heads(x_BTD, num_heads):
    """`[B, T, N*H]` to `[B, N, T, H]`."""
    if _on_torch:
        return x_BTD.unflatten(-1, (num_heads, -1)).transpose(1, 2)
    batch, length, width = ops.shape(x_BTD)
    return ops.transpose(ops.reshape(x_BTD, (batch, length, num_heads, width // num_heads)), (0, 2, 1, 3))


def merge_heads(x_BNTH):
    """`[B, N, T, H]` to `[B, T, N*H]`."""
    if _on_torch:
        return x_BNTH.transpose(1, 2).flatten(2)
    batch, heads, length, width = ops.shape(x_BNTH)
    return ops.reshape(ops.transpose(x_BNTH, (0, 2, 1, 3)), (batch, length, heads * width))


def fold_rows(query_RNTH, sentences):
    """`[B*beams, N, T, H]` to `[B, N, beams*T, H]`, so that the hypotheses of a sentence read one copy of its keys."""
    if _on_torch:
        return query_RNTH.unflatten(0, (sentences, -1)).transpose(1, 2).flatten(2, 3)
    rows, heads, length, width = ops.shape(query_RNTH)
    beams = rows // sentences
    x = ops.transpose(ops.reshape(query_RNTH, (sentences, beams, heads, length, width)), (0, 2, 1, 3, 4))
    return ops.reshape(x, (sentences, heads, beams * length, width))


def unfold_rows(x_BNXH, rows):
    """The inverse of `fold_rows`: `[B, N, beams*T, H]` to `[B*beams, N, T, H]`."""
    if _on_torch:
        return x_BNXH.unflatten(2, (rows // len(x_BNXH), -1)).transpose(1, 2).flatten(0, 1)
    sentences, heads, folded, width = ops.shape(x_BNXH)
    beams = rows // sentences
    x = ops.reshape(x_BNXH, (sentences, heads, beams, folded // beams, width))
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3, 4)), (rows, heads, folded // beams, width))


def _scores(query_BKQH, key_BKSH):
    """`[B, K, Q, S]`."""
    if packs_right(query_BKQH.shape[2]):  # else all keys would be copied
        return ops.swapaxes(turned_round("bksh,bkqh->bksq", key_BKSH, query_BKQH), 2, 3)
    return ops.einsum("bkqh,bksh->bkqs", query_BKQH, key_BKSH)


def _attend(
    query_BNTH,
    key_BKSH,
    value_BKSH,
    *,
    scale,
    mask=None,
    bias=None,
    causal=False,
    soft_cap=None,
    dropout=None,
    return_scores=False,
):
    """The body in `keras.ops`: what JAX and TensorFlow compile, and what shows the scores on any backend."""
    batch, num_heads, length, head_dim = ops.shape(query_BNTH)
    num_key_value_heads, key_length = ops.shape(key_BKSH)[1:3]
    folded = (batch, num_key_value_heads, (num_heads // num_key_value_heads) * length)

    query = ops.reshape(query_BNTH * ops.cast(scale, query_BNTH.dtype), (*folded, head_dim))
    scores = _scores(query, key_BKSH)
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
    weights = backend.nn.softmax(scores, axis=-1)  # that of `ops` warns where there is one key
    if mask is not None:  # a query that sees no key gets zeros, not the mean of what is hidden
        weights = ops.where(ops.any(mask, axis=-1, keepdims=True), weights, 0.0)
    weights = ops.cast(weights, value_BKSH.dtype)
    dropped = weights if dropout is None else dropout(weights, training=True)
    output = ops.einsum("bkqs,bksh->bkqh", ops.reshape(dropped, (*folded, key_length)), value_BKSH)
    output = ops.reshape(output, (batch, num_heads, length, head_dim))
    return (output, weights) if return_scores else (output, None)


def _attend_torch(query_BNTH, key_BKSH, value_BKSH, *, scale, mask=None, bias=None, causal=False, dropout=None, **rest):
    """PyTorch's fused kernel, called directly; what it cannot do falls to the body above."""
    import torch

    if rest.get("return_scores") or rest.get("soft_cap") is not None:
        return _attend(
            query_BNTH, key_BKSH, value_BKSH, scale=scale, mask=mask, bias=bias, causal=causal, dropout=dropout, **rest
        )
    if causal and (mask is not None or bias is not None):
        past = torch.ones(query_BNTH.shape[2], key_BKSH.shape[2], dtype=torch.bool, device=query_BNTH.device).tril()
        mask, causal = past if mask is None else mask & past, False
    seen = None
    if mask is not None:  # softmax over nothing is NaN: let a query that sees no key see all, and drop the answer
        seen = mask.any(-1, keepdim=True)
        seen = None if arrays.surely_all(seen) else seen
        mask = mask if seen is None else mask | ~seen
        if bias is not None:
            mask = bias.masked_fill(~mask, float("-inf")).to(query_BNTH.dtype)
    elif bias is not None:
        mask = bias.to(query_BNTH.dtype)

    shape = query_BNTH.shape
    grouped = bool(shape[1] != key_BKSH.shape[1])  # traced, a shape is no number
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


_HIDDEN = -1e30  # far below any score in float32, where the softmax is computed
_on_torch = keras.backend.backend() == "torch"

attend = _attend_torch if _on_torch else _attend
"""`attend(query [B, N, T, H], key [B, K, S, H], value [B, K, S, H], *, scale, mask, bias, causal, soft_cap, dropout,
return_scores)`

`mask` is boolean and `bias` float, both broadcastable to `[B, N, T, S]`; `causal` means `T == S` with queries and keys
at the same positions; `dropout` is a Keras dropout layer, or None when not training. Returns `(output [B, N, T, H],
scores [B, N, T, S] or None)`. A query that may see no key gets zeros.
"""
