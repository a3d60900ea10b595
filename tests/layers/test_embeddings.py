"""Options of the embeddings and of the vocabulary head that few encoders have."""

import numpy as np
import pytest
from keras import ops

from keras_transformers.layers import HeadConfig, Learned, PositionalEmbedding, TokenDropout, TransformConfig
from keras_transformers.layers.heads import VocabularyHead
from tests.layers.reference import fill, numbers, relative_error


def test_each_token_gets_the_vector_of_the_first_task():
    layer = PositionalEmbedding(20, 6, positions=Learned(10), scale=False, num_tasks=3)
    layer.build()
    fill(layer)
    ids = np.array([[3, 1, 4], [1, 5, 9]], "int32")
    token, position, task = (
        ops.convert_to_numpy(each.embeddings) for each in (layer.token, layer.position, layer.task)
    )
    assert task.shape == (3, 6)
    assert relative_error(ops.convert_to_numpy(layer(ids)), token[ids] + position[:3] + task[0]) <= 1e-6


def test_masked_tokens_have_no_vector_and_the_others_are_scaled():
    layer = PositionalEmbedding(20, 6, scale=False, token_dropout=TokenDropout(7, 0.2), padding_id=0)
    layer.build()
    fill(layer)
    ids = np.array([[3, 7, 4, 5, 0], [1, 5, 9, 2, 6], [7, 7, 0, 0, 0], [0, 0, 0, 0, 0]], "int32")
    scale = np.where(ids == 7, 0.0, np.array([[0.8 / (1 - 1 / 4)], [0.8], [0.0], [0.8]]))
    wanted = ops.convert_to_numpy(layer.token.embeddings)[ids] * scale[:, :, None]
    found = ops.convert_to_numpy(layer(ids))
    real = ids != 0
    assert relative_error(found[real], wanted[real]) <= 1e-6
    with pytest.raises(ValueError, match="Expected a padding_id, which TokenDropout"):
        PositionalEmbedding(20, 6, token_dropout=TokenDropout(7))


def test_a_head_may_have_a_width_of_its_own():
    config = HeadConfig(tied=False, transform=TransformConfig("relu", None), embedding_dim=5)
    head = VocabularyHead(11, tied=False, transform=config.transform, embedding_dim=5)
    head.build((None, None, 6))
    fill(head)
    inputs = numbers((2, 3, 6))
    narrow, bias = (ops.convert_to_numpy(weight) for weight in head.transform.dense.weights)
    wanted = np.maximum(inputs @ narrow + bias, 0) @ ops.convert_to_numpy(head.dense.kernel)
    assert narrow.shape == (6, 5)
    assert relative_error(ops.convert_to_numpy(head(inputs)), wanted) <= 1e-6


def test_a_head_without_a_transform_has_no_width_of_its_own():
    with pytest.raises(ValueError, match="Expected a transform with embedding_dim=5, .* Give a TransformConfig, or"):
        VocabularyHead(11, embedding_dim=5)


@pytest.mark.parametrize("other", [{"tied": True}, {"transform": None}])
def test_a_tied_head_has_the_width_of_the_embeddings(other):
    with pytest.raises(ValueError, match="Expected tied=False and a transform with embedding_dim=5, got tied="):
        HeadConfig(**{"tied": False, "transform": TransformConfig(), "embedding_dim": 5} | other)
