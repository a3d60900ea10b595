"""Attention in plain NumPy, in float64, one head and one query after the other in spirit: what the layers are compared
with. And the weights that tests give to layers: the same on every backend."""

import numpy as np
from keras import ops


def attention(query, key, value, *, scale, mask=None, bias=None, causal=False, soft_cap=None):
    """`query [B, N, T, H]`, `key` and `value [B, K, S, H]`: the output `[B, N, T, H]` and the weights `[B, N, T, S]`.
    A query that sees no key gets zeros."""
    query, key, value = (np.asarray(x, "float64") for x in (query, key, value))
    groups = query.shape[1] // key.shape[1]
    key, value = np.repeat(key, groups, axis=1), np.repeat(value, groups, axis=1)
    scores = np.einsum("bnth,bnsh->bnts", query, key) * scale
    if soft_cap is not None:
        scores = np.tanh(scores / soft_cap) * soft_cap
    if bias is not None:
        scores = scores + np.asarray(bias, "float64")
    seen = np.ones_like(scores, bool) if mask is None else np.broadcast_to(mask, scores.shape)
    if causal:
        seen = seen & np.tri(*scores.shape[2:], dtype=bool)
    weights = np.where(seen, np.exp(scores - scores.max(-1, keepdims=True)), 0.0)
    total = weights.sum(-1, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return weights @ value, weights


def split(x, heads):
    """`[B, T, N*H]` to `[B, N, T, H]`."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def merge(x):
    """`[B, N, T, H]` to `[B, T, N*H]`."""
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def projections(layer):
    """The four projections of a `MultiHeadAttention` as float64 functions."""

    def dense(projection):
        kernel, *bias = (np.asarray(weight, "float64") for weight in projection.get_weights())
        return lambda x: x @ kernel + (bias[0] if bias else 0.0)

    return [dense(each) for each in (layer.query, layer.key, layer.value, layer.output_projection)]


def numbers(shape, seed=0, scale=1.0):
    """Normal float32 numbers that depend on the seed and the shape alone."""
    return (np.random.default_rng((seed, *shape)).normal(size=shape) * scale).astype("float32")


def fill(layer, seed=0, scale=0.3):
    """Give every weight of a built layer or model numbers of its own, the same on each backend; what
    begins as ones, the scale of a norm, stays near one."""
    weights = [weight for weight in layer.weights if "seed_generator" not in weight.path]
    for index, weight in enumerate(sorted(weights, key=lambda weight: weight.path)):
        ones = (ops.convert_to_numpy(weight) == 1).all()
        weight.assign(numbers(tuple(weight.shape), seed * 1000 + index, scale) + ones)
    return layer


def relative_error(ours, theirs):
    """The largest difference, relative to the largest value."""
    ours = np.asarray(ops.convert_to_numpy(ours), "float64")
    theirs = np.asarray(ops.convert_to_numpy(theirs), "float64")
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return np.abs(ours - theirs).max() / np.abs(theirs).max()
