"""Disentangled attention, and the convolution beside it, number by number."""

import numpy as np
import pytest
import torch
from keras import ops

from keras_transformers.layers import (
    AttentionConfig,
    BlockConfig,
    Convolution,
    ConvolutionConfig,
    Decoder,
    Disentangled,
    DistanceTable,
    Encoder,
    FeedForwardConfig,
    LayerNorm,
    MultiHeadAttention,
    StackConfig,
)
from keras_transformers.layers.disentangled import DistanceVectors, position_scores
from tests.layers.reference import attention, fill, merge, numbers, projections, relative_error, split

once = pytest.mark.one_backend("torch")
TABLE = DistanceTable(12, 8, LayerNorm())


def places(length, offset=0):
    return ops.convert_to_tensor(np.arange(offset, offset + length, dtype="int32")[None])


@once
@pytest.mark.parametrize("distances, buckets", [(512, 256), (24, 8), (9, None), (128, 64), (2048, 512)])
def test_rows_are_those_of_transformers(distances, buckets):
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    distance = torch.arange(-distances, distances + 1)
    half = buckets or distances
    position = distance if buckets is None else make_log_bucket_position(distance, buckets, distances)
    expected = torch.clamp(position.long() + half, 0, 2 * half - 1).numpy()
    np.testing.assert_array_equal(DistanceTable(distances, buckets).rows(), expected)


@pytest.mark.parametrize("length, offset", [(7, 0), (1, 0), (1, 6), (3, 4), (30, 0)])
def test_vectors_are_for_falling_distances(length, offset):
    layer = DistanceVectors(TABLE, 6)
    layer.build()
    fill(layer)
    vectors = ops.convert_to_numpy(layer(places(length, offset), places(length + offset)))
    table = ops.convert_to_numpy(layer.norm(ops.convert_to_tensor(layer.embeddings)))
    distances = np.clip(np.arange(length + offset - 1, -length, -1), -12, 12)
    np.testing.assert_allclose(vectors[:-1], table[TABLE.rows()[distances + 12]][: len(vectors) - 1], atol=1e-6)


@pytest.mark.parametrize("length, key_length", [(5, 5), (1, 1), (1, 6), (3, 7)])
def test_scores_are_gathered_ones(length, key_length):
    query, key = numbers((2, 3, length, 4)), numbers((2, 3, key_length, 4), 1)
    position_key, position_query = (numbers((3, length + key_length, 4), seed) for seed in (2, 3))
    # the vector for a query and a key: the first is for the last query and the first key
    column = (length - 1 - np.arange(length))[:, None] + np.arange(key_length)
    to_position = np.einsum("bnth,ntsh->bnts", query, position_key[:, column])
    to_content = np.einsum("bnsh,ntsh->bnts", key, position_query[:, column])
    for keys, queries, expected in (
        (position_key, position_query, to_position + to_content),
        (position_key, None, to_position),
        (None, position_query, to_content),
    ):
        found = position_scores(*(None if x is None else ops.convert_to_tensor(x) for x in (query, key, keys, queries)))
        assert relative_error(found, expected) < 1e-6


@pytest.mark.parametrize("shared", [True, False])
def test_attention_is_that_of_the_paper(shared):
    layer, x = MultiHeadAttention(2, positions=Disentangled(TABLE, shared_projections=shared)), numbers((2, 9, 8))
    layer.build(x.shape)
    fill(layer)
    assert layer.scale == pytest.approx((3 * 4) ** -0.5)
    query, key, value, output = projections(layer)
    vectors = np.asarray(ops.convert_to_numpy(layer.relative(places(9), places(9))), "float64")[None]
    names = ("query", "key") if shared else ("position_query", "position_key")
    position_query, position_key = (
        split(vectors @ kernel + bias, 2)[0]
        for kernel, bias in (map(np.asarray, getattr(layer, name).get_weights()) for name in names)
    )
    column = (8 - np.arange(9))[:, None] + np.arange(9)
    queries, keys = split(query(x), 2), split(key(x), 2)
    bias = np.einsum("bnth,ntsh->bnts", queries, position_key[:, column])
    bias += np.einsum("bnsh,ntsh->bnts", keys, position_query[:, column])
    expected, weights = attention(queries, keys, split(value(x), 2), scale=layer.scale, bias=bias * layer.scale)
    found, found_weights = layer(x, return_attention_scores=True)
    assert relative_error(found, output(merge(expected))) < 1e-5
    assert relative_error(found_weights, weights) < 1e-5
    assert relative_error(layer(x), output(merge(expected))) < 1e-5


