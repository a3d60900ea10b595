"""The scope of an attention: which keys its queries may see, and the positions of both.

A stack computes a scope once for all layers of one kind. An attention outside of a stack computes its own.

    Places   the positions of queries and keys, and which keys are padding
    Scope    the mask, the bias and the angles that follow from them

Legend: `B` batch, `R` rows (`B` times beams), `T` query length, `S` key length, `D` model width, `N` query heads, `K`
key/value heads, `H` head width.
"""

from __future__ import annotations

import dataclasses
import typing

from keras import ops

from keras_transformers.backends.types import Tensor
from keras_transformers.layers import masks
from keras_transformers.layers.block_sparse import BlockSparse, mask_and_bias
from keras_transformers.layers.state import visible_length


@dataclasses.dataclass(frozen=True)
class Scope:
    """The masks and positions of a self-attention, computed once for all layers of a stack.

    `mask` and `bias` broadcast to `[B, N, T, S]`.
    `causal`: whether the attention kernel applies a causal mask itself.
    `angles` rotate queries and new keys, with channels paired by `layout`; `rotates_values` the new values too.
    `starts`, `[B, 1]` or `[B, T]`: the positions where the texts begin; None without padding in front.
    `global_mask`: the mask of global tokens, which see beyond the window.
    `distances`, `[T + S, D]`: the vectors of distances for disentangled attention, from the largest down.
    `same_segment`, bool `[B, T, S]`: whether query and key are of one segment, for `RelativeSinusoids`.

    It is not a tuple, so that Keras passes it on unchanged, without casting its tensors.
    """

    mask: Tensor = None
    bias: Tensor = None
    causal: bool = False
    angles: Tensor = None
    layout: str = "halves"
    starts: Tensor = None
    rotates_values: bool = False
    global_mask: Tensor = None
    distances: Tensor = None
    same_segment: Tensor = None


@dataclasses.dataclass(frozen=True)
class Places:
    """The positions of the queries and keys of a self-attention, the same for all layers of a stack.

    Attributes:
        rows: `B`, None if unknown.
        queries: positions, int32 `[1, T]`.
        keys: positions, int32 `[1, S]`; the same object as `queries` without cached keys.
        padding_mask: bool `[B, S]`, True where a key is a real token, or None.
        newest: whether there is only one query, the newest token: it sees all keys without a causal mask.
    """

    rows: int | None
    queries: Tensor
    keys: Tensor
    padding_mask: Tensor = None
    newest: bool = False

    @classmethod
    def of(cls, inputs: Tensor, padding_mask: Tensor = None, room: int | None = None, offset: Tensor = 0) -> Places:
        """The places of `inputs [B, T, D]`.

        Args:
            inputs: the inputs of the self-attention.
            padding_mask: True where a token is real: `[B, T]`, or `[B, room]` with a cache. Without a cache, by default
                the Keras mask attached to `inputs`.
            room: the number of positions that the cache has room for; None without a cache.
            offset: the number of positions written in the cache.
        """
        rows, length = inputs.shape[0], ops.shape(inputs)[1]
        queries = positions_of(length, offset)
        if room is None:
            padding_mask = masks.attached(inputs) if padding_mask is None else padding_mask
            return cls(rows, queries, queries, padding_mask)
        seen = visible_length(room, offset, length)
        known = all(isinstance(each, int) for each in (seen, length, offset))
        keys = queries if known and seen == length and offset == 0 else positions_of(seen)
        padding_mask = None if padding_mask is None else padding_mask[:, :seen]
        return cls(rows, queries, keys, padding_mask, newest=known and seen == offset + 1)


