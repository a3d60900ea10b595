"""Tensors of a file that a model computes for itself: positions, frequencies, masks. Old files store them.

…embed_positions.weight     sines and cosines; transformers computes with the file's: others are refused
…rotary_emb.inv_freq        frequencies     ┐
…embeddings.position_ids    0, 1, 2, …      │ transformers computes its own: others are said
…attn.bias                  a causal mask   ┘
"""

import collections.abc
import re

import numpy as np

from keras_transformers.layers.positions import Rotary, Sinusoidal, sinusoids
from keras_transformers.layers.rotary_scaling import plain_frequencies
from keras_transformers.models.config import ModelConfig

_TABLES = re.compile(r"(?:.*\.)?(encoder|decoder)\.embed_positions\.weight")
_FREQUENCIES = re.compile(r"(?:.*\.)?(?:layers|h)\.(\d+)\..*rotary_emb\.inv_freq")
_NUMBERS = re.compile(r"(?:.*\.)?position_ids")
_MASKS = re.compile(r"(?:.*\.)?h\.\d+\.attn\.bias")
# How far numbers are apart that are the same: by rounding, in float32 and in half precision.
_ROUNDING = {2: 1e-2}
_EXACT = 1e-5
# And sines of angles that another program rounded: the model's own are as good, but not to the last digit.
_NEAR = 1e-2


def check(config: ModelConfig, tensors: collections.abc.Mapping[str, np.ndarray], where: object) -> list[str]:
    """Compare what a file stores with what the model computes.

    Args:
        config: of the model.
        tensors: a mapping of names to arrays.
        where: what to call the file in messages.

    Returns: sentences about what a file says otherwise, and the model does not compute with.

    Raises:
        ValueError: for tables of positions that are not the model's.
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


def _difference(config, name, tensors):
    """How far a tensor is from what the model computes in its place, as a multiple of rounding; 0 if it is of another
    kind."""
    if not (expected := _expected(config, name, tensors)):
        return 0
    expected, scale = expected
    stored = np.asarray(tensors[name])
    if stored.shape != expected.shape:
        return np.inf
    rounding = _EXACT if stored.dtype.kind in "iub" else _ROUNDING.get(stored.dtype.itemsize, _EXACT)
    apart = np.abs(stored.astype("float64") - expected)
    return float((apart / (rounding * scale)).max(initial=0))


def _expected(config, name, tensors):
    """What the model computes in the place of a tensor, and how large the numbers are whose rounding counts; None for a
    tensor of another kind."""
    if match := _TABLES.fullmatch(name):
        embeddings = config.embeddings if match[1] == "encoder" else config.target_embeddings
        table = embeddings.positions
        if not isinstance(table, Sinusoidal) or table.offset:
            return None
        return sinusoids(table.max_length, config.hidden_dim, table.layout, table.endpoint), 1.0
    if match := _FREQUENCIES.fullmatch(name):
        attentions = (config.decoder or config.encoder).attentions
        attention = attentions[min(int(match[1]), len(attentions) - 1)]
        rotary = attention.positions
        if not isinstance(rotary, Rotary) or rotary.scaling is not None:
            return None
        width = attention.head_dim or config.hidden_dim // attention.num_heads
        frequencies = plain_frequencies(rotary.base, int(width * rotary.fraction))
        return frequencies, frequencies + 1e-4
    shape = tuple(tensors.shape(name) if hasattr(tensors, "shape") else tensors[name].shape)
    if _NUMBERS.fullmatch(name) and shape and np.prod(shape) == shape[-1]:
        return np.arange(shape[-1]).reshape(shape), 1.0
    if _MASKS.fullmatch(name) and len(shape) > 1 and np.prod(shape) == np.prod(shape[-2:]):
        return np.tril(np.ones(shape[-2:])).reshape(shape), 1.0
    return None
