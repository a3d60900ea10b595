"""Attention on JAX: products of few queries with many keys in the order that is fast with XLA."""

import functools

from keras_transformers.backends.default import attention as default
from keras_transformers.backends.default.attention import *  # noqa: F403
from keras_transformers.backends.jax import transposed
from keras_transformers.backends.types import Tensor


def score(query_BKQH: Tensor, key_BKSH: Tensor) -> Tensor:
    """The products of queries and keys: `[B, K, Q, S]`."""
    found = transposed.query_key(query_BKQH, key_BKSH)  # otherwise XLA would copy all keys
    return default.score(query_BKQH, key_BKSH) if found is None else found


attend = functools.partial(default.attend, product=score)
