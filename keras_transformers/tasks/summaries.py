"""Summaries of texts, by `translate` with the settings that a checkpoint has for them."""

import dataclasses
import typing
from collections.abc import Callable

from keras_transformers import spelling
from keras_transformers.data.pairs import SOURCES
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.generation.hugging_face_settings import fields_of
from keras_transformers.generation.settings import GenerationConfig, without_effect


class Summaries:
    """The part of a `Seq2SeqLM` that summarizes texts, by `translate`."""

    # Defined by the other parts.
    translate: Callable[..., typing.Any]
    generation_config: Callable[..., GenerationConfig]
    _task_params: Callable[[], dict[str, typing.Any]]

    def summarize(self, texts: Texts, **options: typing.Any) -> typing.Any:
        """Summarize texts with a model trained for it. This is `translate` with the settings for summaries in the
        checkpoint, such as the prefix "summarize: " before each text.

        Args:
            texts: a string, or a list of strings.
            **options: arguments of `translate`, except languages and `prefix`.

        Example:
            >>> bart = kt.Seq2SeqLM.from_preset("hf://facebook/bart-large-cnn")
            >>> bart.summarize(article)
        """
        params = self._task_params().get("summarization") or {}
        texts, single = texts_of(texts, inputs=SOURCES)
        before, settings = params.get("prefix", ""), fields_of(params)
        known = {field.name for field in dataclasses.fields(GenerationConfig)}
        asked = {**settings, **{name: value for name, value in options.items() if name in known}}
        # Drop settings of the checkpoint that the caller made useless: they deserve no warning.
        inert = set().union(*without_effect(self.generation_config(**asked), settings))
        settings = {name: value for name, value in settings.items() if name not in inert}
        results = self.translate(
            [before + text if text.strip() else text for text in texts],
            **{**settings, **options},
        )
        if not single:
            return results
        return tuple(each[0] for each in results) if isinstance(results, tuple) else results[0]


spelling.spell_out(Summaries)
