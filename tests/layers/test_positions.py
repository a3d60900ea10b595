import math

import keras
import numpy as np
import pytest
import torch
from keras import ops

from keras_transformers.layers import (
    Alibi,
    LayerNorm,
    Learned,
    MultiHeadAttention,
    PositionalEmbedding,
    RelativeBuckets,
    RelativePosition,
    Rotary,
    Sinusoidal,
    sinusoids,
)
from keras_transformers.layers.positions import alibi_slopes, relative_buckets, rotary_angles, rotate
from tests.layers.reference import fill, numbers, relative_error


def places(length, offset=0):
    return ops.convert_to_tensor(np.arange(offset, offset + length, dtype="int32")[None])


# --- sinusoids ---


def test_sinusoids_are_the_papers():
    """PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos of the same: section 3.5, number by number."""
    table = sinusoids(600, 16)
    for position in (0, 1, 37, 599):
        for i in range(8):
            angle = position / 10000 ** (2 * i / 16)
            assert table[position, 2 * i] == pytest.approx(math.sin(angle), abs=1e-7)
            assert table[position, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-7)
    assert table.dtype == np.float32


def test_sinusoids_in_halves_are_marians():
    from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

    theirs = MarianSinusoidalPositionalEmbedding(512, 64)
    np.testing.assert_allclose(sinusoids(512, 64, "halves"), theirs.create_weight().numpy(), atol=1e-6)


def test_sinusoids_with_an_endpoint_are_fairseqs():
    from transformers.models.m2m_100.modeling_m2m_100 import M2M100SinusoidalPositionalEmbedding

    theirs = M2M100SinusoidalPositionalEmbedding(510, 64, padding_idx=1).weights.numpy()
    ours = sinusoids(512, 64, "halves", endpoint=True)
    np.testing.assert_allclose(ours[2:], theirs[2:], atol=5e-5)  # theirs are of float32 angles
    assert np.abs(sinusoids(512, 64, "halves")[2:] - theirs[2:]).max() > 0.1


@pytest.mark.parametrize(
    "arguments, expected",
    [((8, 5), "an even `hidden_dim`, got 5"), ((8, 4, "spiral"), 'to be "interleaved" or "halves", got \'spiral\'')],
)
def test_sinusoids_that_cannot_be(arguments, expected):
    with pytest.raises(ValueError, match=expected):
        sinusoids(*arguments)


# --- rotary ---


@pytest.mark.parametrize("base", [10000.0, 500000.0])
@pytest.mark.parametrize("fraction", [1.0, 0.5])
@pytest.mark.parametrize("offset", [0, 300])
def test_rotary_is_what_transformers_computes(base, fraction, offset):
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    head_dim = 16
    turned = int(head_dim * fraction)
    config = LlamaConfig(head_dim=turned, hidden_size=4 * turned, num_attention_heads=4)
    config.rope_parameters = {"rope_type": "default", "rope_theta": base}
    x = numbers((2, 4, 9, head_dim))
    cos, sin = LlamaRotaryEmbedding(config)(torch.zeros(1), torch.arange(offset, offset + 9)[None])
    part = torch.from_numpy(x[..., :turned])
    expected = np.concatenate([apply_rotary_pos_emb(part, part, cos, sin)[0].numpy(), x[..., turned:]], axis=-1)
    ours = rotate(ops.convert_to_tensor(x), rotary_angles(Rotary(base, fraction), places(9, offset), head_dim))
    assert relative_error(ours, expected) < 1e-5


