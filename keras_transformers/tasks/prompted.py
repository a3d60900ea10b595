"""A decoder that translates because a prompt asks for it.

text ─► PromptTemplate ─► chat template ─► the decoder continues ─► cut where the template says
"""

import typing
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from keras_transformers import spelling
from keras_transformers.data.containers import as_text
from keras_transformers.data.glossary import Term
from keras_transformers.data.pairs import SOURCES
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.data.translation_templates import PromptTemplate
from keras_transformers.generation.settings import NEW_TOKENS, GenerationConfig, names_a_limit
from keras_transformers.tasks import notices
from keras_transformers.tasks.answers import Answers, Progress, Prompt
from keras_transformers.tasks.causal_lm import CausalLM
from keras_transformers.tasks.given_translations import given_texts
from keras_transformers.tasks.scoring import log_probabilities
from keras_transformers.tasks.translating import STREAMS, Request, Translating
from keras_transformers.tasks.translation import Documents, word_ids
from keras_transformers.tokenizers.languages import has_letter
from keras_transformers.tokenizers.tokenizer import Tokenizer

_MARK = "TEXTTOTRANSLATE"  # stands for the text while a chat template is rendered


class PromptedDecoder(Translating):
    """Translates by a decoder. `Translator` has one for each decoder.

    Args:
        model: a `CausalLM` with a tokenizer.
        template: a `PromptTemplate`.
    """

    passes_on = CausalLM.passes_on
    advice = {"stream": STREAMS}

    def __init__(self, model: CausalLM, template: PromptTemplate) -> None:
        self.model = model
        self.template = template
        self.takes_terms = template.takes_terms

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the model."""
        return self.model._tokenizer()

    def generation_config(self, **changes: typing.Any) -> GenerationConfig:
        """The model's `GenerationConfig` with changes, and with the strings that end a translation."""
        return self.model.generation_config(**self._cutting(changes))

    def _cutting(self, generation: dict[str, typing.Any]) -> dict[str, typing.Any]:
        return {"stop": self.template.cut, **generation} if self.template.cut else generation

    def _translate(self, texts: Texts, request: Request) -> typing.Any:
        """Translate texts as the request says."""
        if request.parse_special:
            raise ValueError(
                "Expected parse_special=False for a decoder, whose prompt would change by special tokens of a text, "
                "got True. Write such tokens into a PromptTemplate."
            )
        config = self.generation_config(**request.generation)
        self.model._check_effect(config, request.generation, request.return_scores)
        texts, single = texts_of(texts, inputs=SOURCES)
        prompts = self._prompts(texts, request)
        answers = Answers(prompts, config, self.model._wording(config))
        scored = config.scored() if request.return_scores else config
        for batch in answers.batches(request.batch_size, request.progress):
            ids, words = [prompts[index].token_ids for index in batch], [prompts[index].words for index in batch]
            rows = answers.rows(request.batch_size)
            answers.add(batch, self.model.generate_ids(ids, scored, rows, batch, words=words))
        if answers.cut:
            longest = self.model._longest("embeddings")
            notices.warn_of_cut(answers.cut, len(prompts), request.names, longest, "translations")
        if request.prefix:
            before = _of_each(request.prefix, len(texts))
            answers.put_before([each if prompt.token_ids else "" for each, prompt in zip(before, prompts, strict=True)])
        results = answers.results(single, request.return_scores)
        return (_stripped(results[0]), results[1]) if request.return_scores else _stripped(results)

    def _prompts(self, texts: list[str], request: Request) -> list[Prompt]:
        """The prompt of each text; the answer for a text that needs no model."""
        around = self._around(request.source_language, request.target_language)
        of_terms: dict[tuple[Term, ...], tuple[str, str]] = {(): around}
        prefixes = _of_each(request.prefix, len(texts))
        words = (
            [[]] * len(texts) if not request.forced_words else word_ids(request.forced_words, len(texts), self._plain)
        )
        prompts = []
        for number, text in enumerate(map(str.strip, texts)):
            forced = bool(prefixes[number] or words[number] or not request.keep_letterless)
            if not text or not (forced or has_letter(text)):
                prompts.append(Prompt([], answer=text))
                continue
            terms = tuple(request.terms[number]) if request.terms else ()
            if terms not in of_terms:
                of_terms[terms] = self._around(request.source_language, request.target_language, terms)
            ids = self._ids(text, of_terms[terms], prefixes[number])
            self._check_length(len(ids), request.names[number] if request.names else f"index {number}")
            prompts.append(Prompt(ids, words=words[number]))
        return prompts

    def _check_length(
        self, length: int, name: str, advice: str = "translate_document takes long texts in pieces."
    ) -> None:
        longest = self.model._longest("embeddings")
        if longest is not None and length > longest:
            raise ValueError(
                f"Expected prompts of at most {longest} tokens, which the model has positions for, got {length} at "
                f"{name}. {advice}"
            )

    def _plain(self, text: str) -> list[int]:
        return self.tokenizer.encode([text])[0]

    def _around(self, source: str | None, target: str | None, terms: Sequence[Term] = ()) -> tuple[str, str]:
        """The prompt in two parts: before the text, and behind it."""
        content = self.template.prompt(_MARK, source, target, terms)
        if self.template.in_chat:
            messages = [{"role": "user", "content": content}]
            content = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True)
        before, *after = content.split(_MARK)
        if len(after) != 1:
            raise ValueError(
                f"Expected a chat template that writes the message of the user once, got one that writes it "
                f"{len(after)} times. Give a template for plain texts."
            )
        return before, after[0]

    def _ids(self, text: str, around: tuple[str, str], answer: str = "") -> list[int]:
        """The ids of a prompt, and of the beginning of its answer. Special tokens that these texts spell are read as
        text."""
        before, after = around
        if not self.template.in_chat:
            answer = answer if not answer or after[-1:].isspace() else f" {answer}"
            return self.model._encode([before + text + after + answer])[0]
        if not self.tokenizer.spelled_special([text, answer]):
            return self.tokenizer.encode([before + text + after + answer], parse_special=True)[0]
        parts = ((before, True), (text, False), (after, True), (answer, False))
        return [i for part, special in parts if part for i in self.tokenizer.encode([part], parse_special=special)[0]]

    def stream(
        self,
        text: str,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        keep_letterless: bool = True,
        **generation: typing.Any,
    ) -> Iterator[str]:
        """Translate one text as a stream: as `Seq2SeqLM.stream`."""
        config = self.generation_config(**{"num_beams": 1, "num_return_sequences": 1, **generation})
        self.model._check_effect(config, generation)
        text = as_text(text, "the text").strip()
        around = self._around(source_language, target_language)
        if not text or (keep_letterless and not has_letter(text)):
            yield from filter(None, [text])
            return
        ids = self._ids(text, around)
        self._check_length(len(ids), "index 0")
        yield from _without_ends(self.model.stream_ids(ids, config, limited=names_a_limit(generation)))

    def _documents(
        self,
        texts: list[str],
        source_language: str | None,
        target_language: str | None,
        names: Sequence[str] | None,
        max_length: int,
        limits: dict[str, typing.Any],
    ) -> Documents:
        """The lines of documents, or their sentences, so that there is room for a translation of the same length."""
        config = self.generation_config(**limits)
        around = len(self._ids("", self._around(source_language, target_language)))
        longest = self.model._longest("embeddings")
        most = [max_length, config.max_new_tokens or config.max_length or NEW_TOKENS]
        most += [] if longest is None else [(longest - around) // 2]
        return Documents(self.tokenizer, texts, names, source_language, max(min(most), 1), by_lines=True)

    def score(
        self,
        sources: Texts,
        targets: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        per_token: bool = False,
        batch_size: int = 8,
        progress: Progress | None = None,
    ) -> float | np.ndarray | list[np.ndarray]:
        """Log-likelihood of translations after their prompts: as `Seq2SeqLM.score`. The end is the token that ends an
        answer in the chat template, or what the template cuts at."""
        sources, targets, single = given_texts(sources, targets)
        around, ending = self._around(source_language, target_language), self._ending()
        pairs = []
        for number, (text, target) in enumerate(zip(sources, targets, strict=True)):
            if not text.strip():
                raise ValueError(f"Expected some text in each source, got an empty one at index {number}.")
            prompt = self._ids(text.strip(), around)
            whole = self._ids(text.strip(), around, target.strip() + (ending if isinstance(ending, str) else ""))
            whole = whole if isinstance(ending, str) else [*whole, *ending]
            self._check_length(len(whole), f"index {number}", "Score it in parts.")
            pairs.append((_common(prompt, whole), whole))
        most = max([2, *(len(whole) for _, whole in pairs)])
        options: dict[str, typing.Any] = {"max_length": most, "stride": most, "batch_size": batch_size}
        found = log_probabilities(self.model, [whole for _, whole in pairs], **options, progress=progress)
        scores = [each[begin:] for each, (begin, _) in zip(found, pairs, strict=True)]
        if per_token:
            return scores[0] if single else scores
        sums = [float(each.sum()) for each in scores]
        return sums[0] if single else np.array(sums)

    def _ending(self) -> list[int] | str:
        """The end of an answer: a text, or token ids."""
        ends = self.model.generation.end_ids
        if self.template.cut:
            return self.template.cut[0]
        if self.template.in_chat:
            messages = [{"role": "user", "content": self.template.prompt("a", *self._some_languages())}]
            messages += [{"role": "assistant", "content": _MARK}]
            rendered = typing.cast(str, self.tokenizer.apply_chat_template(messages)).partition(_MARK)[2]
            after = self.tokenizer.encode([rendered], parse_special=True)[0] if rendered else []
            ends = tuple(each for each in after if each in ends) or ends
        return list(ends[:1])

    def _some_languages(self) -> tuple[str, str]:
        """Languages that the template knows."""
        return (*self.template.languages, "en", "fr")[:2]  # type: ignore[return-value]

    def align(self, *_: typing.Any, **__: typing.Any) -> typing.Any:
        """Refuse: a decoder attends to its prompt and to its answer at once."""
        raise ValueError(
            "Expected an encoder-decoder to align words by its cross-attention, got a decoder. Align its translations "
            'by another model: kt.Seq2SeqLM.from_preset("english-french").align(sources, translations).'
        )

    def _aligner(self, languages: dict[str, typing.Any]) -> None:
        return None


def _of_each(prefix: str | Sequence[str], count: int) -> list[str]:
    """The prefix of each of `count` texts."""
    if isinstance(prefix, str):
        return [prefix.strip()] * count
    if prefix and len(prefix) != count:
        raise ValueError(f"Expected one prefix, or one for each of {count} texts, got {len(prefix)}.")
    return [as_text(each, "a prefix").strip() for each in prefix] or [""] * count


def _common(prompt: list[int], whole: list[int]) -> int:
    """How many ids a prompt shares with the whole text: the last one may merge with the beginning of an answer."""
    return next((n for n, (one, other) in enumerate(zip(prompt, whole, strict=False)) if one != other), len(prompt))


def _stripped(results: typing.Any) -> typing.Any:
    """Remove spaces around texts, in lists too."""
    return results.strip() if isinstance(results, str) else [_stripped(each) for each in results]


def _without_ends(pieces: Iterable[str]) -> Iterator[str]:
    """A stream of text without spaces at its beginning and its end."""
    held, begun = "", False
    for piece in pieces:
        text = (held + piece) if begun else (held + piece).lstrip()
        held = text[len(text.rstrip()) :]
        if done := text.rstrip():
            begun = True
            yield done


spelling.spell_out(PromptedDecoder)
