"""Products with int8 weights on a processor: rounded inputs times rounded weights, by PyTorch's own kernels (FBGEMM).

    x [R, I] ─► least, width of each row ─► (x − least) / width, from 0 to 1 ─► rounded, times the weights [O, I]
    y [R, O] ◄─ · width + least · (sum of the weights of each output) + bias ◄───────────────┘

Every row thus becomes numbers from 0 to 1, so that one grid serves all of them, and the rounding of a text does not
depend on the texts beside it. The grid has 256 numbers. On a processor without VNNI it has 128: sums of products of
larger numbers would not fit in 16 bits. Where FBGEMM gains nothing, weights are multiplied as float32.
"""

import typing
import warnings
from collections.abc import Callable

import torch
from torch.nn import functional as F
from torch.utils.weak import WeakTensorKeyDictionary

from keras_transformers.backends.types import Tensor

# Weights of a matrix from which on rounded products were faster, for 1 to 128 rows (AMD EPYC, AVX2, one core).
LARGE = 2**18
_TINY = 1e-30  # in place of the width of a row of equal numbers


_PACKED = WeakTensorKeyDictionary()  # of tensors of int8 weights


class Packed(typing.NamedTuple):
    """Weights in the order of FBGEMM, and their sums `[O]`."""

    weights: typing.Any
    sums: Tensor


def product(narrow: Tensor, scale: Tensor, bias: Tensor | None, *, transposed: bool) -> Callable[[Tensor], Tensor]:
    """The product with a matrix, as a function of float32 `[..., I]` that returns float32 `[..., O]`.

    Args:
        narrow: int8 `[O, I]`, or `[I, O]` if `transposed`.
        scale: `[O]`; the weights are `narrow` divided by it.
        bias: `[O]`, or None.
    """
    offset = torch.zeros_like(scale) if bias is None else bias.float()
    if narrow.numel() < LARGE:
        weights = (narrow.t() if transposed else narrow) / scale[:, None]
        return lambda x: F.linear(x, weights, offset)
    weights, sums = _packed(narrow, scale, transposed)
    small_grid = not torch.cpu._is_vnni_supported()

    def multiply(x: Tensor) -> Tensor:
        least, most = torch.aminmax(x, dim=-1, keepdim=True)
        width = (most - least).clamp_min_(_TINY)
        y = torch.ops.quantized.linear_dynamic((x - least).div_(width), weights, reduce_range=small_grid)
        return torch.addcmul(torch.addcmul(offset, least, sums), y, width)

    return multiply


def _packed(narrow: Tensor, scale: Tensor, transposed: bool) -> Packed:
    """Pack weights once, and again after they are written."""
    versions = _version(narrow), _version(scale)
    then, packed = _PACKED.get(narrow, (None, None))
    if packed is None or then != versions:
        rows, step = (narrow.t() if transposed else narrow).contiguous(), 1 / scale.float()
        zeros = torch.zeros(len(step), dtype=torch.long)
        with warnings.catch_warnings():  # PyTorch may drop such tensors one day: see `supported`
            warnings.filterwarnings("ignore", ".*quantized tensor creation functions", UserWarning)
            weights = torch._make_per_channel_quantized_tensor(rows, step.double(), zeros, 0)
            prepacked = torch.ops.quantized.linear_prepack(weights, None)
        packed = Packed(prepacked, rows.sum(1, dtype=torch.int32) * step)
        _PACKED[narrow] = versions, packed
    return packed


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def supported(narrow: Tensor, dtype: torch.dtype) -> bool:
    """Whether this PyTorch multiplies such weights so."""
    return (
        narrow.device.type == "cpu"
        and dtype == torch.float32
        and hasattr(torch, "_make_per_channel_quantized_tensor")
        and "fbgemm" in torch.backends.quantized.supported_engines
    )
