"""The scores of Transformer-XL and XLNet, number by number."""

import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import MultiHeadAttention, RelativeScores, RelativeSinusoids
from tests.layers.reference import fill, numbers, relative_error

N, H, D = 2, 4, 8


def sinusoid(distance):
    angles = distance * 10000.0 ** (-np.arange(0, D, 2) / D)
    return np.concatenate([np.sin(angles), np.cos(angles)])


@pytest.mark.parametrize("max_distance, segments", [(None, True), (2, False)])
def test_each_score(max_distance, segments):
    layer = RelativeScores(RelativeSinusoids(max_distance), N, H, D)
    query, key = numbers((2, N, 5, H)), numbers((2, N, 5, H), 1)
    layer.build()
    fill(layer)
    content, position, segment = (
        ops.convert_to_numpy(bias.embeddings) for bias in (layer.content_bias, layer.position_bias, layer.segment_bias)
    )
    kernel = ops.convert_to_numpy(layer.position_key.kernel)
    segment_key = ops.convert_to_numpy(layer.segment_key.embeddings).reshape(2, N, H)
    same = np.random.default_rng(0).random((2, 5, 5)) < 0.5
    wanted = np.zeros((2, N, 5, 5))
    for b, n, t, s in np.ndindex(*wanted.shape):
        distance = t - s if max_distance is None else np.clip(t - s, -max_distance, max_distance)
        position_key = (sinusoid(distance) @ kernel).reshape(N, H)[n]
        wanted[b, n, t, s] = content[n] @ key[b, n, s] + (query[b, n, t] + position[n]) @ position_key
        if segments:
            wanted[b, n, t, s] += (query[b, n, t] + segment[n]) @ segment_key[0 if same[b, t, s] else 1, n]
    found = layer(query, key, same=ops.convert_to_tensor(same) if segments else None)
    assert relative_error(ops.convert_to_numpy(found), wanted) <= 1e-5


def test_padding_in_front_changes_nothing():
    layer = MultiHeadAttention(N, positions=RelativeSinusoids(), use_bias=False)
    layer.build((2, 6, D))
    fill(layer)
    x = numbers((2, 6, D))
    real = np.arange(6)[None].repeat(2, 0) >= 2
    found = ops.convert_to_numpy(layer(x, padding_mask=real))[:, 2:]
    assert relative_error(found, ops.convert_to_numpy(layer(x[:, 2:]))) <= 1e-5
