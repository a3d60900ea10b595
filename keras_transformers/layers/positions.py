"""Position encodings: a record and a function for each scheme.

`Learned` and `Sinusoidal` are added to the embeddings. `Rotary` rotates queries and keys. `Alibi` and `RelativeBuckets`
are biases on the attention scores. `Disentangled` compares contents with positions (`disentangled.py`), and so does
`RelativeSinusoids` (`relative_sinusoids.py`).

Legend: `B` batch, `N` query heads, `T` query length, `S` key length, `D` model width, `H` head width, `R` rotated
width.
"""

import math
import typing

import keras
import numpy as np
from keras import ops

from keras_transformers.backends import arrays
from keras_transformers.backends.types import Shape, Tensor
from keras_transformers.layers.disentangled import Disentangled, DistanceVectors
from keras_transformers.layers.layer import Layer
from keras_transformers.layers.relative_sinusoids import RelativeSinusoids
from keras_transformers.layers.rotary_scaling import RotaryScaling, plain_frequencies
from keras_transformers.records import Count, Range, Size, record


@record
class Learned:
    """One trained vector for each of `max_length` positions (Gehring et al. 2017; BERT; GPT).

    `offset`: the number of rows of the table before the first position (BART has 2).
    `skip_padding`: whether to count only real tokens; padding then gets the last row before the first position
        (RoBERTa).
    """

    max_length: Size
    offset: Count = 0
    skip_padding: bool = False

    def __post_init__(self) -> None:
        _check_padding_row(self)


def _check_padding_row(positions: "AbsolutePositions") -> None:
    if positions.skip_padding and not positions.offset:
        raise ValueError("Expected offset of at least 1 with skip_padding=True: padding needs a row of its own.")


def _check_layout(layout: str) -> None:
    if layout not in ("interleaved", "halves"):
        raise ValueError(f'Expected `layout` to be "interleaved" or "halves", got {layout!r}.')


@record
class Sinusoidal:
    """Fixed sines and cosines with geometrically growing wavelengths (Vaswani et al. 2017, section 3.5).

    `layout`: "interleaved" (sine and cosine side by side, as in the paper) or "halves" (all sines, then all cosines, as
        in Marian).
    `endpoint`: whether the last wavelength is 10,000 times the first, as in tensor2tensor and fairseq (M2M100); in the
        paper the wavelength after the last would be.
    `offset`, `skip_padding`: as for `Learned`, but skipped padding gets zeros.
    """

    max_length: Size
    layout: str = "interleaved"
    endpoint: bool = False
    offset: Count = 0
    skip_padding: bool = False

    def __post_init__(self) -> None:
        _check_layout(self.layout)
        _check_padding_row(self)


@record
class Rotary:
    """Rotary position embeddings, RoPE (Su et al. 2021): pairs of channels rotated by an angle that grows with the
    position.

    `fraction`: the share of the head width that is rotated.
    `layout`: the two channels of a pair lie half the rotated width apart ("halves", as in GPT-NeoX) or side by side
        ("interleaved", as in the paper and GPT-J).
    `scaling`: a record for texts longer than those of the first training.
    `values`: whether values are rotated too (RoFormer).
    """

    base: typing.Annotated[float, Range(1, above=True)] = 10000.0
    fraction: typing.Annotated[float, Range(0, 1, above=True)] = 1.0
    layout: str = "halves"
    scaling: RotaryScaling | None = None
    values: bool = False

    def __post_init__(self) -> None:
        _check_layout(self.layout)


@record
class Alibi:
    """Attention with linear biases (Press et al. 2022): scores fall with distance, by a fixed slope for each head.

    `rounded`: as Falcon was trained. Scores then grow with the position of the key, which is the same for the softmax
    except for their rounding to bfloat16. The growth is scaled like the scores.
    """

    rounded: bool = False


@record
class RelativeBuckets:
    """A trained bias for each head and bucket of relative distance (Raffel et al. 2020, T5). All layers of a stack
    share it; with `by_layer` each has its own (UMT5)."""

    num_buckets: Size = 32
    max_distance: Size = 128
    by_layer: bool = False

    def __post_init__(self) -> None:
        if self.num_buckets < 4 or self.num_buckets % 2 or self.max_distance <= self.num_buckets // 2:
            raise ValueError(
                "Expected an even num_buckets of at least 4 and a max_distance above its half, got "
                f"num_buckets={self.num_buckets}, max_distance={self.max_distance}."
            )


AbsolutePositions = Learned | Sinusoidal
RelativePositions = Rotary | Alibi | RelativeBuckets | Disentangled | RelativeSinusoids


