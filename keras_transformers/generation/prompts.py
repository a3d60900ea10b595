"""Prompts of token ids: their checks, and how many tokens may follow them.

Legend: `B` prompts, `T` their length, `S` length of a source.
"""

import typing
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_transformers.generation.settings import NEW_TOKENS, GenerationConfig
from keras_transformers.layers.cache import Cache

Prompts: typing.TypeAlias = np.ndarray | Sequence[Sequence[int]]
"""Ids of prompts, `[B, T]`: a NumPy array, or nested lists of one length."""
Numbers: typing.TypeAlias = np.ndarray | Sequence[int]
"""The number of the random stream of each prompt, `[B]`."""


def checked_prompts(token_ids: Prompts, config: GenerationConfig, vocabulary_size: int | None) -> np.ndarray:
    """Prompts as an int32 array `[B, T]`. Refuses ids outside of the vocabulary, in prompts and in the config."""
    prompts = np.asarray(token_ids)
    if prompts.ndim != 2 or prompts.shape[1] < 1:
        raise ValueError(
            f"Expected prompts [B, T] with T at least 1, got shape {prompts.shape}. "
            "A single prompt is a batch of one: [[...]]."
        )
    if not np.issubdtype(prompts.dtype, np.integer):
        raise ValueError(
            f"Expected prompts of token ids, an int dtype, got {prompts.dtype}. Encode text with a tokenizer first."
        )
    end = np.iinfo("int32").max if vocabulary_size is None else vocabulary_size
    if prompts.size and (prompts.min() < 0 or prompts.max() >= end):
        raise ValueError(
            f"Expected token ids in [0, {end}), got ids from {prompts.min()} to {prompts.max()}. "
            "Does the tokenizer belong to the model?"
        )
    beyond = [token_id for token_id in (*config.end_ids, config.padding_id) if token_id >= end]
    if beyond:
        raise ValueError(
            f"Expected end_ids and padding_id in [0, {end}), got {beyond}. "
            "Does the generation config belong to the model?"
        )
    return prompts.astype("int32")


def limits(config: GenerationConfig, lengths: np.ndarray, longest: int | None = None) -> np.ndarray:
    """The most new tokens for prompts of these lengths, int NumPy `[B]`: int `[B]`.

    Raises:
        ValueError: for a prompt that leaves no room.
    """
    most, new = config.max_length, config.max_new_tokens
    if longest is not None and lengths.max() > longest:
        raise ValueError(
            f"Expected prompts of at most {longest} tokens, the longest this model has positions for, got "
            f"{lengths.max()}. Leave out the beginning, or ask for less."
        )
    if new is None and most is not None and lengths.max() >= most:
        raise ValueError(
            f"Expected prompts shorter than max_length={most}, got {lengths.max()} tokens. "
            "Raise max_length, or set max_new_tokens."
        )
    if new is None and most is not None:
        allowed = most - lengths
    else:
        allowed = np.full(len(lengths), NEW_TOKENS if new is None else new)
    # The last token needs no position, since nothing is computed from it.
    return allowed if longest is None else np.minimum(allowed, longest + 1 - lengths)


def without_padding(token_ids: np.ndarray, cache: Cache) -> np.ndarray:
    """Prompts with -1 in place of their padding."""
    if cache.starts is None:
        return token_ids
    places = np.arange(token_ids.shape[1])
    return np.where(places < ops.convert_to_numpy(cache.starts), -1, token_ids).astype("int32")


def checked_sources(sources: np.ndarray | None, config: GenerationConfig, rows: int) -> np.ndarray:
    """The ids that the encoder has read, int32 NumPy `[B, S]`, or `[B, 0]` if no setting needs them.

    Raises:
        ValueError: if a setting needs the ids and they are missing.
    """
    if not config.encoder_no_repeat_ngram_size:
        return np.zeros((rows, 0), "int32")
    if sources is None:
        raise ValueError(
            "Expected sources for encoder_no_repeat_ngram_size, got none: a decoder alone reads no source. Set it to 0."
        )
    return np.asarray(sources, "int32")


def alike(numbers: np.ndarray | Sequence[int]) -> list[np.ndarray]:
    """The indices of equal numbers, an int array for each number."""
    numbers = np.asarray(numbers)
    return [np.flatnonzero(numbers == each) for each in np.unique(numbers)]
