"""Options that only encoders have: how a model with them is described, and where they are refused."""

import pytest

import keras_transformers as kt
from keras_transformers.layers import (
    Affine,
    AttentionConfig,
    AttentionGroups,
    BlockConfig,
    BlockSparse,
    Bottleneck,
    DynamicConvolution,
    EmbeddingsConfig,
    FeedForwardConfig,
    FeedForwardGroups,
    HeadConfig,
    StackConfig,
    TransformConfig,
)

pytestmark = pytest.mark.one_backend("torch")  # nothing is computed


def test_explain_says_what_is_narrow_inside():
    block = BlockConfig(AttentionConfig(4, head_dim=2), FeedForwardConfig(24), Affine())
    head = HeadConfig(transform=TransformConfig("relu"), wide=True)
    embeddings = EmbeddingsConfig(20, embedding_dim=6, projected="trigrams")
    config = kt.ModelConfig(16, embeddings, StackConfig(2, block, bottleneck=Bottleneck(8, 3)), head=head)
    text = kt.explain(kt.MaskedLM(config))
    for expected in (
        "of three tokens, projected from 6 each",
        "a scale and a shift of each channel",
        "narrowed to 8 within a block, with 3 feed-forward layers in a row",
        "feed-forward: 8 → 24 → 8",
        "dense → 16, relu",
    ):
        assert expected in text, text
    with pytest.raises(ValueError, match="trigrams, of which the next token is one, in a decoder"):
        kt.ModelConfig(16, embeddings, decoder=StackConfig(1, BlockConfig(AttentionConfig(4), FeedForwardConfig(24))))


def test_explain_says_which_heads_and_groups_there_are():
    attention = AttentionConfig(
        *(2, None, 4), groups=AttentionGroups(2, 2, 1, 1), blocks=BlockSparse(2, 1), convolution=DynamicConvolution(3)
    )
    block = BlockConfig(attention, FeedForwardConfig(24, groups=FeedForwardGroups(2, 4)))
    text = kt.explain(kt.Backbone(kt.ModelConfig(16, EmbeddingsConfig(20), StackConfig(1, block))))
    for expected in (
        "groups of channels: query 2, key 2, value 1, output 1",
        "BlockSparse(block_size=2, num_random=1), DynamicConvolution(kernel_size=3)",
        "groups of channels: up 2, down 4",
    ):
        assert expected in text, text
