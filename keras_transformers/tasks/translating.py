"""What every translator does with texts, whatever its model: the steps around a translation.

texts ─► protected parts out ─► several candidates, for a judge ─► terms of a glossary ─► the model
      ◄─ parts put back      ◄─ the best one                    ◄─ those that are missing, counted
"""

import functools
import typing
from collections.abc import Callable, Sequence

from keras_transformers import spelling
from keras_transformers.data import protection
from keras_transformers.data.glossary import Glossary, Term
from keras_transformers.data.pairs import SOURCES
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.tasks import candidates, protected, terms
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.translation import Documents, Words


class Request(typing.NamedTuple):
    """The arguments of a `translate` that a model sees, besides the texts.

    `terms` holds the terms of each text, if the prompt of a model takes them. `generation` are the generation settings.
    """

    source_language: str | None
    target_language: str | None
    prefix: Words
    forced_words: Words | Sequence[Words]
    parse_special: bool
    batch_size: int
    return_scores: bool
    keep_letterless: bool
    names: Sequence[str] | None
    progress: Progress | None
    generation: dict[str, typing.Any]
    terms: Sequence[Sequence[Term]] = ()


STREAMS = (
    "A stream shows each word at once; protect, glossary, rerank and forced_words need a whole translation: use "
    "translate."
)


