"""Quantized layers of Keras as PyTorch functions, for the direct view.

    int8    w = q / scale                    q int8, a scale for each output of a matrix, or row of a table
    int4    w = (q - zero) · scale           q two to a byte; scale and zero for each block of inputs, or of a row

A layer that rounds its inputs too multiplies as `int8_products` does.

Keras unpacks 4-bit weights at each call, a whole table even for one token. Here they are unpacked once for each view,
to a byte each, and cast to the compute dtype at each use.
"""

import typing

import keras
import torch
from torch.nn import functional as F

from keras_transformers.backends.torch import int8_products
from keras_transformers.backends.types import Tensor


def _rounds_inputs(layer: typing.Any) -> bool:
    """Whether a layer rounds its inputs to eight bits, and the processor has a fast product for that."""
    narrow = layer._kernel if isinstance(layer, keras.layers.Dense) else layer._embeddings
    quantizer = layer.inputs_quantizer
    return (
        layer.quantization_mode == "int8"
        and type(quantizer) is keras.quantizers.AbsMaxQuantizer
        and quantizer.output_dtype == "int8"
        and int8_products.supported(narrow.value, getattr(torch, layer.compute_dtype))
    )


def _unpacked(layer: typing.Any, packed: typing.Any) -> Tensor:
    return keras.quantizers.unpack_int4(packed.value, layer._orig_output_dim, axis=-1)


def _in_blocks(narrow: Tensor, scale: Tensor, zero: Tensor, block: int, axis: int) -> tuple[Tensor, Tensor]:
    """Narrow numbers with `axis` split into `[blocks, block]`, minus their zeros (from -15 to 15), and their scales."""
    padding = [0, 0] * (narrow.dim() - 1 - axis) + [0, scale.shape[axis] * block - narrow.shape[axis]]
    narrow = F.pad(narrow, padding).unflatten(axis, (-1, block))
    return narrow - zero.unsqueeze(axis + 1), scale.unsqueeze(axis + 1)


def dense(layer: typing.Any) -> typing.Any:
    """`layer`, a quantized `Dense`, as a function; the layer itself if it computes more."""
    if layer.activation is not keras.activations.linear or layer.quantization_mode not in ("int8", "int4"):
        return layer
    if _rounds_inputs(layer):
        bias = None if layer.bias is None else layer.bias.value
        multiply = int8_products.product(layer._kernel.value, layer.kernel_scale.value, bias, transposed=True)
        return lambda x: layer(x) if torch.compiler.is_compiling() else multiply(x)
    if layer.inputs_quantizer is not None:
        return layer
    scale, bias = layer.kernel_scale.value.to(getattr(torch, layer.compute_dtype)), layer.bias
    bias = torch.zeros((), dtype=scale.dtype) if bias is None else bias.value.to(scale.dtype)
    if layer.quantization_mode == "int8":
        narrow = layer._kernel.value
    else:
        narrow, block = _unpacked(layer, layer._kernel), getattr(layer, "_int4_block_size", None)
        if block not in (None, -1):
            width = narrow.shape[0]
            narrow, scale = _in_blocks(narrow, scale, layer.kernel_zero.value, block, 0)
            return lambda x: x @ (narrow.to(x.dtype) * scale).flatten(0, 1)[:width] + bias
    return lambda x: (x @ narrow.to(x.dtype)) / scale + bias


def embedding(layer: typing.Any) -> typing.Any:
    """`layer`, a quantized `Embedding` or `ReversibleEmbedding`, as a function; the layer itself if it computes
    more."""
    reversible = isinstance(layer, keras.layers.ReversibleEmbedding)
    if (
        layer.quantization_mode not in ("int8", "int4")
        or reversible
        and (not layer.tie_weights or layer.reverse_dtype or layer.logit_soft_cap)
    ):
        return layer
    scores = None
    if reversible and layer.inputs_quantizer:
        if not _rounds_inputs(layer):
            return layer
        scores = int8_products.product(layer._embeddings.value, layer.embeddings_scale.value, None, transposed=False)
    scale = layer.embeddings_scale.value.to(getattr(torch, layer.compute_dtype))
    if layer.quantization_mode == "int8":
        narrow = layer._embeddings.value
    else:
        narrow, block = _unpacked(layer, layer._embeddings), getattr(layer, "_int4_block_size", None)
        if block not in (None, -1):
            width = narrow.shape[1]
            narrow, scale = _in_blocks(narrow, scale, layer.embeddings_zero.value, block, 1)

            def rows(narrow: Tensor, scale: Tensor) -> Tensor:
                return (narrow.to(scale.dtype) * scale).flatten(-2)[..., :width]

            return lambda x, reverse=False: (
                F.linear(x, rows(narrow, scale)) if reverse else rows(narrow[x.long()], scale[x.long()])
            )

    def call(x: Tensor, reverse: bool = False) -> Tensor:
        if not reverse:
            return F.embedding(x, narrow).to(scale.dtype) / scale[x.long()][..., None]
        if scores is None:
            return F.linear(x, narrow.to(x.dtype)) / scale
        return layer(x, reverse=True) if torch.compiler.is_compiling() else scores(x)

    return call
