"""The vocabulary and the configuration of a model that is trained on sentence pairs."""

import typing
from collections.abc import Iterable

from keras_transformers.models.config import ModelConfig
from keras_transformers.models.recipes import transformer
from keras_transformers.tokenizers.tokenizer import Tokenizer


def learn_vocabulary(
    sources: Iterable[str], targets: Iterable[str], *, shared: bool = True, **options: typing.Any
) -> Tokenizer:
    """Train a `Tokenizer` on sentence pairs, with a second one for the target unless `shared`. `options` go to
    `Tokenizer.train`."""
    if shared:
        return Tokenizer.train([*sources, *targets], **options)
    return Tokenizer.train(sources, **options).with_target(Tokenizer.train(targets, **options))


def config_for(tokenizer: Tokenizer, **fields: typing.Any) -> ModelConfig:
    """Return the `ModelConfig` that `kt.models.transformer` makes from `fields` for this tokenizer's vocabularies."""
    if tokenizer.target is not None:
        fields |= {"shared_embeddings": False, "target_vocabulary_size": tokenizer.target_vocabulary_size}
    return transformer(tokenizer.vocabulary_size, padding_id=tokenizer.padding_id, **fields)
