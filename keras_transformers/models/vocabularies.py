"""The vocabularies of an encoder-decoder."""

import typing

from keras_transformers.models.config import ModelConfig


class Vocabularies(typing.NamedTuple):
    """The numbers of source and target tokens, without a start token behind them; and whether both are one
    vocabulary."""

    source_size: int
    target_size: int
    shared: bool

    @classmethod
    def of(cls, config: ModelConfig) -> "Vocabularies":
        """The vocabularies of a configuration."""
        own, target = config.decoder_embeddings, config.target_embeddings
        target_size = target.vocabulary_size if target.zero_id is None else target.zero_id
        shared = own is None or own.shared_tokens
        return cls(target_size if shared else config.embeddings.vocabulary_size, target_size, shared)
