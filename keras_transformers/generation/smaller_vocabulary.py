"""Decoding in a smaller vocabulary: the tokens that some sentences may use, numbered by their places.

    whole vocabulary   0 1 2 3 4 … 32000      prompts, settings and results of `generate`
    smaller one        0 1 2 3 … 1023         the same while decoding; `layers.choices` has the way back to the model

Tokens that settings name come first, so that settings say the same in each batch, and one compilation serves them all.
On backends that compile each shape, the size is 1,024, 8,192 or that of the whole vocabulary. Choices that fill it up
are allowed to no sentence.

A sentence has the same choices in each batch: tokens of other sentences are ruled out for it.

Legend: `B` sentences, `U` choices, `V` vocabulary.
"""

import dataclasses
import typing
from collections.abc import Sequence

import numpy as np

from keras_transformers.backends import execution
from keras_transformers.generation.decoding import Generated
from keras_transformers.generation.settings import GenerationConfig, named_ids, penalties

SMALLEST, STEP = 1024, 8  # the smallest size on backends that compile each shape, and how much larger the next one is
_NOWHERE = -2  # the place of a token that is not among the choices; -1 is padding


@dataclasses.dataclass(frozen=True)
class SmallerVocabulary:
    """The choices of a batch.

    Attributes:
        token_ids: int32 NumPy `[U]`, ids of the whole vocabulary.
        allowed: bool NumPy `[B, U]`, the choices of each sentence.
        config: the settings, with places for ids.
        places: int32 NumPy `[V]`, the place of each token; negative for tokens that are no choices.
    """

    token_ids: np.ndarray
    allowed: np.ndarray
    config: GenerationConfig
    places: np.ndarray

    @classmethod
    def of(
        cls,
        words: Sequence[np.ndarray],
        config: GenerationConfig,
        vocabulary_size: int,
        others: Sequence[int] = (),
    ) -> "SmallerVocabulary":
        """Make the vocabulary.

        Args:
            words: the tokens that each sentence may use, an int array for each.
            config: the settings. Tokens that they force, and tokens that end a text, are allowed to all sentences.
            vocabulary_size: `V`.
            others: tokens that have a place, although no sentence may use them, such as those of prompts.
        """
        named = list(dict.fromkeys(named_ids(config)))
        chosen = np.zeros(vocabulary_size, bool)
        for each in (*words, np.array(list(others), int)):
            chosen[each] = True
        chosen[named] = False
        token_ids = np.concatenate([named, np.flatnonzero(chosen)]).astype("int32")
        count = len(token_ids)
        size = count if execution.SHAPES_MAY_VARY else _size(count, vocabulary_size)
        token_ids = np.concatenate([token_ids, np.full(size - count, token_ids[0], "int32")])
        places = np.full(vocabulary_size, _NOWHERE, "int32")
        places[token_ids[:count]] = np.arange(count)
        allowed = np.zeros((len(words), size), bool)
        for row, each in zip(allowed, words, strict=True):
            row[places[each]] = True
        allowed[:, places[_always(config)]] = True
        if penalties(config) == penalties(GenerationConfig(suppress_tokens=config.suppress_tokens)):
            if config.num_beams == 1 and not config.log_probabilities:  # scores would be those of fewer tokens
                allowed[:, places[list(config.suppress_tokens)]] = False
                config = dataclasses.replace(config, suppress_tokens=())
        return cls(token_ids, allowed, _mapped(config, places), places)

    def at_places(self, token_ids: typing.Any) -> np.ndarray:
        """Places of an int array of ids; negative ids stay."""
        token_ids = np.asarray(token_ids)
        return np.where(token_ids < 0, token_ids, self.places[np.maximum(token_ids, 0)]).astype("int32")

    def whole(self, generated: Generated) -> Generated:
        """The result with ids of the whole vocabulary."""
        return generated._replace(token_ids=self.token_ids[generated.token_ids])

    def options(self, options: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """The arguments `sources`, `words` and `stop_rule` of `generate`, by places."""
        changed = dict(options)
        if changed.get("sources") is not None:
            changed["sources"] = self.at_places(changed["sources"])
        if changed.get("words"):
            changed["words"] = [[self.at_places(word).tolist() for word in each] for each in changed["words"]]
        if changed.get("stop_rule") is not None:
            rule = changed["stop_rule"]
            changed["stop_rule"] = lambda sentence, places: rule(sentence, self.token_ids[places])
        return changed


# The settings that name tokens.
_IDS = """
    bad_words_ids suppress_tokens begin_suppress_tokens start_id forced_start_id forced_end_id end_ids padding_id
    """.split()


def _size(count: int, vocabulary_size: int) -> int:
    """The size for a number of choices: one of few."""
    size = SMALLEST
    while size < count:
        size *= STEP
    return max(count, min(size, vocabulary_size))


def _always(config: GenerationConfig) -> list[int]:
    """The tokens that each text may use: those that end it, and those that are forced."""
    forced = [config.forced_start_id, config.forced_end_id]
    return [*config.end_ids, *(i for each in forced if each is not None for i in np.atleast_1d(each).tolist())]


def _mapped(config: GenerationConfig, places: np.ndarray) -> GenerationConfig:
    """The settings with places for ids."""

    def place(value: typing.Any) -> typing.Any:
        if isinstance(value, tuple):
            return tuple(place(each) for each in value)
        return None if value is None else int(places[value])

    return dataclasses.replace(config, **{name: place(getattr(config, name)) for name in _IDS})