def _block(positions, **options):
    return BlockConfig(AttentionConfig(2, positions=positions, **options), FeedForwardConfig(16))


def test_token_by_token_is_as_whole():
    decoder = Decoder(2, _block(Disentangled(TABLE, "content_to_position")), cross_attention=False)
    x = numbers((2, 6, 8))
    decoder.build(x.shape)
    fill(decoder)
    whole, cache = decoder(x), decoder.start_states(2, 6)
    for place in range(6):
        result = decoder(x[:, place : place + 1], cache=cache, offset=place)
        cache = result["cache"]
        assert relative_error(result["output"], whole[:, place : place + 1]) < 1e-5


@pytest.mark.each_keras
def test_a_stack_holds_one_table_that_is_trained_also_where_layers_are_computed_again():
    import keras

    x = numbers((2, 6, 8))
    encoder = Encoder(2, _block(Disentangled(TABLE, dropout=0.1), use_bias="all_but_keys"))
    encoder.build(x.shape)
    assert [name for name in (weight.path for weight in encoder.weights) if "embeddings" in name] == [
        f"{encoder.name}/positions/embeddings"
    ]
    attention = encoder.blocks[0].self_attention
    assert [each.use_bias for each in (attention.query, attention.key, attention.position_key)] == [True, False, False]
    assert attention.position_query.use_bias and attention.output_projection.use_bias
    for encoder.rematerialize in (False, True):
        model = keras.Sequential([keras.Input(x.shape[1:]), encoder])
        model.compile("sgd", "mse", jit_compile=False)
        before = ops.convert_to_numpy(encoder.relatives[0].embeddings)
        model.train_on_batch(x, x)
        assert np.abs(ops.convert_to_numpy(encoder.relatives[0].embeddings) - before).max() > 0


@once
def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="Expected an even num_buckets of at least 4 .* got num_buckets=7"):
        DistanceTable(12, 7)
    with pytest.raises(ValueError, match="max_distance of at least its half and two.* max_distance=5"):
        DistanceTable(5, 8)
    with pytest.raises(ValueError, match="Expected terms to be one of both, .* got 'all'"):
        Disentangled(TABLE, "all")
    with pytest.raises(ValueError, match="Expected no num_key_value_heads with Disentangled positions.* got 1"):
        AttentionConfig(2, 1, positions=Disentangled(TABLE))
    with pytest.raises(ValueError, match="Expected a table with Disentangled positions"):
        StackConfig(2, _block(Disentangled()))
    with pytest.raises(ValueError, match="Expected a table of Disentangled positions, got None"):
        MultiHeadAttention(2, positions=Disentangled())(numbers((1, 3, 4)))
    with pytest.raises(ValueError, match="Expected an odd kernel_size, got 2"):
        ConvolutionConfig(2)
    with pytest.raises(ValueError, match="Expected activation to be one of .* got 'cosine'"):
        ConvolutionConfig(activation="cosine")
    with pytest.raises(ValueError, match="Expected no convolution in a decoder"):
        Decoder(1, _block(None), convolution=ConvolutionConfig())


def test_padding_counts_as_zeros_for_a_convolution():
    layer, x = Convolution(ConvolutionConfig(3, "gelu")), numbers((2, 6, 4))
    layer.build(x.shape)
    fill(layer)
    mask = np.arange(6)[None] < np.array([[6], [4]])
    found = ops.convert_to_numpy(layer(x, x, padding_mask=mask))
    np.testing.assert_allclose(found[1, :4], ops.convert_to_numpy(layer(x[1:, :4], x[1:, :4]))[0], atol=1e-6)
    kernel, bias = (ops.convert_to_numpy(each).astype("float64") for each in layer.convolution.weights)
    wide = np.pad(x[0].astype("float64"), ((1, 1), (0, 0)))
    y = sum(wide[place : place + 6] @ kernel[place] for place in range(3)) + bias
    y = torch.nn.functional.gelu(torch.from_numpy(y)).numpy() + x[0]
    scale, offset = (ops.convert_to_numpy(each) for each in layer.norm.weights)
    expected = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5) * scale + offset
    assert relative_error(found[0], expected) < 1e-5
