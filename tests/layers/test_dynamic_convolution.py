"""Heads that convolve a text by kernels that depend on it."""

import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import ConvolutionHeads, DynamicConvolution, MultiHeadAttention
from tests.layers.reference import fill, merge, numbers, relative_error, split


def test_each_token_and_head_has_a_kernel():
    layer = ConvolutionHeads(num_heads=2, head_dim=3, kernel_size=3)
    x, query = numbers((2, 5, 8)), numbers((2, 2, 5, 3), 1)
    layer.build(x.shape)
    fill(layer)

    def neighbours(values):
        return np.stack([np.pad(values, ((0, 0), (1, 1), (0, 0)))[:, k : k + 5] for k in range(3)], axis=-1)

    mixed = (neighbours(x) * ops.convert_to_numpy(layer.kernel).T).sum(-1)
    key, kernels, value = (
        lambda y, each=each: y @ ops.convert_to_numpy(each.kernel) + ops.convert_to_numpy(each.bias)
        for each in (layer.key, layer.kernels, layer.value)
    )
    weights = np.exp(split(kernels(key(mixed) * merge(query)), 2))
    weights /= weights.sum(-1, keepdims=True)
    values = neighbours(value(x)).reshape(2, 5, 2, 3, 3).transpose(0, 2, 1, 3, 4)
    wanted = (values * weights[:, :, :, None]).sum(-1)
    assert relative_error(ops.convert_to_numpy(layer(x, query)), wanted) <= 1e-5


def test_an_attention_has_as_many_heads_again():
    layer = MultiHeadAttention(2, head_dim=4, convolution=DynamicConvolution(3))
    x = numbers((2, 5, 16))
    y, scores = layer(x, return_attention_scores=True)
    assert y.shape == x.shape and scores.shape == (2, 2, 5, 5)
    assert tuple(layer.output_projection.kernel.shape) == (16, 16)


def test_refusals():
    with pytest.raises(ValueError, match="Expected an odd kernel_size, got 4"):
        DynamicConvolution(4)
    with pytest.raises(ValueError, match="Expected an attention to both sides with DynamicConvolution"):
        MultiHeadAttention(2, convolution=DynamicConvolution(3), causal=True)
    layer = MultiHeadAttention(2, convolution=DynamicConvolution(3))
    with pytest.raises(ValueError, match="Expected no source: .* or a convolution"):
        layer(numbers((2, 5, 8)), numbers((2, 4, 8)))
