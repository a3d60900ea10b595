"""Text-to-text models: an encoder reads the source, a decoder writes the target.

Legend: `B` batch, `R` rows (`B` times beams), `S` source length, `T` target length, `V` target vocabulary.
"""

import functools
import os
import pathlib
import typing
import warnings
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from keras_transformers.callers import outside
from keras_transformers.data.containers import as_text
from keras_transformers.data.pairs import SOURCES
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.files import marian_folder
from keras_transformers.generation.beam_search import IMPOSSIBLE
from keras_transformers.generation.decoding import Generated, Numbers, alike, generate, stream
from keras_transformers.generation.forced_words import ForcedWords
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.models.config import ModelConfig
from keras_transformers.tasks import candidates, notices, protected, translation
from keras_transformers.tasks.answers import Answers, Progress
from keras_transformers.tasks.directions import Direction, find_direction
from keras_transformers.tasks.given_translations import GivenTranslations
from keras_transformers.tasks.pair_task import PairTask
from keras_transformers.tasks.stacks import wrong_stacks
from keras_transformers.tasks.starts import Rows, start_sources
from keras_transformers.tasks.translation import SourceOptions, Words
from keras_transformers.tasks.whole_texts import WholeTexts
from keras_transformers.tokenizers.languages import has_letter
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.optimizers import Optimizer
from keras_transformers.training.schedules import InverseSquareRoot