def sinusoids(max_length: int, hidden_dim: int, layout: str = "interleaved", endpoint: bool = False) -> np.ndarray:
    """The sines and cosines of `Sinusoidal`: `[max_length, hidden_dim]`, float32, computed in float64.

    Raises:
        ValueError: for an odd `hidden_dim` or an unknown `layout`.

    Source: Vaswani et al. 2017, section 3.5.
    """
    if hidden_dim % 2:
        raise ValueError(
            f"Sinusoidal positions pair sines with cosines: expected an even `hidden_dim`, got {hidden_dim}."
        )
    _check_layout(layout)
    half = hidden_dim // 2
    frequency = 10000.0 ** (-np.arange(half) / (max(half - 1, 1) if endpoint else half))
    angles = np.arange(max_length)[:, None] * frequency
    pair = (np.sin(angles), np.cos(angles))
    table = np.stack(pair, -1).reshape(max_length, hidden_dim) if layout == "interleaved" else np.concatenate(pair, -1)
    return table.astype("float32")


def rotary_angles(rotary: Rotary, positions: Tensor, head_dim: int) -> Tensor:
    """Cosines and sines for `rotate`: one float32 tensor `[2, B|1, 1, T, R/2]` from `[B|1, T]` positions."""
    width = int(head_dim * rotary.fraction)
    if width % 2:
        raise ValueError(f"Expected to turn an even number of channels, got {width} of {head_dim} in {rotary}.")
    positions = ops.cast(positions, "float32")
    if rotary.scaling is None:
        frequency, factor = plain_frequencies(rotary.base, width), 1.0
    else:
        frequency, factor = rotary.scaling.frequencies(rotary.base, width, positions)
    positions = positions[:, None, :, None]
    if isinstance(frequency, np.ndarray):
        frequency = arrays.constant(frequency, positions)
    angles = positions * frequency
    rotation = ops.stack([ops.cos(angles), ops.sin(angles)])
    return rotation if factor == 1 else rotation * factor


def rotate(x_BNTH: Tensor, angles: Tensor, layout: str = "halves") -> Tensor:
    """Rotate the first `R` channels of `x` by `angles` (`rotary_angles`); the others stay unchanged."""
    angles = angles if angles.dtype == x_BNTH.dtype else ops.cast(angles, x_BNTH.dtype)
    cos, sin = angles[0], angles[1]
    half = cos.shape[-1]
    if layout == "interleaved":
        first, second, rest = x_BNTH[..., : 2 * half : 2], x_BNTH[..., 1 : 2 * half : 2], x_BNTH[..., 2 * half :]
        pair = ops.stack([first * cos - second * sin, second * cos + first * sin], axis=-1)
        return ops.concatenate([ops.reshape(pair, (*ops.shape(first)[:-1], 2 * half)), rest], axis=-1)
    first, second, rest = x_BNTH[..., :half], x_BNTH[..., half : 2 * half], x_BNTH[..., 2 * half :]
    return arrays.side_by_side([first * cos - second * sin, second * cos + first * sin, rest])


def alibi_slopes(num_heads: int) -> np.ndarray:
    """The slope of each head, `[N]` float32: a geometric sequence, interpolated if `num_heads` is not a power of two.

    Source: Press et al. 2022, section 3, and the authors' code for other numbers of heads.
    """
    power = 2 ** math.floor(math.log2(num_heads))
    slopes = 2.0 ** (-8.0 / power * np.arange(1, power + 1))
    between = 2.0 ** (-4.0 / power * np.arange(1, 2 * (num_heads - power), 2))
    return np.concatenate([slopes, between]).astype("float32")


def _rounded(x: Tensor) -> Tensor:
    """Round float32 numbers to the 8 binary digits of bfloat16, by arithmetic (Dekker 1971, section 5). A compiler
    would remove a cast to bfloat16 and back."""
    scaled = x * (2.0**16 + 1.0)
    return scaled - (scaled - x)


def relative_buckets(distance: Tensor, num_buckets: int, max_distance: int, bidirectional: bool) -> Tensor:
    """The bucket of each distance `key position - query position`, int32 of the same shape.

    Half of the buckets hold one distance each; the other half grow logarithmically up to `max_distance`. With
    `bidirectional` the two directions share the buckets; otherwise keys after the query count as distance zero.

    Source: Raffel et al. 2020, section 2.1, and mesh-tensorflow's `_relative_position_bucket`.
    """
    offset = 0
    if bidirectional:
        num_buckets //= 2
        offset = ops.cast(distance > 0, "int32") * num_buckets
        distance = ops.abs(distance)
    else:
        distance = -ops.minimum(distance, 0)
    exact = num_buckets // 2
    ratio = ops.log(ops.cast(ops.maximum(distance, 1), "float32") / exact) / math.log(max_distance / exact)
    far = ops.minimum(exact + ops.cast(ratio * (num_buckets - exact), "int32"), num_buckets - 1)
    return offset + ops.where(distance < exact, distance, far)


