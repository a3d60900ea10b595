"""RoPE scaling, for longer texts than those of the first training: a record for each scheme, with one method.

    LinearScaling    all frequencies lower
    NtkScaling       a larger base, and all frequencies lower
    AlphaScaling     a larger base, by the power of a factor
    DynamicScaling   a larger base for longer texts
    Llama3Scaling    low frequencies lower, high ones unchanged, a ramp between
    YarnScaling      the same with another ramp, and larger scores
    LongScaling      a divisor for each frequency, from one set for long texts and one for short, and larger scores

`frequencies(base, width, positions)` returns one frequency for each pair of channels, `[R/2]` float32, and the factor
of cosines and sines. Angles far into a text depend on the last bit of a frequency: so each rounding to float32 happens
at the same step as in the code of the published models.

Legend: `R` rotated width.
"""

import math

import numpy as np
from keras import ops

from keras_transformers.backends import arrays
from keras_transformers.backends.types import Tensor
from keras_transformers.records import Positive, Size, record


def plain_frequencies(base: float, width: int) -> np.ndarray:
    """`base ** (-2i / width)` for pair `i`: `[R/2]` float32, rounded three times, as in all published code."""
    return np.float32(1) / (base ** _exponents(width).astype("float64")).astype("float32")


def _exponents(width: int) -> np.ndarray:
    return np.arange(0, width, 2, dtype="float32") / np.float32(width)


def _length(positions: Tensor) -> Tensor:
    """The length of the longest text with positions `[B|1, T]`: a float32 scalar."""
    return ops.cast(arrays.maximum(positions) + 1, "float32")


def _check(factor: float, length: int = 1) -> None:
    if factor < 1 or length < 1:
        raise ValueError(f"Expected a factor and an original length of at least 1, got {factor} and {length}.")


@record
class LinearScaling:
    """Frequencies divided by `factor` (Chen et al. 2023)."""

    factor: float

    def __post_init__(self) -> None:
        _check(self.factor)

    def frequencies(self, base: float, width: int, positions: Tensor) -> tuple[Tensor, float]:
        return plain_frequencies(base, width) / np.float32(self.factor), 1.0


@record
class NtkScaling:
    """A base `factor` times as large, and frequencies divided by `factor ** (2 / width)` ("NTK-aware": Su 2023,
    https://kexue.fm/archives/9706; gte-multilingual)."""

    factor: float

    def __post_init__(self) -> None:
        _check(self.factor)

    def frequencies(self, base: float, width: int, positions: Tensor) -> tuple[Tensor, float]:
        return plain_frequencies(base * self.factor, width) / np.float32(self.factor ** (2 / width)), 1.0


@record
class AlphaScaling:
    """A base `alpha ** (width / (width - 2))` times as large, for texts of any length (Hunyuan)."""

    alpha: float

    def __post_init__(self) -> None:
        _check(self.alpha)

    def frequencies(self, base: float, width: int, positions: Tensor) -> tuple[Tensor, float]:
        if width < 4:
            raise ValueError(f"Expected a rotated width of at least 4 with AlphaScaling, got {width}.")
        return plain_frequencies(base * self.alpha ** (width / (width - 2)), width), 1.0


@record
class DynamicScaling:
    """A base that grows with the length of texts longer than `original_length`, by `factor` ("dynamic NTK"). The angles
    of a token depend on the length of the text when it is read: cached keys keep theirs."""

    factor: float
    original_length: Size

    def __post_init__(self) -> None:
        _check(self.factor, self.original_length)

    def frequencies(self, base: float, width: int, positions: Tensor) -> tuple[Tensor, float]:
        if width < 4:
            raise ValueError(f"Expected to turn at least 4 channels with {type(self).__name__}, got {width}.")
        length = ops.maximum(_length(positions), float(self.original_length))
        growth = self.factor * length / self.original_length - (self.factor - 1)
        grown = base * ops.power(growth, width / (width - 2))
        return 1.0 / ops.power(grown, arrays.constant(_exponents(width), length)), 1.0