@keras.saving.register_keras_serializable("keras_transformers")
class Seq2SeqLM(GivenTranslations, WholeTexts, PairTask):
    """An encoder-decoder with a head over the target vocabulary, for translation and other text-to-text tasks.

    Args:
        config: a `ModelConfig` with an encoder and a decoder, such as `kt.models.transformer(...)`.
        tokenizer: a `Tokenizer` with padding, start and end tokens; None if the model only sees token ids.
        generation: the default settings of `translate`, a `GenerationConfig`; by default greedy search with the start
            and end tokens of the tokenizer.

    Call arguments: a dictionary of two padded int32 arrays: `token_ids [B, S]`, the source ids and the end token, and
    `decoder_token_ids [B, T]`, the start token and the target ids.

    Returns: logits `[B, T, V]`; position `t` scores target token `t`.

    Raises:
        ValueError: if the configuration lacks a stack, or the tokenizer has another vocabulary.

    Example:
        >>> translator = kt.Seq2SeqLM.from_preset("english-french")
        >>> translator.translate(["The house is small."])
        ['La maison est petite.']

    Source: Vaswani et al. 2017.
    """

    advice = {"generate": "It takes token ids; translate(texts, …) takes texts, and settings such as max_new_tokens."}

    @classmethod
    def _check_stacks(cls, config: ModelConfig) -> None:
        if config.encoder is None or config.decoder is None:
            expected = "a ModelConfig with an encoder and a decoder, such as kt.models.transformer makes"
            raise wrong_stacks(expected, config)

    def _checkpoint_values(self) -> dict[str, typing.Any]:
        """The ids that transformers needs in training: it reads them here, not from the generation settings."""
        values = {
            "decoder_start_token_id": self.generation.start_id,
            "eos_token_id": next(iter(self.generation.end_ids), None),
        }
        written = () if self.config.reading is None else values  # then `reading` writes them
        return {name: int(value) for name, value in values.items() if value is not None and name not in written}

    def _check_tokenizer(self, tokenizer: Tokenizer) -> None:
        super()._check_tokenizer(tokenizer)
        if tokenizer.end_id is None:
            raise ValueError("Expected a tokenizer with an end token, which ends each source and target, got none.")
        own = self.config.decoder_embeddings
        if tokenizer.target is not None and (own is None or own.shared_tokens):
            raise ValueError(
                "Expected embeddings of the target's own with a tokenizer of two vocabularies, got a model with one "
                "table for both. Make it with shared_embeddings=False, or train one vocabulary."
            )

    # Training

    def compile(
        self, optimizer: Optimizer | None = None, *, label_smoothing: float = 0.1, **kwargs: typing.Any
    ) -> None:
        """Prepare for training. Takes all arguments of `keras.Model.compile` except `loss`: the loss is the
        cross-entropy of the tokens, without padding.

        Args:
            optimizer: by default Adam (β₂ 0.98, ε 1e-9). Its learning rate rises to `hidden_dim**-0.5 * 4000**-0.5`
                over 4,000 warm-up steps, then falls by the inverse square root of the step (Vaswani et al. 2017,
                section 5.3).
            label_smoothing: the share of the target probability that is spread over the vocabulary (section 5.4).
        """
        super().compile(optimizer, label_smoothing=label_smoothing, **kwargs)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """Adam as in Vaswani et al. 2017, section 5.3."""
        schedule = InverseSquareRoot(peak=(self.config.hidden_dim * 4000) ** -0.5, warmup_steps=4000)
        return keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9)

    # Generation

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
        *,
        prefix: Words = "",
        forced_words: Words | Sequence[Words] = (),
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
    ) -> typing.Any: ...

    def translate(
        self,
        texts: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        prefix: Words = "",
        forced_words: Words | Sequence[Words] = (),
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
            protect: parts of the texts that their translations keep as they are: True for "tags", "urls", "emails" and
                "placeholders" such as `{name}` and `%s`; or a list of these names, and of compiled regular expressions.
                A stand-in, which the model copies, marks the place of a part. Tags go to the aligned words. Parts
                without a place stand at the end, and a warning counts them.
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
        passed = {"prefix": prefix, "forced_words": forced_words, "parse_special": parse_special}
        passed |= {"keep_letterless": keep_letterless, "names": names, "progress": progress}
        passed |= {"source_language": source_language, "target_language": target_language}
        if protect is not None and protect is not False:
            passed |= {"batch_size": batch_size, "rerank": rerank, "num_candidates": num_candidates, **generation}
            passed["return_scores"] = return_scores
            align = functools.partial(self.align, source_language=source_language, target_language=target_language)
            return protected.translate_protected(self, texts, protect, passed, align)
        if rerank is not None or num_candidates is not None:
            judging = candidates.Judging(rerank, num_candidates, batch_size, return_scores)
            return candidates.translate_with(self, texts, judging, passed, generation)
        direction, config = self.direction(source_language, target_language, **generation)
        self._check_effect(config, generation, return_scores)
        texts, single = texts_of(texts, inputs=SOURCES)
        options = self._source_options(direction, parse_special, names)
        tokenizer = self._tokenizer()
        prompts = translation.prompts(tokenizer, texts, options, prefix, forced_words, keep_letterless)
        answers = Answers(prompts, config, self._wording(config))
        scored = config.scored() if return_scores else config
        for batch in answers.batches(batch_size, progress):
            sources, prefixes, words, _ = zip(*(prompts[index] for index in batch), strict=True)
            rows = answers.rows(batch_size)
            answers.add(batch, self.generate(sources, scored, rows, batch, prefixes=prefixes, words=words))
        if answers.cut:
            notices.warn_of_cut(answers.cut, len(prompts), names, self._longest("target_embeddings"), "translations")
        return answers.results(single, return_scores)

    def stream(
        self,
        text: str,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        keep_letterless: bool = True,
        **generation: typing.Any,
    ) -> Iterator[str]:
        """Translate one text as a stream: an iterator of strings that together make the result of `translate`.

        Takes the arguments of `translate`, except beams (a beam search knows its first word last) and
        `num_return_sequences` above 1.
        """
        given = {"num_beams": 1, "num_return_sequences": 1, **generation}
        direction, config = self.direction(source_language, target_language, **given)
        self._check_effect(config, generation)
        text = as_text(text, "the text")
        plain = translation.without_language(self._tokenizer(), text, direction)
        if keep_letterless and text.strip() and not has_letter(plain):
            yield plain
            return
        (source,) = self.encode_sources([text], direction)
        if not source:
            return
        longest = self._longest("target_embeddings")
        cache, prompts, read = start_sources(self, [source], config, 1)
        token_ids = stream(self, self._step, cache, prompts, config, longest=longest, sources=read)
        yield from self._wording(config).pieces(source, token_ids, self._report_cut)

    def _report_cut(self, cut: dict[int, int], total: int) -> None:
        notices.warn_of_cut(cut, total, None, self._longest("target_embeddings"), "translations")

    def _source_options(
        self, direction: Direction, parse_special: bool = False, names: Sequence[str] | None = None
    ) -> SourceOptions:
        return SourceOptions(direction, self._longest("embeddings"), parse_special, names)

    def direction(
        self, source_language: str | None = None, target_language: str | None = None, **generation: typing.Any
    ) -> tuple[Direction, GenerationConfig]:
        """The languages of a translation, a `directions.Direction`, and the `GenerationConfig` for them with the given
        settings. Takes arguments of `translate`."""
        config = self.generation_config(**generation)
        found = find_direction(self._tokenizer(), config, self._task_params(), source_language, target_language)
        return found, self.generation_config(**{**found.settings, **generation}) if found.settings else config

    def _task_params(self) -> dict[str, typing.Any]:
        """The `task_specific_params` of a checkpoint's `config.json`, such as those of T5."""
        return (self.origin.values.get("task_specific_params") if self.origin else None) or {}

    def generate(
        self,
        sources: Rows,
        config: GenerationConfig | None = None,
        batch_size: int | None = None,
        numbers: Numbers | None = None,
        prefixes: Rows | None = None,
        words: ForcedWords | None = None,
    ) -> Generated:
        """Generate from sources given as token ids, each with its end token. Returns a `Generated`.

        Args:
            sources: a list of lists of ids.
            config: a `GenerationConfig`; the model's own by default.
            batch_size: on backends that compile each shape, fill the batch up to at most this many rows. More sources
                still form one batch.
            numbers: int `[B]`, the number of the random stream of each source in sampling; by default its index.
            prefixes: a list of lists of ids that each result begins with, after `start_id`. They are not returned.
            words: for each source a list of forced words, lists of ids: see `generation.forced_words`.
        """
        if isinstance(sources, str) or any(isinstance(each, str) for each in sources):
            raise TypeError(f"Expected lists of token ids, got text, {sources!r:.80}. {self.advice['generate']}")
        config = self.generation_config() if config is None else self._checked(config)
        numbers = np.arange(len(sources)) if numbers is None else np.asarray(numbers)
        groups = alike([len(prefix) for prefix in prefixes]) if prefixes else []
        if len(groups) > 1:  # the prompts of a batch need one length
            parts = [self._generate_some(rows, sources, config, numbers, prefixes, words) for rows in groups]
            return Generated.joined(parts, config.padding_id, groups)
        cache, prompts, read = start_sources(self, sources, config, batch_size or len(sources), prefixes)
        fill = len(prompts) - len(sources)
        options: dict[str, typing.Any] = {"numbers": np.pad(numbers, (0, fill)), "sources": read}
        if config.stop:
            options["stop_rule"] = self._wording(config).stop_rule(sources)
        if words and any(words):
            options["words"] = [*words, *[words[0]] * fill]
        longest = self._longest("target_embeddings")
        generated = generate(self, self._step, cache, prompts, config, longest=longest, **options)
        generated = generated.select(slice(len(sources) * config.num_return_sequences))
        return _without_failures(generated) if "words" in options else generated

    def _generate_some(
        self,
        rows: np.ndarray,
        sources: Rows,
        config: GenerationConfig,
        numbers: np.ndarray,
        prefixes: Rows | None,
        words: ForcedWords | None,
    ) -> Generated:
        """The result of `generate` for the given rows."""
        some: list[typing.Any] = [each and [each[row] for row in rows] for each in (sources, prefixes, words)]
        return self.generate(some[0], config, None, numbers[rows], *some[1:])

    def encode_sources(
        self,
        texts: list[str],
        direction: Direction | None = None,
        parse_special: bool = False,
        names: Sequence[str] | None = None,
    ) -> list[list[int]]:
        """Encode texts for the encoder: lists of ids as from `Tokenizer.encode_sources`, with the words that the
        languages need in front. An empty text has no ids.

        Texts that are longer than the model reads are cut. One warning says how many, another names unknown tokens.

        Args:
            texts: a list of strings.
            direction: a `Direction`, the first value of `direction`; by default one without languages.
            parse_special: as for `translate`.
            names: names for the texts in warnings, as for `translate`.
        """
        direction = self.direction()[0] if direction is None else direction
        return translation.source_ids(self._tokenizer(), texts, self._source_options(direction, parse_special, names))

    # Export

    def export_ctranslate2(self, folder: str | os.PathLike[str], quantization: str | None = None) -> None:
        """Export the model as a CTranslate2 folder, with `tokenizer.json` beside it.

        Needs the extra `ctranslate2`. The translations are the same: encode texts with `tokenizer.encode_sources`, turn
        the ids of each into pieces with `tokenizer.to_pieces(ids)`, pass them to `translate_batch` of CTranslate2, and
        turn its pieces into ids with `tokenizer.from_pieces(pieces, target=True)`. Generation settings are arguments of
        `translate_batch`. Tokens that the settings of this model forbid stay forbidden.

        Args:
            folder: created if it does not exist; an earlier export is replaced in one step.
            quantization: "int8", "float16" or another quantization of CTranslate2; by default float32.

        Raises:
            FileExistsError: if `folder` holds something else.
            ValueError: for a model that CTranslate2 cannot represent; the error lists every reason.

        Example:
            >>> kt.Seq2SeqLM.from_preset("english-french").export_ctranslate2("english-french-ct2", quantization="int8")
        """
        from keras_transformers.formats import ctranslate2

        ctranslate2.export(self, folder, quantization)

    _marian_origin: typing.Any = None  # of a folder of Marian, for writing the same again

    def _remember(self, folder: pathlib.Path) -> None:
        super()._remember(folder)
        if marian_folder.is_marian(folder):
            from keras_transformers.formats import marian

            self._marian_origin = marian.Origin.of(marian.read(folder))

    def export_marian(self, folder: str | os.PathLike[str], quantization: str | None = None) -> None:
        """Export the model as a folder of Marian, which Marian and, with int8 numbers, Firefox's engine load.

        A model from such a folder is written with the options, the shortlist apart, and the order of tensors that it
        had. If it was not changed, the file of its parameters is the same byte for byte.

        Args:
            folder: created if it does not exist; an earlier export is replaced in one step.
            quantization: "int8" for `model.intgemm.bin`, by the rule of intgemm; by default float32, as `model.npz`.

        Raises:
            FileExistsError: if `folder` holds something else.
            ValueError: for a model that Marian cannot express, which is named, and for a tokenizer that was not read
                from a folder of Marian.

        Example:
            >>> translator = kt.Seq2SeqLM.from_preset("firefox-enpt")  # doctest: +SKIP
            >>> translator.export_marian("enpt-int8", quantization="int8")  # doctest: +SKIP
        """
        from keras_transformers.formats import marian

        marian.export(self, folder, quantization)


def _without_failures(generated: Generated) -> Generated:
    """Empty the results that lack a forced word, and warn with their number."""
    failed = np.asarray(generated.scores) < IMPOSSIBLE / 2
    if failed.any():
        warnings.warn(
            f"{int(failed.sum())} of {len(failed)} results could not be made with the words that have to occur. "
            "Raise num_beams, or ask for fewer words.",
            stacklevel=outside(),
        )
        generated.lengths[failed] = 0
    return generated