@keras.saving.register_keras_serializable("keras_transformers")
class RelativePosition(Layer):
    """Relative positions for attention: a bias on its scores, or angles that rotate queries and keys.

    Args:
        positions: a `Rotary`, `Alibi` or `RelativeBuckets` record, or None for nothing.
        num_heads: query heads.
        head_dim: width of a head.
        causal: whether later keys are hidden from queries (`RelativeBuckets` then uses all buckets for earlier keys).

    Call arguments: int32 query positions `[B|1, T]`; key positions `[B|1, S]`; optionally `starts`, `[B, 1]` or
    `[B, T]`, the positions where the texts begin, from which positions are counted (`S = T` if a row holds several
    texts).

    Returns: `(bias, angles)`: a float32 bias `[B|1, N, T|1, S]` or None, and cosines and sines for `rotate`, or None.
    """

    def __init__(
        self,
        positions: Rotary | Alibi | RelativeBuckets | None,
        num_heads: int,
        head_dim: int,
        causal: bool = False,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.positions = positions
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.causal = causal

    def build(self, *shapes: Shape) -> None:
        if isinstance(self.positions, RelativeBuckets):
            self.embeddings = self.add_weight(
                name="embeddings",
                shape=(self.positions.num_buckets, self.num_heads),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
            )

    def compute_output_spec(
        self, query_positions: Tensor, key_positions: Tensor, starts: Tensor = None
    ) -> tuple[keras.KerasTensor | None, keras.KerasTensor | None]:
        rows, length = query_positions.shape if starts is None else starts.shape[:1] + query_positions.shape[1:]
        if isinstance(self.positions, Rotary):
            width = int(self.head_dim * self.positions.fraction) // 2
            return None, keras.KerasTensor((2, rows, 1, length, width), dtype="float32")
        if self.positions is None:
            return None, None
        if getattr(self.positions, "rounded", False):
            length = 1  # the bias depends only on the position of the key
        else:
            rows = query_positions.shape[0]
        return keras.KerasTensor((rows, self.num_heads, length, key_positions.shape[1]), dtype="float32"), None

    def call(self, query_positions: Tensor, key_positions: Tensor, starts: Tensor = None) -> tuple[Tensor, Tensor]:
        if isinstance(self.positions, Rotary):
            positions = query_positions if starts is None else ops.maximum(query_positions - starts, 0)
            return None, rotary_angles(self.positions, positions, self.head_dim)
        if self.positions is None:
            return None, None
        distance = key_positions[:, None, :] - query_positions[:, :, None]
        if isinstance(self.positions, Alibi):
            slopes = arrays.constant(alibi_slopes(self.num_heads)[None, :, None, None], distance)
            if self.positions.rounded:
                if starts is not None:
                    key_positions = ops.maximum(key_positions - starts, 0)
                growth = _rounded(slopes) * _rounded(ops.cast(key_positions, "float32")[:, None, None])
                return _rounded(growth) * self.head_dim**-0.5, None
            return -ops.cast(ops.abs(distance), "float32")[:, None] * slopes, None
        buckets = relative_buckets(distance, self.positions.num_buckets, self.positions.max_distance, not self.causal)
        bias = ops.take(ops.cast(self.embeddings, "float32"), buckets, axis=0)
        return ops.transpose(bias, (0, 3, 1, 2)), None


def relative_layer(
    positions: RelativePositions | None,
    *,
    num_heads: int,
    head_dim: int,
    hidden_dim: int,
    causal: bool,
    **kwargs: typing.Any,
) -> RelativePosition | DistanceVectors | None:
    """The built layer of a record of positions; None for `Disentangled` without a table, and
    for `RelativeSinusoids`, of which each attention has its own. `kwargs` go to the layer."""
    layer: typing.Any
    if isinstance(positions, Disentangled):
        layer = None if positions.table is None else DistanceVectors(positions.table, hidden_dim, **kwargs)
    elif isinstance(positions, RelativeSinusoids):
        layer = None
    else:
        layer = RelativePosition(positions, num_heads, head_dim, causal, **kwargs)
    if layer is not None:
        layer.build()
    return layer
