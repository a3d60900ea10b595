"""Tensors in old files that a model computes itself: positions, frequencies, masks.

…embed_positions.weight     sines and cosines; transformers uses those of the file: other values are refused
…rotary_emb.inv_freq        frequencies     ┐
…embeddings.position_ids    0, 1, 2, …      │ transformers computes its own: other values are reported
…attn.bias                  a causal mask   ┘
"""

import collections.abc
import re
import typing

import numpy as np

from keras_transformers.layers.positions import Rotary, Sinusoidal, sinusoids
from keras_transformers.layers.rotary_scaling import plain_frequencies
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models.config import ModelConfig

# A model's own values, and the magnitude that rounding is relative to; None for a tensor of another kind.
_Computed: typing.TypeAlias = tuple[np.ndarray, typing.Any] | None

_TABLES = re.compile(r"(?:.*\.)?(encoder|decoder)\.embed_positions\.weight")
_FREQUENCIES = re.compile(r"(?:.*\.)?(?:layers|h)\.(\d+)\..*rotary_emb\.inv_freq")
_NUMBERS = re.compile(r"(?:.*\.)?position_ids")
_MASKS = re.compile(r"(?:.*\.)?h\.\d+\.attn\.bias")
# Differences due to rounding, in float32 and in half precision.
_ROUNDING = {2: 1e-2}
_EXACT = 1e-5
# Differences of sines due to another program's rounding of the angles: the model's own are as good.
_NEAR = 1e-2


def check(config: ModelConfig, tensors: collections.abc.Mapping[str, np.ndarray], where: object) -> list[str]:
    """Compare stored tensors with the values that the model computes.

    Args:
        config: the model's configuration.
        tensors: a mapping of names to arrays.
        where: the file's name in messages.

    Returns: a sentence for each kind of stored tensor that differs and that the model does not use.

    Raises:
        ValueError: for position tables that differ from the model's.
    """
    others = {name: difference for name in tensors if (difference := _difference(config, name, tensors)) > 1}
    tables = {name: difference for name, difference in others.items() if _TABLES.fullmatch(name)}
    if any(difference > _NEAR / _EXACT for difference in tables.values()):
        raise ValueError(
            f"Expected sines and cosines as {' and '.join(tables)} in {where}, as this family computes them for its "
            "positions, got other numbers. Remove them from the file if they are not meant."
        )
    if not others:
        return []
    more = f" and {len(others) - 1} tensors like it" if len(others) > 1 else ""
    return [
        f"{where} stores other numbers as {next(iter(others))}{more} than its configuration describes. The model "
        "computes with its configuration" + ("." if tables else ", as in transformers 5.")
    ]


def _difference(config: ModelConfig, name: str, tensors: collections.abc.Mapping[str, typing.Any]) -> float:
    """Return the difference between a tensor and the model's own values, as a multiple of rounding; 0 if the tensor is
    of another kind."""
    if not (computed := _expected(config, name, tensors)):
        return 0
    expected, scale = computed
    stored = np.asarray(tensors[name])
    if stored.shape != expected.shape:
        return np.inf
    rounding = _EXACT if stored.dtype.kind in "iub" else _ROUNDING.get(stored.dtype.itemsize, _EXACT)
    apart = np.abs(stored.astype("float64") - expected)
    return float((apart / (rounding * scale)).max(initial=0))


def _expected(config: ModelConfig, name: str, tensors: collections.abc.Mapping[str, typing.Any]) -> _Computed:
    """Return the model's own values for a tensor and the magnitude that rounding is relative to; None for a tensor of
    another kind."""
    for pattern, compute in _COMPUTED.items():
        if match := pattern.fullmatch(name):
            shape = tensors.shape(name) if hasattr(tensors, "shape") else tensors[name].shape
            return compute(config, match, tuple(shape))
    return None


def _sines(config: ModelConfig, match: re.Match[str], shape: tuple[int, ...]) -> _Computed:
    embeddings = config.embeddings if match[1] == "encoder" else config.target_embeddings
    table = embeddings.positions
    if not isinstance(table, Sinusoidal) or table.offset:
        return None
    return sinusoids(table.max_length, config.hidden_dim, table.layout, table.endpoint), 1.0


def _frequencies(config: ModelConfig, match: re.Match[str], shape: tuple[int, ...]) -> _Computed:
    attentions = typing.cast(StackConfig, config.decoder or config.encoder).attentions
    attention = attentions[min(int(match[1]), len(attentions) - 1)]
    rotary = attention.positions
    if not isinstance(rotary, Rotary) or rotary.scaling is not None:
        return None
    width = attention.head_dim or config.hidden_dim // attention.num_heads
    frequencies = plain_frequencies(rotary.base, int(width * rotary.fraction))
    return frequencies, frequencies + 1e-4


def _numbers(config: ModelConfig, match: re.Match[str], shape: tuple[int, ...]) -> _Computed:
    is_row = shape and np.prod(shape) == shape[-1]
    return (np.arange(shape[-1]).reshape(shape), 1.0) if is_row else None


def _causal_mask(config: ModelConfig, match: re.Match[str], shape: tuple[int, ...]) -> _Computed:
    is_square = len(shape) > 1 and np.prod(shape) == np.prod(shape[-2:])
    return (np.tril(np.ones(shape[-2:])).reshape(shape), 1.0) if is_square else None


_COMPUTED = {_TABLES: _sines, _FREQUENCIES: _frequencies, _NUMBERS: _numbers, _MASKS: _causal_mask}
