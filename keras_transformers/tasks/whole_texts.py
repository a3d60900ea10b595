"""Summaries of texts, and translations of documents sentence by sentence."""

import dataclasses
import typing
from collections.abc import Callable, Sequence

from keras_transformers import spelling
from keras_transformers.data.pairs import SOURCES
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.generation.hugging_face_settings import fields_of
from keras_transformers.generation.settings import GenerationConfig, without_effect
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.directions import Direction
from keras_transformers.tasks.translation import Documents, SourceOptions
from keras_transformers.tokenizers.tokenizer import Tokenizer


class WholeTexts:
    """The part of a `Seq2SeqLM` that summarizes texts and translates documents, by `translate`."""

    # Defined by the other part.
    translate: Callable[..., typing.Any]
    direction: Callable[..., tuple[Direction, GenerationConfig]]
    generation_config: Callable[..., GenerationConfig]
    _task_params: Callable[[], dict[str, typing.Any]]
    _tokenizer: Callable[[], Tokenizer]
    _source_options: Callable[..., SourceOptions]

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

    def translate_document(
        self,
        texts: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        max_length: int = 512,
        batch_size: int = 32,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
        protect: typing.Any = None,
        **generation: typing.Any,
    ) -> str | list[str]:
        """Translate texts of any length sentence by sentence, keeping line ends, blank lines and indentation.

        A sentence longer than the model reads is translated in pieces. Text without a letter, such as a rule of dashes,
        stays unchanged.

        Args:
            texts: a string, or a list of strings.
            source_language, target_language, batch_size: as for `translate`.
            max_length: the most tokens of a piece; fewer if the model reads or writes fewer.
            names: names for the texts in warnings, as for `translate`.
            progress: a function called with the number of finished sentences, after each batch.
            protect: as for `translate`; tags are aligned within their sentence.
            **generation: as for `translate`, except `num_return_sequences` above 1.

        Returns: a string for a string, a list for a list.

        Raises:
            TypeError, ValueError: as `translate`.

        Example:
            >>> translator.translate_document(pathlib.Path("letter.txt").read_text())
        """
        generation = {"num_return_sequences": 1, **generation}
        direction, config = self.direction(source_language, target_language, **generation)
        if config.num_return_sequences > 1:
            raise ValueError(
                f"Expected num_return_sequences=1 for a document, got {config.num_return_sequences}. Translate "
                "sentences with translate to see several results."
            )
        texts, single = texts_of(texts, inputs=SOURCES)
        options = self._source_options(direction, names=names)
        documents = Documents(self._tokenizer(), texts, options, config, max_length)
        settings = {"batch_size": batch_size, "names": documents.names, "progress": progress, **generation}
        settings |= {} if protect is None else {"protect": protect}
        joined = documents.joined(self.translate(documents.sentences, source_language, target_language, **settings))
        return joined[0] if single else joined


spelling.spell_out(WholeTexts)
