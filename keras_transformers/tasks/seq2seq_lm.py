"""Text-to-text models: an encoder reads the source, a decoder writes the target.

Legend: `B` batch, `R` rows (`B` times beams), `S` source length, `T` target length, `V` target vocabulary.
"""

import typing
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from keras_transformers.data.containers import as_text
from keras_transformers.data.pairs import SOURCES
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.files.marian_shortlist import Shortlist
from keras_transformers.generation.decoding import Generated, Numbers, alike, generate, stream
from keras_transformers.generation.forced_words import ForcedWords
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.models.config import ModelConfig
from keras_transformers.tasks import notices, shortlists, translation
from keras_transformers.tasks.answers import Answers
from keras_transformers.tasks.directions import Direction, find_direction
from keras_transformers.tasks.given_translations import GivenTranslations
from keras_transformers.tasks.pair_task import PairTask
from keras_transformers.tasks.seq2seq_files import Seq2SeqFiles
from keras_transformers.tasks.stacks import wrong_stacks
from keras_transformers.tasks.starts import Rows, start_sources
from keras_transformers.tasks.summaries import Summaries
from keras_transformers.tasks.translating import STREAMS, Request, Translating
from keras_transformers.tasks.translation import Documents, SourceOptions, source_documents
from keras_transformers.tokenizers.languages import has_letter
from keras_transformers.tokenizers.tokenizer import Tokenizer
from keras_transformers.training.optimizers import Optimizer
from keras_transformers.training.schedules import InverseSquareRoot


@keras.saving.register_keras_serializable("keras_transformers")
class Seq2SeqLM(Translating, GivenTranslations, Summaries, Seq2SeqFiles, PairTask):
    """An encoder-decoder with a head over the target vocabulary, for translation and other text-to-text tasks.

    Args:
        config: a `ModelConfig` with an encoder and a decoder, such as `kt.models.transformer(...)`.
        tokenizer: a `Tokenizer` with padding, start and end tokens; None if the model only sees token ids.
        generation: the default settings of `translate`, a `GenerationConfig`; by default greedy search with the start
            and end tokens of the tokenizer.
        shortlist: the lexical shortlist of a folder of Marian, a `Shortlist`: the target tokens that a sentence may
            use, by its source tokens. It applies to all that is generated, unless `shortlist=False` is asked for, and
            not to training and to scores of given translations. None for the whole vocabulary.

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

    advice = {
        "generate": "It takes token ids; translate(texts, …) takes texts, and settings such as max_new_tokens.",
        "stream": STREAMS,
    }

    def __init__(
        self,
        config: ModelConfig,
        tokenizer: Tokenizer | None = None,
        generation: GenerationConfig | None = None,
        shortlist: Shortlist | None = None,
        **kwargs: typing.Any,
    ) -> None:
        super().__init__(config, tokenizer, generation, **kwargs)
        if shortlist is not None:
            shortlists.check(shortlist, config)
        self.shortlist = shortlist

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

    def _translate(self, texts: Texts, request: Request) -> typing.Any:
        """Translate texts as the request says."""
        languages, generation = (request.source_language, request.target_language), request.generation
        direction, config = self.direction(*languages, **generation)
        self._check_effect(config, generation, request.return_scores)
        texts, single = texts_of(texts, inputs=SOURCES)
        options = self._source_options(direction, request.parse_special, request.names)
        given = (request.prefix, request.forced_words, request.keep_letterless)
        prompts = translation.prompts(self._tokenizer(), texts, options, *given)
        answers = Answers(prompts, config, self._wording(config))
        scored = config.scored() if request.return_scores else config
        for batch in answers.batches(request.batch_size, request.progress):
            sources, prefixes, words, _ = zip(*(prompts[index] for index in batch), strict=True)
            rows = answers.rows(request.batch_size)
            answers.add(batch, self.generate(sources, scored, rows, batch, prefixes=prefixes, words=words))
        if answers.cut:
            longest = self._longest("target_embeddings")
            notices.warn_of_cut(answers.cut, len(prompts), request.names, longest, "translations")
        return answers.results(single, request.return_scores)

    def _documents(
        self,
        texts: list[str],
        source_language: str | None,
        target_language: str | None,
        names: Sequence[str] | None,
        max_length: int,
        limits: dict[str, typing.Any],
    ) -> Documents:
        """The sentences of documents."""
        direction, config = self.direction(source_language, target_language, **limits)
        options = self._source_options(direction, names=names)
        return source_documents(self._tokenizer(), texts, options, config, max_length)

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
        options: dict[str, typing.Any] = {"sources": read}
        wording, smaller = self._wording(config), None
        if self.shortlist is not None:
            smaller = shortlists.smaller_vocabulary(self, [source], config, len(prompts))
        if smaller is not None:
            cache, prompts = shortlists.with_choices(self, cache, smaller), smaller.at_places(prompts)
            config, options = smaller.config, smaller.options(options)
        token_ids = stream(self, self._step, cache, prompts, config, longest=longest, **options)
        if smaller is not None:
            token_ids = map(smaller.token_ids.__getitem__, token_ids)
        yield from wording.pieces(source, token_ids, self._report_cut)

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
        smaller = None
        if self.shortlist is not None:
            smaller = shortlists.smaller_vocabulary(self, sources, config, len(prompts), prefixes, words)
        if smaller is None:
            generated = generate(self, self._step, cache, prompts, config, longest=longest, **options)
        else:
            cache, prompts = shortlists.with_choices(self, cache, smaller), smaller.at_places(prompts)
            options = smaller.options(options)
            found = generate(self, self._step, cache, prompts, smaller.config, longest=longest, **options)
            generated = smaller.whole(found)
        generated = generated.select(slice(len(sources) * config.num_return_sequences))
        return notices.without_failures(generated) if "words" in options else generated

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