@pytest.mark.parametrize("turned", [8, 16])
def test_interleaved_rotary_is_gpt_js(turned):
    from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb, create_sinusoidal_positions

    x = numbers((2, 4, 9, 16))
    sin, cos = create_sinusoidal_positions(40, turned)[None, 20:29].split(turned // 2, dim=-1)
    part = apply_rotary_pos_emb(torch.from_numpy(x[..., :turned]).transpose(1, 2), sin, cos).transpose(1, 2)
    expected = np.concatenate([part.numpy(), x[..., turned:]], axis=-1)
    rotary = Rotary(fraction=turned / 16, layout="interleaved")
    ours = rotate(ops.convert_to_tensor(x), rotary_angles(rotary, places(9, 20), 16), rotary.layout)
    assert relative_error(ours, expected) < 1e-5


def test_values_may_be_rotated_too():
    """A token that sees itself alone gives back its own value, rotated by its position."""
    rotary = Rotary(50.0, layout="interleaved", values=True)
    layer = MultiHeadAttention(2, positions=rotary, window=1)
    x = numbers((1, 5, 8))
    layer.build(x.shape)
    fill(layer)
    value = ops.reshape(layer.value(x), (1, 5, 2, 4))
    turned = rotate(ops.transpose(value, (0, 2, 1, 3)), rotary_angles(rotary, places(5), 4), "interleaved")
    wanted = layer.output_projection(ops.reshape(ops.transpose(turned, (0, 2, 1, 3)), (1, 5, 8)))
    assert relative_error(ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(wanted)) <= 1e-6


def test_rotary_scores_depend_on_the_distance_alone():
    query, key = (ops.convert_to_tensor(numbers((1, 1, 1, 32), seed)) for seed in (0, 1))

    def score(query_position, key_position):
        turned = [
            rotate(x, rotary_angles(Rotary(), places(1, position), 32))
            for x, position in ((query, query_position), (key, key_position))
        ]
        return float(ops.convert_to_numpy(ops.sum(turned[0] * turned[1])))

    assert score(7, 3) == pytest.approx(score(907, 903), abs=1e-3)
    assert abs(score(7, 3) - score(7, 4)) > 1e-2


# --- biases ---


@pytest.mark.parametrize("num_heads", [1, 2, 8, 12, 20])
def test_alibi_slopes_are_blooms(num_heads):
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    theirs = build_alibi_tensor(torch.ones(1, 2), num_heads, torch.float32).numpy().reshape(num_heads, 2)
    np.testing.assert_allclose(alibi_slopes(num_heads), theirs[:, 1], rtol=1e-6)


def test_alibi_falls_with_distance_in_both_directions():
    bias, angles = RelativePosition(Alibi(), 8, 16)(places(3, 4), places(9))
    assert angles is None
    expected = (
        -np.abs(np.arange(9)[None, :] - np.arange(4, 7)[:, None])[None, None] * alibi_slopes(8)[None, :, None, None]
    )
    np.testing.assert_allclose(ops.convert_to_numpy(bias), expected, rtol=1e-6)


@pytest.mark.parametrize("num_heads", [2, 12, 71])
def test_rounded_alibi_is_falcons(num_heads):
    """To the bit, far beyond the numbers that bfloat16 has."""
    from transformers.models.falcon.modeling_falcon import build_alibi_tensor

    theirs = build_alibi_tensor(torch.ones(1, 5000, dtype=torch.long), num_heads, torch.float32)
    expected = theirs.numpy().reshape(1, num_heads, 1, 5000) * np.float32(0.25)
    bias, _ = RelativePosition(Alibi(rounded=True), num_heads, 16)(places(3, 4997), places(5000))
    np.testing.assert_array_equal(ops.convert_to_numpy(bias), expected)
    starts = ops.convert_to_tensor(np.array([[0], [7]], "int32"))
    bias, _ = RelativePosition(Alibi(rounded=True), num_heads, 16)(places(20), places(20), starts)
    np.testing.assert_array_equal(ops.convert_to_numpy(bias)[1, :, 0, 7:], expected[0, :, 0, :13])


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_buckets, max_distance", [(32, 128), (32, 20), (8, 50), (64, 1000)])
def test_buckets_are_t5s(bidirectional, num_buckets, max_distance):
    """At distances well past the largest: at short ones a wrong maximum would not show."""
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = np.arange(-1500, 1501, dtype="int32")
    expected = T5Attention._relative_position_bucket(
        torch.from_numpy(distance).long(), bidirectional, num_buckets, max_distance
    ).numpy()
    ours = relative_buckets(ops.convert_to_tensor(distance), num_buckets, max_distance, bidirectional)
    np.testing.assert_array_equal(ops.convert_to_numpy(ours), expected)


@pytest.mark.parametrize("causal", [True, False])
def test_a_bucket_has_a_bias_for_each_head(causal):
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Attention

    settings = T5Config(
        d_model=16, num_heads=4, relative_attention_num_buckets=8, relative_attention_max_distance=20, is_decoder=causal
    )
    theirs = T5Attention(settings, has_relative_attention_bias=True, layer_idx=0)
    layer = RelativePosition(RelativeBuckets(8, 20), 4, 4, causal=causal)
    layer.build()
    layer.embeddings.assign(theirs.relative_attention_bias.weight.detach().numpy())
    bias, *_ = layer(places(40), places(40))
    ours = ops.convert_to_numpy(bias)
    assert ours.shape == (1, 4, 40, 40)
    expected = theirs.compute_bias(40, 40).detach().numpy()
    seen = np.tri(40, dtype=bool) if causal else np.ones((40, 40), bool)
    np.testing.assert_allclose(ours[..., seen], expected[..., seen], rtol=1e-6)


# --- what is added to embeddings ---


def test_learned_positions_are_rows_of_a_table():
    layer = PositionalEmbedding(20, 6, positions=Learned(10), scale=False)
    layer.build()
    fill(layer)
    token_ids = np.array([[3, 1, 4], [1, 5, 9]], "int32")
    tokens, positions = (np.asarray(ops.convert_to_numpy(each.embeddings)) for each in (layer.token, layer.position))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(token_ids)), tokens[token_ids] + positions[:3], rtol=1e-6)
    offset = ops.convert_to_numpy(layer(token_ids, offset=7))
    np.testing.assert_allclose(offset, tokens[token_ids] + positions[7:10], rtol=1e-6)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("layout", ["interleaved", "halves"])
