"""One face over all models that translate: encoder-decoders, and decoders that are asked by a prompt.

texts ─► Seq2SeqLM.translate                                           an encoder-decoder
      └► PromptTemplate ─► chat template ─► CausalLM ─► cut ─► texts   a decoder
"""

import os
import re
import typing
import warnings
from collections.abc import Sequence

from keras_transformers import spelling
from keras_transformers.callers import outside
from keras_transformers.data.pairs import SOURCES
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.data.translation_templates import PromptTemplate, find_template
from keras_transformers.formats import sources
from keras_transformers.generation.settings import GenerationConfig, names_a_limit
from keras_transformers.tasks import candidates, notices, protected
from keras_transformers.tasks.answers import Answers, Progress, Prompt
from keras_transformers.tasks.causal_lm import CausalLM
from keras_transformers.tasks.seq2seq_lm import Seq2SeqLM
from keras_transformers.tokenizers.languages import has_letter
from keras_transformers.tokenizers.tokenizer import Tokenizer

_MARK = "TEXTTOTRANSLATE"  # stands for the text while a chat template is rendered
_LINE = re.compile(r"([^\S\n]*)([^\n]*?)([^\S\n]*(?:\n|$))")


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
        if isinstance(model, CausalLM):
            values = getattr(model.origin, "values", None) or {}
            chat_template = model._tokenizer().chat_template
            self.template = find_template(template, chat_template, values.get("model_type"))
        elif template is not None:
            raise ValueError(f"Expected no template for an encoder-decoder, which needs no prompt, got {template!r}.")

    def __repr__(self) -> str:
        return f"Translator({type(self.model).__name__}, template={self.template!r})"

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
            FileNotFoundError, TypeError, ValueError: as `Task.from_preset` and `Translator`.
        """
        root = sources.resolve(name)
        opened = Seq2SeqLM._open_checkpoint(root, options.get("model_type"))
        has_both = opened.config.encoder is not None and opened.config.decoder is not None
        task = Seq2SeqLM if has_both else CausalLM
        return cls(task.from_preset(name, **options), template)

    def translate(
        self,
        texts: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        batch_size: int = 32,
        return_scores: bool = False,
        keep_letterless: bool = True,
        names: Sequence[str] | None = None,
        progress: Progress | None = None,
        rerank: typing.Any = None,
        num_candidates: int | None = None,
        protect: typing.Any = None,
        **generation: typing.Any,
    ) -> typing.Any:
        """Translate texts. Takes the arguments of `Seq2SeqLM.translate`, whatever the model.

        A decoder is asked by its template, once for each text; its answer ends at the end token or where the template
        says. `prefix`, `forced_words` and `parse_special` need an encoder-decoder.

        Args:
            source_language, target_language: an English name, a code of two or three letters, or the code of the
                checkpoint.

        Returns: as `Seq2SeqLM.translate`.

        Raises:
            TypeError, ValueError: as `Seq2SeqLM.translate`, and for a language that the template does not know; the
                error gives the nearest names.
        """
        common: dict[str, typing.Any] = {"keep_letterless": keep_letterless, "names": names, "progress": progress}
        languages = {"source_language": source_language, "target_language": target_language}
        if isinstance(self.model, Seq2SeqLM):
            options = {**common, **generation, **self._told(languages), "batch_size": batch_size}
            options |= {"return_scores": return_scores, "protect": protect}
            options |= {"rerank": rerank, "num_candidates": num_candidates}
            return self.model.translate(texts, **options)
        if protect is not None and protect is not False:
            options = {**common, **languages, **generation, "batch_size": batch_size, "return_scores": return_scores}
            options |= {"rerank": rerank, "num_candidates": num_candidates}
            return protected.translate_protected(self, texts, protect, options)
        if rerank is not None or num_candidates is not None:
            judging = candidates.Judging(rerank, num_candidates, batch_size, return_scores)
            return candidates.translate_with(self, texts, judging, {**common, **languages}, generation)
        return self._ask(texts, source_language, target_language, batch_size, return_scores, common, generation)

    def _told(self, languages: dict[str, typing.Any]) -> dict[str, typing.Any]:
        """The languages for an encoder-decoder; none for one that neither takes languages nor names its own."""
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

    # Decoders

    def _ask(
        self,
        texts: Texts,
        source: str | None,
        target: str | None,
        batch_size: int,
        return_scores: bool,
        common: dict[str, typing.Any],
        generation: dict[str, typing.Any],
    ) -> typing.Any:
        """Translate by a decoder."""
        model, template = self.model, typing.cast(PromptTemplate, self.template)
        if template.cut:
            generation = {"stop": template.cut, **generation}
        config = model.generation_config(**generation)
        model._check_effect(config, generation, return_scores)
        texts, single = texts_of(texts, inputs=SOURCES)
        around = self._around(template, source, target)
        asked = []
        for text in texts:
            is_asked = text.strip() and (has_letter(text) or not common["keep_letterless"])
            asked.append(Prompt(self._ids(text.strip(), around)) if is_asked else Prompt([], answer=text.strip()))
        answers = Answers(asked, config, model._wording(config))
        scored = config.scored() if return_scores else config
        for batch in answers.batches(batch_size, common["progress"]):
            ids = [asked[index].token_ids for index in batch]
            answers.add(batch, model.generate_ids(ids, scored, answers.rows(batch_size), batch))
        if answers.cut and not names_a_limit(generation):
            notices.warn_of_cut(answers.cut, len(asked), common["names"], model._longest("embeddings"), "translations")
        results = answers.results(single, return_scores)
        return (_stripped(results[0]), results[1]) if return_scores else _stripped(results)

    def _around(self, template: PromptTemplate, source: str | None, target: str | None) -> tuple[str, ...]:
        """The prompt in two parts: before the text, and behind it."""
        content = template.prompt(_MARK, source, target)
        if template.in_chat:
            messages = [{"role": "user", "content": content}]
            content = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        parts = tuple(content.split(_MARK))
        if len(parts) != 2:
            raise ValueError(
                f"Expected a chat template that writes the message of the user once, got one that writes it "
                f"{len(parts) - 1} times. Give a template for plain texts."
            )
        return parts

    def _ids(self, text: str, around: tuple[str, ...]) -> list[int]:
        """The ids of a prompt. Special tokens that the text itself spells are read as text."""
        before, after = around
        is_chat = typing.cast(PromptTemplate, self.template).in_chat
        if not is_chat:
            return self.model._encode([before + text + after])[0]
        if not self.tokenizer.spelled_special([text]):
            return self.tokenizer.encode([before + text + after], parse_special=True)[0]
        parts = ((before, True), (text, False), (after, True))
        return [i for part, special in parts if part for i in self.tokenizer.encode([part], parse_special=special)[0]]

    def translate_document(
        self,
        texts: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        **options: typing.Any,
    ) -> str | list[str]:
        """Translate texts of any length. An encoder-decoder reads sentence by sentence, a decoder line by line.

        Args:
            texts: a string, or a list of strings. Line ends, blank lines and indentation stay.
            source_language, target_language, **options: as for `translate`.

        Returns: a string for a string, a list for a list.
        """
        if isinstance(self.model, Seq2SeqLM):
            told = self._told({"source_language": source_language, "target_language": target_language})
            return self.model.translate_document(texts, **told, **options)
        texts, single = texts_of(texts, inputs=SOURCES)
        documents = [_LINE.findall(text) for text in texts]
        lines = [line for document in documents for _, line, _ in document]
        options = {name: value for name, value in options.items() if name not in ("names", "max_length")}
        made = iter(self.translate(lines, source_language, target_language, **options))
        joined = ["".join(before + next(made) + after for before, _, after in document) for document in documents]
        return joined[0] if single else joined

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
        return self.model.generation_config(**changes)


def _stripped(results: typing.Any) -> typing.Any:
    """Remove spaces around texts, in lists too."""
    return results.strip() if isinstance(results, str) else [_stripped(each) for each in results]


spelling.spell_out(Translator)
