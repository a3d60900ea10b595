"""The lexical shortlist of an encoder-decoder: for each batch the tokens that its sentences may use.

Legend: `B` sentences, filled up to `R` with copies of the first; `U` choices.
"""

import typing
from collections.abc import Sequence

import numpy as np

from keras_transformers.backends import arrays
from keras_transformers.files.marian_shortlist import Shortlist
from keras_transformers.generation import executors
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.generation.smaller_vocabulary import SmallerVocabulary
from keras_transformers.layers.cache import Cache
from keras_transformers.layers.choices import Choices
from keras_transformers.models.config import ModelConfig
from keras_transformers.models.vocabularies import Vocabularies

FILE = "shortlist.bin"  # in a preset's folder


def check(shortlist: Shortlist, config: ModelConfig) -> None:
    """Refuse a shortlist of other vocabularies.

    Raises:
        TypeError, ValueError: for another object, and a shortlist with tokens that the model lacks.
    """
    if not isinstance(shortlist, Shortlist):
        raise TypeError(f"Expected shortlist to be a Shortlist or None, got {shortlist!r:.80}.")
    vocabularies = Vocabularies.of(config)
    shortlist.check(vocabularies.source_size, vocabularies.target_size, "the arguments")


def smaller_vocabulary(
    task: typing.Any,
    sources: Sequence[list[int]],
    config: GenerationConfig,
    rows: int,
    prefixes: Sequence[list[int]] | None = None,
    words: Sequence[Sequence[Sequence[int]]] | None = None,
) -> SmallerVocabulary | None:
    """The choices of a batch; None if the settings do not want the shortlist.

    Args:
        task: a `Seq2SeqLM` with a shortlist.
        sources: the ids of each source.
        config: the settings.
        rows: `R`.
        prefixes: the ids that each result begins with. They are known, and not allowed for that.
        words: the forced words of each sentence, which are allowed.
    """
    if not config.shortlist:
        return None
    vocabularies = Vocabularies.of(task.config)
    found = [task.shortlist.words(each, vocabularies.target_size, vocabularies.shared) for each in sources]
    if words:
        forced = [np.array([i for word in each for i in word], int) for each in words]
        found = [np.union1d(own, forced[place]) for place, own in enumerate(found)]
    found += found[:1] * (rows - len(found))
    others = [i for prefix in prefixes or () for i in prefix]
    return SmallerVocabulary.of(found, config, task.config.target_embeddings.vocabulary_size, others)


@executors.without_gradients
def with_choices(task: typing.Any, cache: Cache, vocabulary: SmallerVocabulary) -> Cache:
    """A cache in which only these tokens may be written, with their rows of the head."""
    token_ids = arrays.tensor(vocabulary.token_ids)
    matrix, bias = task.head.rows(token_ids, task.backbone.decoder_embedding)
    return cache._replace(choices=Choices(token_ids, arrays.tensor(vocabulary.allowed), matrix, bias))