def self_scope(
    relative: typing.Any,
    places: Places,
    *,
    num_heads: int,
    causal: bool,
    window: int | None = None,
    global_tokens: int = 0,
    blocks: BlockSparse | None = None,
    attention_mask: Tensor = None,
    starts: Tensor = None,
) -> Scope:
    """The `Scope` of self-attention.

    Args:
        relative: a built layer of `relative_layer`, or None.
        places: the positions of queries and keys.
        num_heads: `N`, for checking the shapes of masks.
        causal: whether later keys are hidden from a query.
        window: a query sees only keys fewer than this many positions away; None for all.
        global_tokens: the number of tokens at the beginning that see all keys, and that all queries see.
        blocks: sparse attention by blocks, or None.
        attention_mask: bool `[T, S]`, `[B, T, S]` or `[B, N, T, S]`, True where a query may see a key, or None.
        starts: int32 `[B, 1]` or `[B, T]`, the position where the text of each query begins; earlier positions are
            padding or another text. None if all texts begin at the first position.
    """
    queries, keys = places.queries, places.keys
    bias = angles = distances = None
    if getattr(relative, "gives_distances", False):
        distances = relative(queries, keys)
    elif relative is not None:
        bias, angles = relative(queries, keys, starts)
    shape = (places.rows, num_heads, queries.shape[1], keys.shape[1])
    near = None
    if window is not None and (not isinstance(shape[3], int) or shape[3] > window):
        near = masks.window(queries, keys, window)
        if global_tokens:
            near = ops.logical_or(near, keys[:, None, None, :] < global_tokens)
    if blocks is not None:
        near, bias = mask_and_bias(blocks, queries)
    elsewhere = (
        masks.padding(places.padding_mask, shape),
        masks.explicit(attention_mask, shape),
        None if starts is None else masks.beginning(starts, keys),
    )
    mask = masks.both(near, *elsewhere)
    global_mask = masks.both(*elsewhere) if global_tokens else None
    causal = causal and not places.newest
    kernel_causal = causal and mask is None and queries is keys
    if causal and not kernel_causal:
        mask = masks.both(mask, masks.causal(queries, keys))
    positions = getattr(relative, "positions", None)
    layout, rotates_values = getattr(positions, "layout", "halves"), getattr(positions, "values", False)
    return Scope(mask, bias, kernel_causal, angles, layout, starts, rotates_values, global_mask, distances)


def recurrent_scope(inputs: Tensor, padding_mask: Tensor, attention_mask: Tensor, starts: Tensor) -> Scope:
    """The `Scope` of a recurrence over `inputs [B, T, D]`: the starts of texts, and the mask of padding. A padding mask
    `[B, T]` is by default the Keras mask attached to the inputs; one of a cache, which is longer, has no effect.

    Raises:
        ValueError: for an attention mask.
    """
    if attention_mask is not None:
        raise ValueError("Expected no attention_mask for a recurrence, which attends to nothing, got one.")
    padding_mask = masks.attached(inputs) if padding_mask is None else padding_mask
    if padding_mask is None or padding_mask.shape[1] != inputs.shape[1]:
        return Scope(starts=starts)
    return Scope(mask=padding_mask[:, None, None, :], starts=starts)


def cross_scope(
    query: Tensor, source: Tensor, num_heads: int, padding_mask: Tensor = None, attention_mask: Tensor = None
) -> Scope:
    """The `Scope` of attention from `query [R, T, D]` to `source`: `[B, S, D']`, or a projected pair `[B, K, S, H]`.

    `padding_mask`, bool `[B, S]`, is True where a token of the source is real; by default the Keras mask attached to
    the source.
    """
    padding_mask = masks.attached(source) if padding_mask is None else padding_mask
    projected = isinstance(source, (tuple, list))
    sentences, length = (source[0].shape[0], source[0].shape[2]) if projected else source.shape[:2]
    rows, query_length, _ = query.shape
    if None not in (rows, sentences) and rows != sentences:
        if not projected or not sentences or rows % sentences:
            raise ValueError(
                f"Expected as many queries as sources, got {rows} and {sentences}. A batch's rows belong together; "
                "several rows may share a source that `project_source` has projected."
            )
        query_length = query_length and query_length * (rows // sentences)  # the length after `fold_rows`
    shape = (sentences, num_heads, query_length, length)
    return Scope(masks.both(masks.padding(padding_mask, shape), masks.explicit(attention_mask, shape)))


def positions_of(length: Tensor, offset: Tensor = 0) -> Tensor:
    """Positions `[1, length]`, int32, beginning at `offset`."""
    return ops.expand_dims(ops.arange(length, dtype="int32") + offset, 0)
