"""Limits on the model that a configuration asks for: no more than its weight files hold, checked before building.

    config.json      100,000 layers, 10⁸ positions, 10⁷ classes      a few hundred bytes that ask for gigabytes
    headers          197 tensors of 109 million numbers              bounded by the length of the files

Before a model is built, three quantities are compared with the headers: the number of blocks, the size of each part,
and the tables that no file holds, such as sines and cosines. The shape of each weight is compared later, before the
weight is allocated (`weights.assign`).
"""

import collections.abc
import dataclasses
import math
import typing

from keras_transformers.layers.positions import Sinusoidal
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import is_record

# Bytes that tables and new heads may always have, however small the weights are.
_FREE = 64 * 2**20
# Fields of records that are the number of rows or columns of a weight.
_SIZES = frozenset(
    (
        *("vocabulary_size", "embedding_dim", "num_segments", "num_tasks", "hidden_dim", "output_dim"),
        *("intermediate_dim", "num_heads", "num_key_value_heads", "head_dim", "num_experts", "num_buckets"),
    )
)


def check(config: ModelConfig, tensors: collections.abc.Mapping[str, typing.Any], where: object) -> None:
    """Compare the sizes in a configuration with the sizes of tensors.

    Args:
        config: the configuration of the model to be built.
        tensors: tensors by any names; `tensors.shape(name)` returns a shape without reading.
        where: the name of the tensors' source in messages.

    Raises:
        ValueError: listing all that is too large. Nothing has been built.
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
            f"Expected a configuration of the content of {where}, {len(tensors):,} tensors of {held:,} numbers in all, "
            f"got one that asks for {'; '.join(dict.fromkeys(problems))}. Nothing was built. Download or save it again."
        )


def check_weights(
    shapes: collections.abc.Mapping[str, tuple[int, ...]],
    new: collections.abc.Iterable[str],
    tensors: collections.abc.Mapping[str, typing.Any],
    where: object,
) -> None:
    """Compare the weight shapes of a model, before its weights are allocated, with the sizes of tensors.

    Args:
        shapes: the shapes of the model's weights, by name.
        new: the names of newly initialised weights, which no file holds.
        tensors, where: as for `check`.

    Raises:
        ValueError: if the weights have more than four times as many numbers as the tensors (two quantized weights may
            share a number), or the new weights are out of proportion to the tensors.
    """
    held, new = numbers_in(tensors), set(new)
    asked = sum(math.prod(shape) for name, shape in shapes.items() if name not in new)
    added = sum(math.prod(shapes[name]) for name in new)
    if asked > 4 * held or 4 * added > max(4 * held, _FREE):
        raise ValueError(
            f"Expected a configuration of the content of {where}, {held:,} numbers, got one that asks for {asked:,} of "
            f"them and {added:,} new ones. Nothing was loaded. Download or save it again, or name the classes with "
            "labels=."
        )


def numbers_in(tensors: collections.abc.Mapping[str, typing.Any]) -> int:
    """Count the numbers in tensors, by their headers."""
    shape_of = getattr(tensors, "shape", None) or (lambda name: tensors[name].shape)
    return sum(math.prod(shape_of(name)) for name in tensors)


def _named(record: typing.Any) -> collections.abc.Iterator[tuple[str, typing.Any]]:
    """Yield `(name, value)` for all fields of a record and of the records in it."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        yield field.name, value
        for each in value if isinstance(value, tuple) else (value,):
            if is_record(each):
                yield from _named(each)
