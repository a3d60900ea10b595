"""Vectors in fewer bits: 8-bit integers, or one bit for each number.

    float32    4 D bytes      0.31 -0.12 …
    int8       D bytes        each number's place between the least and the largest of its column, in 255 steps
    ubinary    D / 8 bytes    whether each number is above 0, eight to a byte

Legend: `N` vectors, `D` width.

Source: `quantize_embeddings` of sentence-transformers, https://github.com/huggingface/sentence-transformers
"""

import typing
import warnings
from collections.abc import Sequence

import numpy as np

from keras_transformers.callers import outside
from keras_transformers.spelling import did_you_mean

_ENOUGH = 100  # vectors to take ranges from


class _Form(typing.NamedTuple):
    """How the numbers of a precision are stored: the dtype, and how many numbers share a byte."""

    dtype: str
    per_byte: int

    def stored(self, numbers: np.ndarray) -> np.ndarray:
        """Return numbers from 0 to 255 in the dtype; int8 holds them less 128."""
        return numbers.astype("uint8") if self.dtype == "uint8" else (numbers.astype("int16") - 128).astype("int8")


_FORMS = {
    "int8": _Form("int8", 1),
    "uint8": _Form("uint8", 1),
    "binary": _Form("int8", 8),
    "ubinary": _Form("uint8", 8),
}
PRECISIONS = tuple(_FORMS)


def quantize_embeddings(
    vectors: typing.Any,
    precision: str = "int8",
    *,
    ranges: typing.Any = None,
    calibration: typing.Any = None,
) -> typing.Any:
    """Store vectors in 8 bits for each number, or in one.

    Args:
        vectors: floats `[N, D]` or `[D]`; or a list of `[T, D]`, one for each text, of a multi-vector model.
        precision: "int8" or "uint8"; "binary" or "ubinary" for one bit, packed into int8 (less 128) or uint8.
        ranges: for 8-bit integers, the least and the largest number of each column, `[2, D]`. Numbers outside are
            clipped. Queries and documents need the same ranges.
        calibration: instead, floats `[M, D]` from which the ranges are taken; by default from `vectors`.

    Returns: a numpy array `[N, D]`, or of bits `[N, ⌈D / 8⌉]`; a list of arrays for a list.

    Raises:
        TypeError: for vectors that are integers already.
        ValueError: for an unknown precision, another width, and a single vector without ranges.

    Example:
        >>> vectors = embedder.embed(texts)
        >>> ranges = np.stack([vectors.min(0), vectors.max(0)])
        >>> kt.quantize_embeddings(embedder.embed("A man rides."), "int8", ranges=ranges).dtype
        dtype('int8')
    """
    if precision not in _FORMS:
        raise ValueError(
            f"Expected precision to be one of {', '.join(PRECISIONS)}, got {precision!r}"
            f"{did_you_mean(precision, PRECISIONS)}."
        )
    form = _FORMS[precision]
    several = isinstance(vectors, Sequence) and any(np.ndim(each) == 2 for each in vectors)
    arrays = [_floats(each) for each in (vectors if several else [vectors])]
    if not several and arrays[0].size == 0:
        width = arrays[0].shape[-1] if arrays[0].ndim == 2 else 0
        return np.zeros((0, -(-width // form.per_byte)), form.dtype)
    if form.per_byte == 8:
        numbers = [np.packbits(each > 0, axis=-1) for each in arrays]
    else:
        least, largest = _ranges(arrays, ranges, calibration)
        numbers = [_in_steps(each, least, largest) for each in arrays]
    done = [form.stored(each) for each in numbers]
    return done if several else done[0]


def _floats(vectors: typing.Any) -> np.ndarray:
    array = np.asarray(vectors)
    if array.dtype.kind != "f":
        raise TypeError(f"Expected vectors of floats to quantize, got {array.dtype}.")
    return array


def _ranges(arrays: list[np.ndarray], ranges: typing.Any, calibration: typing.Any) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest number of each column, float32 `[D]` each."""
    width = arrays[0].shape[-1]
    if ranges is None:
        rows = np.concatenate([np.atleast_2d(each) for each in arrays]) if calibration is None else _floats(calibration)
        if calibration is None and len(rows) == 1:
            raise ValueError(
                "Expected ranges or calibration vectors to quantize a single vector, got none. Pass ranges=, the least "
                "and the largest number of each column of many vectors."
            )
        if calibration is None and len(rows) < _ENOUGH:
            warnings.warn(
                f"The ranges of {width} columns are taken from {len(rows)} vectors. Pass ranges= or calibration= of "
                f"{_ENOUGH} or more.",
                stacklevel=outside(),
            )
        ranges = np.stack([rows.min(axis=0), rows.max(axis=0)])
    ranges = np.asarray(ranges, "float32")
    if ranges.shape != (2, width):
        raise ValueError(f"Expected ranges of shape (2, {width}), as wide as the vectors, got {ranges.shape}.")
    return ranges[0], ranges[1]


def _in_steps(vectors: np.ndarray, least: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The place of each number between the least and the largest of its column, a float from 0 to 255."""
    steps = (largest - least) / 255
    steps = np.where(steps == 0, 1, steps)
    return np.clip(np.floor((vectors - least) / steps), 0, 255)
