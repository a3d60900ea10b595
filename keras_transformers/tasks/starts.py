"""The cache and prompts at the start of generation, in few shapes on backends that compile each shape.

Legend: `B` prompts, `R` rows, filled up with copies of the first prompt, `S` source length, `T` prompt length.
"""

import collections.abc
import typing

import keras
import numpy as np

from keras_transformers.backends import execution
from keras_transformers.generation import executors
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.layers.cache import Cache
from keras_transformers.models.sizes import SMALLEST_ROOM, bucket, power_of_two
from keras_transformers.tokenizers.packing import pack

Rows = collections.abc.Sequence[list[int]]


def filled(rows: int, most: int) -> int:
    """The number of rows to fill a batch of `rows` prompts up to, at most `most`, on backends that compile each
    shape."""
    return rows if execution.SHAPES_MAY_VARY else min(power_of_two(rows), max(most, rows))


def start_sources(
    model: typing.Any, sources: Rows, config: GenerationConfig, most: int, prefixes: Rows | None = None
) -> tuple[Cache, np.ndarray, np.ndarray]:
    """The start of a decoder after its encoder has read sources.

    Args:
        model: a `Seq2SeqLM`.
        sources: the ids of each source.
        config: a `GenerationConfig`.
        most: the most rows to fill up to.
        prefixes: the ids that each result begins with, all of one length, or None.

    Returns: the cache, the prompts, int32 `[R, T]`, and the sources, int32 `[R, S]`, -1 for padding.

    Raises:
        TypeError, ValueError: for an empty source, padding in a source, values that are not ids, and ids out of range.
    """
    if not all(map(len, sources)):
        raise ValueError("Expected at least one token in each source, its end token, got an empty source.")
    token_ids = pack(sources, padding_id=model.config.padding_id).token_ids
    rows, length = token_ids.shape
    model._check_ids("sources", token_ids, "embeddings")
    if not execution.SHAPES_MAY_VARY:
        rows, longest = filled(rows, most), model._longest("embeddings")
        # A source that is too long is not cut here: the embeddings refuse it.
        width = bucket(length) if longest is None else max(min(bucket(length), longest), length)
        token_ids = np.pad(token_ids, ((0, 0), (0, width - length)), constant_values=model.config.padding_id)
        token_ids = np.concatenate([token_ids, np.repeat(token_ids[:1], rows - len(token_ids), axis=0)])
    cache = executors.prefill(model, model._read, keras.ops.convert_to_tensor(token_ids, "int32"), None)
    read = np.where(token_ids == model.config.padding_id, -1, token_ids)
    prompts = np.full((rows, 1), config.start_id, "int32")
    if prefixes:
        rest = np.array([*prefixes, *prefixes[:1] * (rows - len(prefixes))], "int32")
        prompts = np.concatenate([prompts, rest.reshape(rows, -1)], axis=1)
    return cache, prompts, read


def start_prompts(model: typing.Any, prompts: Rows, config: GenerationConfig) -> tuple[Cache, np.ndarray]:
    """The start of a decoder without an encoder: an empty cache, and the prompts as one array, int32 `[B, T]`, padded
    on the left.

    Raises:
        ValueError: for an empty prompt, and ids out of range.
    """
    if not all(map(len, prompts)):
        raise ValueError("Expected at least one token in each prompt, got an empty one. Begin with something.")
    length = max(map(len, prompts))
    token_ids = np.full((len(prompts), length), config.padding_id, "int32")
    for row, prompt in zip(token_ids, prompts, strict=True):
        row[length - len(prompt) :] = prompt
    model._check_ids("prompts", token_ids, "embeddings")
    padding = np.array([[length - len(prompt)] for prompt in prompts], "int32")
    starts = keras.ops.convert_to_tensor(padding) if padding.any() else None
    return model.backbone.start_cache(len(prompts), SMALLEST_ROOM, starts=starts), token_ids