def test_sinusoids_are_added_to_scaled_tokens(scale, layout):
    layer = PositionalEmbedding(20, 16, positions=Sinusoidal(12, layout), scale=scale)
    layer.build()
    token_ids = np.array([[3, 1, 4]], "int32")
    tokens = ops.convert_to_numpy(layer.token.embeddings)[token_ids]
    expected = tokens * (4 if scale else 1) + sinusoids(12, 16, layout)[:3]
    np.testing.assert_allclose(ops.convert_to_numpy(layer(token_ids)), expected, rtol=1e-5, atol=1e-6)
    assert len(layer.weights) == 1


@pytest.mark.parametrize("positions", [Learned(10), Sinusoidal(10)])
def test_a_sequence_longer_than_its_positions_is_an_error(positions):
    layer = PositionalEmbedding(20, 16, positions=positions)
    assert tuple(layer(np.ones((1, 10), "int32")).shape) == (1, 10, 16)
    with pytest.raises(ValueError, match="at most 10 tokens.*got 11. Shorten the input"):
        layer(np.ones((1, 11), "int32"))
    with pytest.raises(ValueError, match="at most 10 tokens.*got 12"):
        layer(np.ones((1, 4), "int32"), offset=8)


def test_sinusoids_that_begin_later_and_skip_padding():
    options = {"scale": False, "padding_id": 5}
    layer = PositionalEmbedding(20, 16, positions=Sinusoidal(12, "halves", True, 6, skip_padding=True), **options)
    token_ids = np.array([[5, 5, 3, 1, 5, 4]], "int32")
    added = ops.convert_to_numpy(layer(token_ids)) - ops.convert_to_numpy(layer.token.embeddings)[token_ids]
    table = sinusoids(12 + 6, 16, "halves", endpoint=True)
    expected = np.where((token_ids != 5)[:, :, None], table[[5, 5, 6, 7, 5, 8]], 0)
    np.testing.assert_allclose(added, expected, atol=1e-6)
    counting = PositionalEmbedding(20, 16, positions=Sinusoidal(12, "halves", offset=6), token=layer.token, **options)
    added = (
        ops.convert_to_numpy(counting(token_ids, offset=2)) - ops.convert_to_numpy(layer.token.embeddings)[token_ids]
    )
    np.testing.assert_allclose(added[0], sinusoids(18, 16, "halves")[8:14], atol=1e-6)
    assert len(counting.weights) == 1 and counting.weights[0] is layer.weights[0]
    with pytest.raises(ValueError, match="offset of at least 1 with skip_padding=True"):
        Sinusoidal(12, skip_padding=True)


# --- embeddings ---


@pytest.mark.parametrize("trainable", [True, False])
def test_word_vectors_as_initial_embeddings(trainable):
    vectors = numbers((20, 6))
    layer = PositionalEmbedding(20, 6, scale=False, embeddings_initializer=vectors, trainable_embeddings=trainable)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(np.arange(20, dtype="int32")[None]))[0], vectors, rtol=1e-6)
    assert len(layer.trainable_weights) == int(trainable)


def test_word_vectors_of_another_shape_are_an_error():
    with pytest.raises(ValueError, match=r"\[vocabulary_size, embedding_dim\] = \[20, 6\], got \[20, 7\]"):
        PositionalEmbedding(20, 6, embeddings_initializer=numbers((20, 7)))


