"""The head over the vocabulary of a model, from its configuration."""

import typing

from keras_transformers.layers.heads import VocabularyHead
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import arguments_of


def make_head(config: ModelConfig, dtype: typing.Any) -> VocabularyHead:
    """Make and build the head of a model, whose weights are new.

    Args:
        config: the model's configuration.
        dtype: the dtype, or the dtype policy, of the head.

    Raises:
        ValueError: if the head is tied to embeddings that are not as wide as the vectors that the head multiplies.
    """
    embeddings = config.target_embeddings
    width, table_width = config.head_dim or config.output_dim, embeddings.embedding_dim or config.hidden_dim
    if config.head.tied and width != table_width:
        raise ValueError(
            f"Expected embeddings of width {width}, as wide as the outputs, for a tied head without a transform, got "
            f"{table_width}. Give the head a transform, or tied=False."
        )
    arguments = arguments_of(config.head) | {"embedding_dim": config.head_dim}
    head = VocabularyHead(embeddings.vocabulary_size, **arguments, dtype=dtype, name="head")
    head.build((None, None, config.output_dim))
    return head
