"""One face over all models that translate: encoder-decoders, and decoders that are asked by a prompt.

texts ─► Seq2SeqLM         an encoder-decoder
      └► PromptedDecoder   a CausalLM with a PromptTemplate
"""

import os
import typing
import warnings
from collections.abc import Iterator

from keras_transformers import spelling
from keras_transformers.callers import outside
from keras_transformers.data.sources import Texts
from keras_transformers.data.translation_templates import PromptTemplate, find_template
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.tasks import presets
from keras_transformers.tasks.causal_lm import CausalLM
from keras_transformers.tasks.prompted import PromptedDecoder
from keras_transformers.tasks.seq2seq_lm import Seq2SeqLM
from keras_transformers.tasks.stacks import wrong_stacks
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training import translation_scores
from keras_transformers.training.translation_scores import Evaluation

# Tasks that a translator's preset may be made for: a body alone is a TextEmbedder, and None if the files say nothing.
_WRITERS = ("Seq2SeqLM", "CausalLM", "TextEmbedder", None)


class Translator:
    """A model that translates, whatever its architecture. `from_preset` loads one.

    Args:
        model: a `Seq2SeqLM`, or a `CausalLM` that knows how to translate.
        template: how a `CausalLM` is asked: the name of a published prompt ("hy-mt", "tower", "alma",
            "translate-gemma", …), a text with `{source}`, `{target}` and `{text}`, or a `PromptTemplate`; by default
            the prompt that the model's files show.

    Attributes:
        model: the model. It trains, and is saved.
        template: the `PromptTemplate`; None for an encoder-decoder.

    Raises:
        TypeError, ValueError: for another model, an unknown template, or a decoder that shows none.

    Example:
        >>> translator = kt.Translator.from_preset("hf://tencent/HY-MT1.5-1.8B")
        >>> translator.translate(["The house is small."], "English", "French")  # doctest: +SKIP
        ['La maison est petite.']
    """

    def __init__(self, model: typing.Any, template: str | PromptTemplate | None = None) -> None:
        if not isinstance(model, Seq2SeqLM | CausalLM):
            raise TypeError(f"Expected a Seq2SeqLM or a CausalLM, got {type(model).__name__}.")
        self.model = model
        self.template: PromptTemplate | None = None
        self._part: Seq2SeqLM | PromptedDecoder
        if isinstance(model, Seq2SeqLM):
            if template is not None:
                raise ValueError(
                    f"Expected no template for an encoder-decoder, which needs no prompt, got {template!r}."
                )
            self._part = model
        else:
            values = getattr(model.origin, "values", None) or {}
            chat_template = model._tokenizer().chat_template
            self.template = find_template(template, chat_template, values.get("model_type"))
            self._part = PromptedDecoder(model, self.template)

    def __repr__(self) -> str:
        return f"Translator({type(self.model).__name__}, template={self.template!r})"

    def __getattr__(self, name: str) -> typing.Any:
        error = spelling.missing_attribute(self, name)
        if name != "model" and hasattr(type(self.model), name):
            error = AttributeError(
                f"'Translator' has no attribute {name!r}, but its model has: translator.model.{name}."
            )
        raise error

    @classmethod
    def from_preset(
        cls, name: str | os.PathLike[str], *, template: str | PromptTemplate | None = None, **options: typing.Any
    ) -> "Translator":
        """Load a preset as a `Seq2SeqLM` if it has an encoder and a decoder, or else as a `CausalLM`.

        Args:
            name: as for `Task.from_preset`: a name, a folder, `hf://org/name`, a GGUF file.
            template: as for `Translator`.
            **options: other arguments of `Task.from_preset`, such as `dtype`.

        Raises:
            FileNotFoundError, TypeError, ValueError: as `Task.from_preset` and `Translator`; for a classifier, an
                embedder or an encoder, which write no text.
        """
        checkpoint = presets.opened(name, options.get("model_type"))
        expected, config = "a preset of a model that writes text, an encoder-decoder or a decoder", checkpoint.config
        if config.decoder is None:
            raise wrong_stacks(expected, config)
        if checkpoint.task not in _WRITERS:
            raise ValueError(f"Expected {expected}, got one that was made for kt.{checkpoint.task}: {name}.")
        task = CausalLM if config.encoder is None else Seq2SeqLM
        return cls(task.from_preset(name, **options), template)

    def _languages(self, source: str | None, target: str | None) -> dict[str, typing.Any]:
        """The languages for the model; none for an encoder-decoder that neither takes languages nor names its own."""
        languages = {"source_language": source, "target_language": target}
        if not isinstance(self.model, Seq2SeqLM):
            return languages
        tokenizer = self.model._tokenizer()
        takes = tokenizer.language_place is not None or any(tokenizer.language_pair) or self.model._task_params()
        if takes or not any(languages.values()):
            return languages
        warnings.warn(
            "The model is told no language, and its files name none: source_language and target_language change "
            "nothing. It translates the pair that it was trained on.",
            stacklevel=outside(),
        )
        return {}

    def translate(
        self,
        texts: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        **options: typing.Any,
    ) -> typing.Any:
        """Translate texts. Takes the arguments of `Seq2SeqLM.translate`, whatever the model.

        A decoder is asked by its template, once for each text; its answer ends at the end token or where the template
        says.

        Args:
            texts: a string, or any container of strings.
            source_language, target_language: an English name, a code of two or three letters, or the code of the
                checkpoint.
            **options: `num_beams`, `return_scores`, `prefix`, `forced_words`, `glossary`, `protect`, `rerank`, … as for
                `Seq2SeqLM.translate`; `parse_special` needs an encoder-decoder.

        Returns: as `Seq2SeqLM.translate`.

        Raises:
            TypeError, ValueError: as `Seq2SeqLM.translate`, and for a language that the template does not know; the
                error gives the nearest names.
        """
        return self._part.translate(texts, **self._languages(source_language, target_language), **options)

    def stream(
        self,
        text: str,
        source_language: str | None = None,
        target_language: str | None = None,
        **options: typing.Any,
    ) -> Iterator[str]:
        """Translate one text as a stream: an iterator of strings that together make the result of `translate`. Takes
        the arguments of `Seq2SeqLM.stream`."""
        return self._part.stream(text, **self._languages(source_language, target_language), **options)

    def translate_document(
        self,
        texts: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        **options: typing.Any,
    ) -> str | list[str]:
        """Translate texts of any length. An encoder-decoder reads sentence by sentence, a decoder line by line. Takes
        the arguments of `Seq2SeqLM.translate_document`."""
        return self._part.translate_document(texts, **self._languages(source_language, target_language), **options)

    def score(
        self,
        sources: Texts,
        targets: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        **options: typing.Any,
    ) -> typing.Any:
        """Log-likelihood of given translations: the sum of the natural logarithms of the token probabilities, including
        the end. Takes the arguments of `Seq2SeqLM.score`.

        Example:
            >>> translator.score("The cat sleeps.", "Le chat dort.", "English", "French")  # doctest: +SKIP
        """
        return self._part.score(sources, targets, **self._languages(source_language, target_language), **options)

    def align(
        self,
        sources: Texts,
        targets: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        **options: typing.Any,
    ) -> typing.Any:
        """Align the words of translations with those of their sources: as `Seq2SeqLM.align`.

        Raises:
            ValueError: for a decoder, which has no attention between the two texts alone.
        """
        return self._part.align(sources, targets, **self._languages(source_language, target_language), **options)

    def evaluate(
        self,
        source_texts: Texts,
        references: typing.Any,
        source_language: str | None = None,
        target_language: str | None = None,
        **options: typing.Any,
    ) -> Evaluation:
        """Translate a test set, and score the translations.

        Args:
            source_texts, references: lists of as many strings; a reference may be a list of alternatives.
            source_language, target_language: as for `translate`.
            **options: `metrics`, of "bleu", "chrf", "chrf++" and "ter" (by default the first two); `scorer`, a
                `TranslationScorer`; all other arguments of `translate`, such as `num_beams`.

        Returns: an `Evaluation`: `translations`, and a `SystemScore` for each judge in `scores`.

        Raises:
            TypeError, ValueError: for values that are not texts, lists of unequal length or empty ones, and unknown
                metrics.

        Example:
            >>> print(translator.evaluate(english, french, metrics=("chrf++", "ter")).table())  # doctest: +SKIP
        """
        languages = self._languages(source_language, target_language)
        return translation_scores.evaluate(self._part, source_texts, references, **languages, **options)

    # What files of any length need (`apps/files.py`), and judges

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the model."""
        return self.model._tokenizer()

    @property
    def config(self) -> typing.Any:
        """The `ModelConfig`; for a decoder with the template, so that a changed one is another translator."""
        return self.model.config if self.template is None else (self.model.config, self.template)

    @property
    def generation(self) -> GenerationConfig:
        """The generation settings of the model."""
        return self.model.generation

    @property
    def weights(self) -> list[typing.Any]:
        """The weights of the model."""
        return self.model.weights

    def generation_config(self, **changes: typing.Any) -> GenerationConfig:
        """The model's `GenerationConfig` with changes."""
        return self._part.generation_config(**changes)


spelling.spell_out(Translator)