class Translating:
    """The part of a model that translates texts and documents, by `_translate` of the model."""

    # Defined by the model.
    takes_terms = False  # whether a prompt states the terms of a glossary; otherwise they are forced words
    generation_config: Callable[..., GenerationConfig]
    align: Callable[..., typing.Any]
    _translate: Callable[[Texts, Request], typing.Any]
    _documents: Callable[..., Documents]

    @typing.overload
    def translate(
        self,
        texts: str,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        return_scores: typing.Literal[False] = False,
        num_return_sequences: typing.Literal[1] = 1,
        **options: typing.Any,
    ) -> str: ...

    @typing.overload
    def translate(
        self,
        texts: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        return_scores: typing.Literal[False] = False,
        num_return_sequences: typing.Literal[1] = 1,
        **options: typing.Any,
    ) -> list[str]: ...

    @typing.overload
    def translate(
        self,
        texts: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        **options: typing.Any,
    ) -> typing.Any: ...

    def translate(
        self,
        texts: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        prefix: Words = "",
        forced_words: Words | Sequence[Words] = (),
        glossary: typing.Any = None,
        parse_special: bool = False,
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
        """Translate texts, by default with the generation settings of the preset. The same text always gives the same
        translation.

        Warnings name texts that are longer than the model reads, unknown tokens, and translations that were cut at the
        token limit.

        Args:
            texts: a string, or a list, array, series or data frame of strings, or any other container of texts. The
                translation of an empty text, or of spaces, is empty. A text without a letter, such as "12:30", "…" or
                "😀", is returned unchanged.
            source_language, target_language: for multilingual models: "French", "fr", "fra", or the code of the
                checkpoint, such as "fra_Latn" (`tokenizer.languages` lists them). Leave a language out if the model
                does not need it.
            prefix: the words that each translation begins with; or a list with a prefix for each text. Scores then
                cover only the tokens after the prefix.
            forced_words: words or phrases that each translation must contain, spelled as they should appear: a list of
                strings, or a list with such a list for each text. Needs beam search; use more beams than words. If a
                word cannot be placed, the translation is empty, and a warning says so.
            glossary: terms and their translations, `{"house": "demeure"}`, or a `kt.data.Glossary`. If a text has a
                term, its translation must have the term's: as a forced word, or, for a decoder whose authors published
                a prompt with terms, by that prompt. A warning counts the terms that are missing all the same.
            parse_special: whether special tokens that a text spells, such as "<extra_id_0>" of T5, are read as those
                tokens; otherwise they are read as text, and a warning says so.
            batch_size: sentences translated together; sentences of similar length are batched.
            return_scores: whether to return the score of each translation too: sum of log-probabilities / length **
                length_penalty; 0 for a text that the model did not read.
            keep_letterless: False lets the model translate texts without a letter too. It always translates texts with
                a prefix or a forced word.
            names: a list of names for the texts in warnings, such as "line 7"; by default "index 6".
            progress: a function called with the number of finished texts, after each batch.
            rerank: another judge of the translations: a `TranslationScorer` that needs no references (CometKiwi), or
                `kt.tasks.MinimumBayesRisk`. Scores are then the judge's; a text without a letter has the score 0.
            num_candidates: how many translations of each text the judge chooses from; by default `num_beams`, and 16
                samples with `do_sample`. Decoding takes as long as for so many beams or samples. The judge reads each
                candidate; `MinimumBayesRisk` compares each with each.
            protect: parts of the texts that their translations keep as they are: True for "tags", "urls", "emails",
                "emoji" and "placeholders" such as `{name}` and `%s`; or a list of these names, and of compiled regular
                expressions; or a `kt.data.Protection`, which counts. A stand-in, which the model copies, marks the
                place of a part. Tags and emoji go to the aligned words. Parts without a place stand at the end, and a
                warning counts them.
            **generation: fields of `GenerationConfig`: `num_beams=4`, `max_new_tokens=64`, `length_penalty=1.0`,
                `do_sample=True`, …

        Returns: a string for a string, a list for a list; with `num_return_sequences` > 1 a list of translations for
            each text, best first; with `return_scores` a pair: the translations, and the scores in the same shape.

        Raises:
            TypeError, ValueError: for values that are not texts, settings that contradict each other, and unknown
                languages; the error lists the known ones.

        Example:
            >>> nllb = kt.Seq2SeqLM.from_preset("hf://facebook/nllb-200-distilled-600M")
            >>> nllb.translate("The house is small.", "English", "French")
        """
        passed: dict[str, typing.Any] = {"source_language": source_language, "target_language": target_language}
        passed |= {"prefix": prefix, "forced_words": forced_words, "parse_special": parse_special}
        passed |= {"keep_letterless": keep_letterless, "names": names, "progress": progress}
        of_terms = {} if glossary is None else {"glossary": glossary}
        if protect is not None and protect is not False:
            passed |= {"batch_size": batch_size, "rerank": rerank, "num_candidates": num_candidates, **of_terms}
            return protected.translate_protected(
                self, texts, protect, {**passed, "return_scores": return_scores, **generation}, self._aligner(passed)
            )
        if rerank is not None or num_candidates is not None:
            judging = candidates.Judging(rerank, num_candidates, batch_size, return_scores)
            return candidates.translate_with(self, texts, judging, {**passed, **of_terms}, generation)
        request = Request(**passed, batch_size=batch_size, return_scores=return_scores, generation=generation)
        if glossary is not None:
            return terms.translate_with_terms(self, texts, Glossary.of(glossary), request)
        return self._translate(texts, request)

    def _aligner(self, languages: dict[str, typing.Any]) -> Callable[..., typing.Any] | None:
        """A function that aligns the words of texts and translations; None for a model that cannot."""
        names = ("source_language", "target_language")
        return functools.partial(self.align, **{name: languages[name] for name in names})

    def translate_document(
        self,
        texts: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        max_length: int = 512,
        names: Sequence[str] | None = None,
        **options: typing.Any,
    ) -> str | list[str]:
        """Translate texts of any length, keeping line ends, blank lines and indentation. An encoder-decoder reads
        sentence by sentence, a decoder line by line.

        A sentence longer than the model reads is translated in pieces. Text without a letter, such as a rule of dashes,
        stays unchanged.

        Args:
            texts: a string, or a list of strings.
            source_language, target_language: as for `translate`.
            max_length: the most tokens of a piece; fewer if the model reads or writes fewer. A decoder reads a longer
                line sentence by sentence.
            names: names for the texts in warnings, as for `translate`.
            **options: as for `translate`, except `num_return_sequences` above 1, `return_scores`, `prefix` and
                `forced_words`, which belong to one sentence. `progress` counts sentences.

        Returns: a string for a string, a list for a list.

        Raises:
            TypeError, ValueError: as `translate`.

        Example:
            >>> translator.translate_document(pathlib.Path("letter.txt").read_text())
        """
        for name in ("return_scores", "prefix", "forced_words"):
            if options.get(name):
                raise ValueError(
                    f"Expected no {name} for a document, which has many sentences, got one. Use translate."
                )
        if type(max_length) is not int or max_length < 1:
            raise ValueError(f"Expected max_length of at least 1, got {max_length!r}.")
        options = {"num_return_sequences": 1, **options}
        if options["num_return_sequences"] != 1:
            raise ValueError(
                f"Expected num_return_sequences=1 for a document, got {options['num_return_sequences']}. Translate "
                "sentences with translate to see several results."
            )
        texts, single = texts_of(texts, inputs=SOURCES)
        limits = {name: options[name] for name in ("max_new_tokens",) if name in options}
        documents = self._documents(texts, source_language, target_language, names, max_length, limits)
        if options.get("protect"):
            kept = options["protect"] = protection.Protection.of(options["protect"])
            documents.keep_whole(lambda text: [each[:2] for each in protection.find_parts(text, kept.patterns)])
        options |= {"names": documents.names}
        joined = documents.joined(self.translate(documents.sentences, source_language, target_language, **options))
        return joined[0] if single else joined


spelling.spell_out(Translating)
