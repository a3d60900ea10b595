"""Blocks that are narrower inside, and the embeddings and the head that come with them."""

import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import (
    Affine,
    AffineTransform,
    AttentionConfig,
    BlockConfig,
    Bottleneck,
    BottleneckBlock,
    Decoder,
    Encoder,
    FeedForwardConfig,
    PositionalEmbedding,
    StackConfig,
    TransformConfig,
    VocabularyHead,
)
from tests.layers.reference import attention, fill, merge, numbers, relative_error, split

BLOCK = BlockConfig(AttentionConfig(2, head_dim=2), FeedForwardConfig(12), Affine())


def dense(layer):
    kernel, *bias = map(ops.convert_to_numpy, layer.weights)
    return lambda x: x @ kernel + (bias[0] if bias else 0.0)


def affine(layer):
    return lambda x: x * ops.convert_to_numpy(layer.gamma) + ops.convert_to_numpy(layer.beta)


def test_a_scale_and_a_shift():
    layer, x = AffineTransform(), numbers((2, 3, 4))
    layer.build(x.shape)
    fill(layer)
    assert relative_error(ops.convert_to_numpy(layer(x)), affine(layer)(x)) <= 1e-6


def test_a_block_is_narrow_inside():
    layer, x = BottleneckBlock(BLOCK, Bottleneck(4, 2)), numbers((2, 5, 8))
    layer.build(x.shape)
    fill(layer)
    real = np.arange(5) < np.array([[5], [3]])
    narrow, shared = (affine(each.norm)(dense(each.dense)(x)) for each in (layer.narrow, layer.narrow_attention))
    inner = layer.self_attention
    heads = [split(dense(each)(y), 2) for each, y in ((inner.query, shared), (inner.key, shared), (inner.value, x))]
    y, _ = attention(*heads, scale=2**-0.5, mask=real[:, None, None])
    y = affine(layer.self_attention_norm_after)(narrow + dense(inner.output_projection)(merge(y)))
    for feed_forward, norm in zip(layer.feed_forwards, layer.feed_forward_norms, strict=True):
        y = affine(norm)(y + dense(feed_forward.down)(np.maximum(dense(feed_forward.up)(y), 0)))
    wanted = affine(layer.widen_norm)(x + dense(layer.widen)(y))
    assert relative_error(ops.convert_to_numpy(layer(x, padding_mask=real)), wanted) <= 1e-5


def test_the_vectors_of_three_tokens_are_side_by_side():
    layer = PositionalEmbedding(20, 6, scale=False, embedding_dim=4, projected="trigrams")
    layer.build()
    fill(layer)
    ids = np.array([[3, 1, 4, 1]], "int32")
    x = ops.convert_to_numpy(layer.token.embeddings)[ids]
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    wanted = dense(layer.token_projection)(np.concatenate([padded[:, 2:], x, padded[:, :-2]], axis=-1))
    assert relative_error(ops.convert_to_numpy(layer(ids)), wanted) <= 1e-6


@pytest.mark.parametrize("tied", [True, False])
def test_a_wide_head_scores_the_channels_beyond_the_embeddings(tied):
    head = VocabularyHead(11, tied=tied, use_bias=True, transform=TransformConfig("relu"), embedding_dim=4, wide=True)
    head.build((None, None, 6))
    fill(head)
    embedding = PositionalEmbedding(11, 6, embedding_dim=4)
    embedding.build()
    inputs = numbers((2, 3, 6))
    inner = ops.convert_to_numpy(head.transform(inputs))
    beyond = inner[..., 4:] @ ops.convert_to_numpy(head.wide.kernel)
    if tied:
        wanted = inner[..., :4] @ ops.convert_to_numpy(embedding.token.embeddings).T + ops.convert_to_numpy(head.bias)
    else:
        wanted = dense(head.dense)(inner[..., :4])
    assert relative_error(ops.convert_to_numpy(head(inputs, embedding=embedding)), wanted + beyond) <= 1e-5


@pytest.mark.parametrize(
    "change",
    [
        {"norm_placement": "pre"},
        {"attention": AttentionConfig(2)},
        {"attention": AttentionConfig(2, head_dim=2, window=2, global_tokens=1)},
    ],
)
def test_blocks_that_cannot_be_narrow(change):
    block = BlockConfig(**{"attention": BLOCK.attention, "feed_forward": BLOCK.feed_forward} | change)
    with pytest.raises(ValueError, match="an attention with a head_dim and without global tokens, in blocks with a"):
        StackConfig(2, block, bottleneck=Bottleneck(4))


def test_refusals():
    with pytest.raises(ValueError, match="Expected no bottleneck in a decoder, got Bottleneck"):
        Decoder(2, BLOCK, bottleneck=Bottleneck(4))
    with pytest.raises(ValueError, match="Expected no source: a block with a bottleneck has no cross-attention"):
        BottleneckBlock(BLOCK, Bottleneck(4)).check_source(numbers((2, 3, 4)))
    with pytest.raises(ValueError, match="Expected a transform with wide=True, got None"):
        VocabularyHead(11, embedding_dim=None, wide=True)
    head = VocabularyHead(11, transform=TransformConfig(), embedding_dim=6, wide=True)
    with pytest.raises(ValueError, match="Expected an embedding_dim below the width 6 with wide=True, got 6"):
        head.build((None, None, 6))
    assert Encoder(1, BLOCK, bottleneck=Bottleneck(4))(numbers((2, 3, 8))).shape == (2, 3, 8)
