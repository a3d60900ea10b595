"""Layer calls without the bookkeeping of Keras, for decoding on PyTorch.

`keras.layers.Layer.__call__` takes 30 to 60 µs to check, cast, scope and track a call, and `keras.ops` as much again.
A decoder calls twenty layers for each block and each token, so this is most of the time of a small batch. A `Direct`
layer is a second view of one of our layers: the same methods on the same weights. Each of its sublayers is a direct
view too,

    Direct(model)._step ─► Direct(decoder) ─► Direct(block) ─► Direct(attention) ─► `F.linear` on the query's kernel

and basic layers of Keras become functions of PyTorch. Other layers (LoRA of Keras, a user's layer) are called
unchanged. A view has no training, no Keras mask and no autocast: inputs must have the compute dtype, and weights are
cast to it at their first use. So a view is made for one generation and then dropped, or kept until a weight is written
(`execution`).
"""

import typing
from collections.abc import Callable

import keras
import torch
from torch.nn import functional as F

from keras_transformers.backends.torch import direct_quantized
from keras_transformers.backends.types import Tensor

_PACKAGE = __name__.partition(".")[0]
_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # PyTorch 2.7 and later

View: typing.TypeAlias = Callable[..., typing.Any]
"""A function of tensors in place of a layer, or the layer itself."""


class Direct:
    """A view of `layer`, one of our layers. Its attributes are looked up there, converted once, and kept."""

    def __init__(self, layer: typing.Any) -> None:
        self.__layer = layer  # two underscores: no layer has an attribute of this name

    def __getattr__(self, name: str) -> typing.Any:
        value = getattr(self.__layer, name)
        method = getattr(type(self.__layer), name, None)
        if callable(method) and getattr(value, "__self__", None) is self.__layer:
            value = method.__get__(self)  # its `self` is this view
        elif isinstance(value, list):
            value = [direct(each) for each in value]
        else:
            value = direct(value)
        setattr(self, name, value)
        return value

    def __call__(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        return self.call(*args, **kwargs)


def direct(layer: typing.Any) -> typing.Any:
    """A direct view of a layer; other values unchanged."""
    if not isinstance(layer, keras.layers.Layer):
        return layer
    view = _LEAVES.get(type(layer)) or _REGISTERED.get(keras.saving.get_registered_name(type(layer)))
    if view is not None and layer.quantization_mode:
        view = _QUANTIZED.get(type(layer))
    if view is None and type(layer).__module__.partition(".")[0] == _PACKAGE:
        return Direct(layer)
    return layer if view is None or getattr(layer, "lora_enabled", False) else view(layer)


def method(function: Callable[..., typing.Any]) -> Callable[..., typing.Any]:
    """The method of a model, bound to the direct view of the model; other functions unchanged."""
    model = getattr(function, "__self__", None)
    view = direct(model)
    return function if view is model else getattr(view, function.__name__)


def _weight(layer: typing.Any, variable: typing.Any) -> typing.Any:
    return None if variable is None else variable.value.to(getattr(torch, layer.compute_dtype))


def _dense(layer: typing.Any) -> View:
    if layer.activation is not keras.activations.linear:
        return layer
    kernel, bias = _weight(layer, layer.kernel).t(), _weight(layer, layer.bias)
    return lambda x: F.linear(x, kernel, bias)


def _layer_normalization(layer: typing.Any) -> View:
    if layer.axis not in (-1, [-1]) or layer.rms_scaling:
        return layer
    scale, offset, epsilon = _weight(layer, layer.gamma), _weight(layer, layer.beta), layer.epsilon
    return lambda x: F.layer_norm(x, x.shape[-1:], scale, offset, epsilon)


def _rms_normalization(layer: typing.Any) -> View:
    scale, epsilon = _weight(layer, layer.scale), layer.epsilon
    if layer.unit_offset:
        if scale.dtype != torch.float32:  # 1 + scale would be rounded
            return Direct(layer)
        scale = scale + 1
    return lambda x: F.rms_norm(x, x.shape[-1:], scale, epsilon)


def _embedding(layer: typing.Any) -> View:
    table = _weight(layer, layer.embeddings)
    return lambda token_ids: F.embedding(token_ids, table)


def _reversible_embedding(layer: typing.Any) -> View:
    if not layer.tie_weights or layer.reverse_dtype or layer.logit_soft_cap:
        return layer
    table = _weight(layer, layer.embeddings)
    return lambda x, reverse=False: _scores(x, table) if reverse else F.embedding(x, table)


def _scores(x: Tensor, table: Tensor) -> Tensor:
    """`F.linear` of vectors `[R, T, D]` and a whole vocabulary `[V, D]`.

    On a CPU, a tall matrix is read at the speed of memory only if it is the left operand, and for at least two vectors
    (a single one is doubled). Measured with MKL, two to eight vectors took 25 to 75 % of the time of `F.linear`;
    sixteen and more took longer. An exported program takes any number.
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or _is_exporting():
        return F.linear(x, table)
    rows = x.numel() // x.shape[-1]
    if rows > 8:
        return F.linear(x, table)
    vectors = x.reshape(rows, -1)
    vectors = vectors if rows > 1 else vectors.repeat(2, 1)
    return (table @ vectors.t()).t()[:rows].contiguous().view(*x.shape[:-1], -1)


def _dropout(layer: typing.Any) -> View:
    return lambda x, training=None: x


_LEAVES = {
    keras.layers.Dense: _dense,
    keras.layers.LayerNormalization: _layer_normalization,
    keras.layers.Embedding: _embedding,
    keras.layers.ReversibleEmbedding: _reversible_embedding,
    keras.layers.Dropout: _dropout,
}

_REGISTERED = {f"{_PACKAGE}>RMSNormalization": _rms_normalization}

_QUANTIZED = {
    keras.layers.Dense: direct_quantized.dense,
    keras.layers.Embedding: direct_quantized.embedding,
    keras.layers.ReversibleEmbedding: direct_quantized.embedding,
}