@record
class Llama3Scaling:
    """Frequencies scaled by how often they turn in `original_length` positions (Llama 3.1): those below
    `low_frequency_factor` turns are divided by `factor`, those above `high_frequency_factor` turns stay unchanged, with
    a linear ramp between."""

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_length: Size

    def __post_init__(self) -> None:
        _check(self.factor, self.original_length)
        if not 0 < self.low_frequency_factor < self.high_frequency_factor:
            raise ValueError(
                "Expected 0 < low_frequency_factor < high_frequency_factor, got "
                f"{self.low_frequency_factor} and {self.high_frequency_factor}."
            )

    def frequencies(self, base: float, width: int, positions: Tensor) -> tuple[Tensor, float]:
        plain = plain_frequencies(base, width)
        wavelength = np.float32(2 * math.pi) / plain
        low, high = self.low_frequency_factor, self.high_frequency_factor
        share = (np.float32(self.original_length) / wavelength - np.float32(low)) / np.float32(high - low)
        divided = plain / np.float32(self.factor)
        between = (1 - share) * plain / np.float32(self.factor) + share * plain
        is_low, is_high = wavelength > self.original_length / low, wavelength < self.original_length / high
        return np.where(is_low, divided, np.where(is_high, plain, between)), 1.0


@record
class YarnScaling:
    """Frequencies that are unchanged or divided by `factor`, with a ramp over the channels between (YaRN: Peng et al.
    2023).

    `fast`, `slow`: how often a pair of channels turns in `original_length` positions at the two ends of the ramp.
    `truncate`: whether the ends of the ramp are rounded to whole channels.
    `attention_factor`: the factor of cosines and sines; None for `0.1 ln(factor) + 1`.
    """

    factor: float
    original_length: Size
    attention_factor: Positive | None = None
    fast: Positive = 32.0
    slow: Positive = 1.0
    truncate: bool = True

    def __post_init__(self) -> None:
        _check(self.factor, self.original_length)

    def frequencies(self, base: float, width: int, positions: Tensor) -> tuple[Tensor, float]:
        def channel(turns: float) -> float:
            return width * math.log(self.original_length / (turns * 2 * math.pi)) / (2 * math.log(base))

        first, last = channel(self.fast), channel(self.slow)
        if self.truncate:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, width - 1)
        if first == last:
            last += 0.001
        ramp = (np.arange(width // 2, dtype="float32") - np.float32(first)) / np.float32(last - first)
        kept = 1 - np.clip(ramp, 0, 1)
        wavelengths = (base ** _exponents(width).astype("float64")).astype("float32")
        divided = np.float32(1) / (np.float32(self.factor) * wavelengths)
        scaled = divided * (1 - kept) + np.float32(1) / wavelengths * kept
        return scaled, _or(self.attention_factor, yarn_attention_factor(self.factor))


def yarn_attention_factor(factor: float, multiplier: float = 1.0) -> float:
    """The factor by which YaRN enlarges cosines and sines for texts that are `factor` times as long."""
    return 0.1 * multiplier * math.log(factor) + 1.0


@record
class LongScaling:
    """A divisor for each frequency: `long_factors` for texts longer than `original_length`, else `short_factors`
    (LongRoPE: Ding et al. 2024; Phi-3). Cached keys keep the angles with which they were read.

    `attention_factor`: the factor of cosines and sines; None for the formula of the paper for texts `factor` times as
    long.
    """

    short_factors: tuple[Positive, ...]
    long_factors: tuple[Positive, ...]
    factor: float
    original_length: Size
    attention_factor: Positive | None = None

    def __post_init__(self) -> None:
        _check(max(self.factor, 1.0), self.original_length)
        if len(self.short_factors) != len(self.long_factors):
            raise ValueError(
                "Expected as many short_factors as long_factors, got "
                f"{len(self.short_factors)} and {len(self.long_factors)}."
            )

    def frequencies(self, base: float, width: int, positions: Tensor) -> tuple[Tensor, float]:
        if len(self.short_factors) != width // 2:
            raise ValueError(
                f"Expected a factor for each of {width // 2} pairs of channels, got {len(self.short_factors)}."
            )
        wavelengths = (base ** _exponents(width).astype("float64")).astype("float32")
        short, long = (
            arrays.constant(np.float32(1) / (np.asarray(factors, "float32") * wavelengths), positions)
            for factors in (self.short_factors, self.long_factors)
        )
        grown = math.log(self.factor) / math.log(self.original_length) if self.factor > 1 else 0.0
        scaled = ops.where(_length(positions) > self.original_length, long, short)
        return scaled, _or(self.attention_factor, math.sqrt(1 + grown))


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


RotaryScaling = LinearScaling | NtkScaling | AlphaScaling | DynamicScaling | Llama3Scaling | YarnScaling | LongScaling
