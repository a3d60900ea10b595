"""What a configuration may ask for: no more than its weights' files hold. Compared before anything is built.

    config.json      100,000 layers, 10⁸ positions, 10⁷ classes      a few hundred bytes that ask for gigabytes
    headers          197 tensors of 109 million numbers              bounded by the length of the files

A model is built of what the headers hold. Three things need comparing before: how many blocks there are to build, how
large each part may be, and the tables that no file holds, such as sines and cosines. Every weight's own shape is
compared after that, before it has memory (`weights.assign`).
"""

import collections.abc
import dataclasses
import math
import typing

from keras_transformers.layers.positions import Sinusoidal
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import is_record

# Bytes that tables and new heads may have however small the weights are.
_FREE = 64 * 2**20
# Fields of records that count the rows or columns of some weight.
_SIZES = frozenset(
    (
        *("vocabulary_size", "embedding_dim", "num_segments", "hidden_dim", "output_dim", "intermediate_dim"),
        *("num_heads", "num_key_value_heads", "head_dim", "num_experts", "num_buckets"),
    )
)


def check(config: ModelConfig, tensors: collections.abc.Mapping[str, typing.Any], where: object) -> None:
    """Compare what a configuration asks for with what tensors hold.

    Args:
        config: of the model that is to be built.
        tensors: by any names; `tensors.shape(name)` tells a shape without reading.
        where: what to call them in the message.

    Raises:
        ValueError: listing all that is larger. Nothing has been built.
    """
    held = numbers_in(tensors)
    problems = [
        f"{name}={value:,}" for name, value in _named(config) if name in _SIZES and type(value) is int and value > held
    ]
    for name in ("encoder", "decoder"):
        stack = getattr(config, name)
        blocks = 0 if stack is None else stack.num_distinct or stack.num_layers
        if blocks > len(tensors):
            problems.append(f"{blocks:,} blocks of the {name}")
    for embeddings in {config.embeddings, config.target_embeddings}:
        table = embeddings.positions
        if table is None:
            continue
        size = table.max_length * config.hidden_dim
        limit = max(4 * held, _FREE) // 4 if isinstance(table, Sinusoidal) else held
        if size > limit:
            problems.append(f"{table.max_length:,} positions of {config.hidden_dim:,} numbers")
    if problems:
        raise ValueError(
            f"Expected a configuration of what {where} holds, {len(tensors):,} tensors of {held:,} numbers in all, got "
            f"one that asks for {'; '.join(dict.fromkeys(problems))}. Nothing was built. Download or save it again."
        )


def check_weights(
    shapes: collections.abc.Mapping[str, tuple[int, ...]],
    new: collections.abc.Iterable[str],
    tensors: collections.abc.Mapping[str, typing.Any],
    where: object,
) -> None:
    """Compare the shapes of a model whose weights have no memory yet with what tensors hold.

    Args:
        shapes: of its weights, by name.
        new: the names of those that begin anew, as no file holds them.
        tensors, where: as for `check`.

    Raises:
        ValueError: the weights are more than four times as many numbers (two quantized weights may share one), or the
            new ones are out of proportion to them.
    """
    held, new = numbers_in(tensors), set(new)
    asked = sum(math.prod(shape) for name, shape in shapes.items() if name not in new)
    begun = sum(math.prod(shapes[name]) for name in new)
    if asked > 4 * held or 4 * begun > max(4 * held, _FREE):
        raise ValueError(
            f"Expected a configuration of what {where} holds, {held:,} numbers, got one that asks for {asked:,} of "
            f"them and {begun:,} new ones. Nothing was loaded. Download or save it again, or name the classes with "
            "labels=."
        )


def numbers_in(tensors: collections.abc.Mapping[str, typing.Any]) -> int:
    """How many numbers tensors hold, by their headers."""
    shape_of = getattr(tensors, "shape", None) or (lambda name: tensors[name].shape)
    return sum(math.prod(shape_of(name)) for name in tensors)


def _named(record):
    """`(name, value)` of all fields of a record, and of those within it."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        yield field.name, value
        for each in value if isinstance(value, tuple) else (value,):
            if is_record(each):
                yield from _named(each)