def test_tokens_are_projected_alone_or_with_all_that_is_added():
    token_ids = np.arange(10, dtype="int32")[None]
    options = {"positions": Learned(10), "norm": LayerNorm(), "num_segments": 2, "embedding_dim": 6}
    layer = PositionalEmbedding(20, 16, projected="tokens", **options)
    layer.build()
    fill(layer)
    tables = layer.token, layer.position, layer.segment
    assert [table.embeddings.shape[1] for table in tables] == [6, 16, 16]
    assert layer.projection is None and layer.token_projection.bias is None
    token, position, segment = (ops.convert_to_numpy(table.embeddings) for table in tables)
    kernel = ops.convert_to_numpy(layer.token_projection.kernel)
    wanted = layer.norm((token[:10] * 6**0.5) @ kernel + position + segment[:1])
    assert relative_error(ops.convert_to_numpy(layer(token_ids))[0], ops.convert_to_numpy(wanted)) <= 1e-5
    assert PositionalEmbedding(20, 16, **options).token_projection is None
    with pytest.raises(ValueError, match="Expected an embedding_dim with projected='tokens', got None"):
        PositionalEmbedding(20, 16, projected="tokens")
    with pytest.raises(
        ValueError, match="Expected projected to be one of sum, tokens, sum_before_norm, trigrams, got 'all'"
    ):
        PositionalEmbedding(20, 16, embedding_dim=6, projected="all")


def test_max_length_is_short_for_sinusoids():
    layer = PositionalEmbedding(20, 6, 10)
    assert layer.positions == Sinusoidal(10)
    with pytest.raises(ValueError, match="max_length or positions, got both"):
        PositionalEmbedding(20, 6, 10, positions=Learned(10))


def test_padding_ids_become_the_mask():
    token_ids = np.array([[3, 1, 0], [0, 0, 0]], "int32")
    assert PositionalEmbedding(20, 6).compute_mask(ops.convert_to_tensor(token_ids)) is None
    layer = PositionalEmbedding(20, 6, padding_id=0)
    mask = layer(token_ids)._keras_mask
    np.testing.assert_array_equal(ops.convert_to_numpy(mask), token_ids != 0)
    layer = PositionalEmbedding(20, 6, padding_id=3)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer.compute_mask(ops.convert_to_tensor(token_ids))), token_ids != 3
    )


def test_dropout_of_embeddings_in_training():
    layer, token_ids = PositionalEmbedding(20, 64, dropout=0.5), np.ones((4, 10), "int32")
    assert (ops.convert_to_numpy(layer(token_ids)) != 0).all()
    share = (ops.convert_to_numpy(layer(token_ids, training=True)) == 0).mean()
    assert 0.4 < share < 0.6


def test_precision_of_positions():
    """In half precision the sum is rounded, not the table's index or angles."""
    token_ids = np.zeros((1, 500), "int32")
    exact = PositionalEmbedding(4, 32, 500)
    exact.build()
    for dtype, tolerance in (("float16", 1e-3), ("bfloat16", 8e-3)):
        layer = PositionalEmbedding(4, 32, 500, dtype=dtype)
        layer.build()
        layer.token.embeddings.assign(exact.token.embeddings)
        output = layer(token_ids)
        assert keras.backend.standardize_dtype(output.dtype) == dtype
        assert relative_error(ops.cast(output, "float32"), ops.convert_to_numpy(exact(token_ids))) < tolerance


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: RelativeBuckets(32, 16), "num_buckets=32, max_distance=16"),
        (lambda: RelativeBuckets(2, 16), "num_buckets=2"),
        (lambda: RelativeBuckets(7, 16), "num_buckets=7"),
        (lambda: Rotary(fraction=0.0), "'fraction' is 0.0, expected float above 0 and at most 1"),
        (lambda: Rotary(fraction=2.0), "'fraction' is 2.0, expected"),
        (lambda: Rotary(layout="spiral"), 'to be "interleaved" or "halves", got \'spiral\''),
        (lambda: Rotary(base="far"), "field 'base' is 'far', expected float above 1"),
        (lambda: rotary_angles(Rotary(fraction=0.5), np.zeros((1, 1), "int32"), 6), "got 3 of 6"),
    ],
)
def test_settings_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make()
