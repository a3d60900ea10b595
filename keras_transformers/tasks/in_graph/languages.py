"""The languages of a translator in a graph: names to token ids, and first tokens that differ from row to row.

Legend: `N` texts, `R` rows, `V` vocabulary.
"""

import dataclasses
import typing

import tensorflow as tf

from keras_transformers.data.language_names import language_of
from keras_transformers.generation.penalties import Forced, History


class LanguageIds(tf.Module):
    """The token ids of languages, by the codes of the checkpoint and by their names.

    Args:
        tokenizer: a `Tokenizer` with languages.
    """

    def __init__(self, tokenizer: typing.Any) -> None:
        super().__init__()
        ids: dict[str, int] = {}
        for code, token_id in tokenizer.languages.items():
            language = language_of(code)
            for name in (code, *(() if language is None else (*language.codes, *language.names))):
                ids.setdefault(name, token_id)
        ids |= tokenizer.languages  # a code of the checkpoint comes before other names
        self._known = ", ".join(tokenizer.languages)
        values = tf.lookup.KeyValueTensorInitializer([*ids], [*ids.values()], tf.string, tf.int32)
        self._table = tf.lookup.StaticHashTable(values, -1)

    def __call__(self, languages: tf.Tensor) -> tf.Tensor:
        """The ids, int32 `[N]`, of languages, strings `[N]`. An unknown one is an error that lists the known ones."""
        ids = self._table.lookup(languages)
        with tf.control_dependencies(
            [tf.debugging.Assert(tf.reduce_all(ids >= 0), [f"Expected languages among {self._known}, got", languages])]
        ):
            return tf.identity(ids)

    def forced(self, penalties: tuple[typing.Any, ...], token_ids: tf.Tensor) -> tuple[typing.Any, ...]:
        """Penalties whose forced first token is that of each row, int32 `[R]`."""
        return tuple(
            ForcedByRow(token_ids) if isinstance(each, Forced) and not each.at_end else each for each in penalties
        )


@dataclasses.dataclass(frozen=True, eq=False)
class ForcedByRow:
    """Makes a token of each row certain, as the first one after a prompt of one token.

    token_ids: int32 `[R]`.
    """

    token_ids: tf.Tensor

    def __call__(self, logits: tf.Tensor, history: History) -> tf.Tensor:
        named = tf.one_hot(self.token_ids, logits.shape[-1], True, False, dtype=tf.bool)
        return tf.where(history.end == 1, tf.where(named, 0.0, float("-inf")), logits)


def check_languages(task: typing.Any, source: str | None, target: str | None) -> dict[str, str]:
    """Languages to make the settings of a graph with, if it is told them in each call; none if they are given here, or
    if the model needs none."""
    tokenizer = task._tokenizer()
    if target is not None or tokenizer.language_place is None or tokenizer.target_language is not None:
        return {}
    some = next(iter(tokenizer.languages))
    return {"target_language": some, **({} if source is None else {"source_language": source})}
