import dataclasses

import pytest

import keras_transformers as kt
from keras_transformers.layers.heads import HeadConfig, TransformConfig
from keras_transformers.tasks.vocabulary_head import make_head

pytestmark = pytest.mark.one_backend("torch")


def narrow(head):
    """An encoder of width 16 with embeddings of width 8."""
    config = kt.models.encoder(11, num_layers=1, num_heads=2, hidden_dim=16, intermediate_dim=16)
    embeddings = dataclasses.replace(config.embeddings, embedding_dim=8)
    return dataclasses.replace(config, embeddings=embeddings, head=head)


@pytest.mark.parametrize(
    ("head", "shape"),
    [
        (HeadConfig(transform=TransformConfig()), None),
        (HeadConfig(tied=False, transform=TransformConfig()), (8, 11)),
        (HeadConfig(tied=False, transform=TransformConfig(), embedding_dim=6), (6, 11)),
        (HeadConfig(tied=False), (16, 11)),
    ],
)
def test_only_a_transform_narrows(head, shape):
    made = make_head(narrow(head), "float32")
    assert shape == (None if made.dense is None else tuple(made.dense.kernel.shape))
    assert made.transform is None or made.transform.dense.kernel.shape[1] == (head.embedding_dim or 8)


def test_a_tied_head_without_a_transform_needs_embeddings_as_wide_as_the_outputs():
    with pytest.raises(ValueError, match="Expected embeddings of width 16, as wide as the outputs, .* got 8. Give"):
        kt.MaskedLM(narrow(HeadConfig()))
