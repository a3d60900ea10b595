"""Attention masks as pure functions: boolean, True where a query may see a key, broadcastable to `[B, N, T, S]`.

Legend: `B` batch, `N` query heads, `T` query length, `S` key length.
"""

import keras
from keras import ops
from keras.src.backend import get_keras_mask

from keras_transformers.backends import arrays
from keras_transformers.backends.types import Shape, Tensor


def causal(query_positions: Tensor, key_positions: Tensor) -> Tensor:
    """Each query sees its own and earlier positions: `[B|1, 1, T, S]` from positions `[B|1, T]` and `[B|1, S]`."""
    return key_positions[:, None, None, :] <= query_positions[:, None, :, None]


def window(query_positions: Tensor, key_positions: Tensor, size: int) -> Tensor:
    """Each query sees the keys fewer than `size` positions away, on both sides: `[B|1, 1, T, S]`."""
    distance = query_positions[:, None, :, None] - key_positions[:, None, None, :]
    return ops.abs(distance) < size


def beginning(starts: Tensor, key_positions: Tensor) -> Tensor:
    """Each query sees the keys from its start on: `[B, 1, 1|T, S]` from starts `[B, 1|T]` and positions `[B|1, S]`."""
    return key_positions[:, None, None, :] >= starts[:, None, :, None]


def padding(padding_mask: Tensor, scores_shape: Shape) -> Tensor:
    """Every query sees the real tokens: `[B, 1, 1, S]` from `[B, S]`, True where a token is real; None for None.

    `scores_shape` is `(B, N, T, S)`, with None for unknown axes.
    """
    if padding_mask is None:
        return None
    batch, _, _, length = scores_shape
    if not _fits(padding_mask.shape, (batch, length), broadcast=False):
        raise ValueError(
            f"Expected a padding mask of shape [B, S] = [{batch}, {length}], got shape {tuple(padding_mask.shape)}."
        )
    return ops.cast(padding_mask, "bool")[:, None, None, :]


def attached(x: Tensor) -> Tensor:
    """The Keras mask attached to the tensor `x`, `[B, T]`, or None."""
    return None if isinstance(x, (tuple, list)) else get_keras_mask(x)


def explicit(attention_mask: Tensor, scores_shape: Shape) -> Tensor:
    """A user's mask `[T, S]`, `[B, T, S]` or `[B, N, T, S]` with its missing axes inserted; None for None.
    `scores_shape` is as for `padding`."""
    if attention_mask is None:
        return None
    batch, _, length, key_length = scores_shape
    shape = attention_mask.shape
    if not any(_fits(shape, fitting) for fitting in (scores_shape, (batch, length, key_length), scores_shape[2:])):
        raise ValueError(
            "Expected an attention_mask of shape [T, S], [B, T, S] or [B, N, T, S], where [B, N, T, S] = "
            f"[{', '.join(map(str, scores_shape))}], got shape {tuple(shape)}."
        )
    if "float" in keras.backend.standardize_dtype(attention_mask.dtype):
        raise ValueError(
            f"Expected an attention_mask that is True where a query may look, got {attention_mask.dtype}. "
            "If your mask is to be added to scores, pass `mask == 0`."
        )
    mask = ops.cast(attention_mask, "bool")
    return mask if len(shape) == 4 else mask[None, None] if len(shape) == 2 else mask[:, None]


def _fits(shape: Shape, wanted: Shape, broadcast: bool = True) -> bool:
    """Whether each axis has the wanted size, or is unknown, or is 1 and may be broadcast."""
    return len(shape) == len(wanted) and all(
        size == axis or size is None or axis is None or (size == 1 and broadcast)
        for size, axis in zip(shape, wanted, strict=True)
    )


def both(*masks: Tensor) -> Tensor:
    """The logical and of the masks that are not None; None if all are None, or if the result surely hides nothing."""
    present = [mask for mask in masks if mask is not None]
    if not present:
        return None
    result = present[0]
    for mask in present[1:]:
        result = ops.logical_and(result, mask)
    return None if arrays.surely_all(result) else result
