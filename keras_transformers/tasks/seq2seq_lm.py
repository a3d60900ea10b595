"""Text to text: an encoder reads the source, a decoder writes the target.

Legend: `B` batch, `R` rows (`B` times beams), `S` source length, `T` target length, `V` target vocabulary.
"""

import dataclasses
import itertools
import warnings

import keras
import numpy as np
from keras import ops

from keras_transformers.callers import outside
from keras_transformers.data.language_names import language_of
from keras_transformers.data.pairs import FORM, SOURCES, TARGETS, Pairs, encode_pairs
from keras_transformers.data.ragged import Ragged
from keras_transformers.data.sources import as_text, texts_of
from keras_transformers.formats import ctranslate2
from keras_transformers.generation import executors
from keras_transformers.generation.beam_search import IMPOSSIBLE
from keras_transformers.generation.decoding import SMALLEST_ROOM, Generated, bucket, generate, power_of_two, stream
from keras_transformers.generation.settings import NEW_TOKENS, GenerationConfig, fields_of
from keras_transformers.generation.stop_strings import Continuation
from keras_transformers.tasks import notices
from keras_transformers.tasks.alignment import IDEOGRAPH, alignments, cross_attention
from keras_transformers.tasks.directions import find_direction
from keras_transformers.tasks.generative_task import GenerativeTask
from keras_transformers.tasks.scoring import pair_log_probabilities, score_tokens
from keras_transformers.tasks.stacks import wrong_stacks
from keras_transformers.tokenizers.packing import pack
from keras_transformers.tokenizers.sentences import cut_to_fit, split_document
from keras_transformers.tokenizers.texts import has_letter
from keras_transformers.training.schedules import InverseSquareRoot

LOOKED_AT = 200  # sources, of those that a model learns from, for whether they are language


@keras.saving.register_keras_serializable("keras_transformers")
class Seq2SeqLM(GenerativeTask):
    """An encoder-decoder with a head over the target's vocabulary: for translation and other text to text.

    Args:
        config: a `ModelConfig` with an encoder and a decoder, such as `kt.models.transformer(...)`.
        tokenizer: a `Tokenizer` with padding, start and end tokens; None when the model only ever sees token ids.
        generation: a `GenerationConfig`, what `translate` does unless told otherwise; by default greedy, with the
            tokenizer's start and end.

    Call arguments: a dictionary of int32 `token_ids [B, S]`, source ids and end, padded, and `decoder_token_ids [B,
    T]`, start and target ids, padded.

    Returns: logits `[B, T, V]`: those at `t` score the target's token `t`.

    Raises:
        ValueError: when the configuration lacks a stack, or the tokenizer is of another vocabulary.

    Example:
        >>> translator = kt.Seq2SeqLM.from_preset("english-french")
        >>> translator.translate(["The house is small."])
        ['La maison est petite.']

    Source: Vaswani et al. 2017.
    """

    advice = {"generate": "It takes token ids; translate(texts, …) takes texts, and settings such as max_new_tokens."}

    @classmethod
    def _check_stacks(cls, config):
        if config.encoder is None or config.decoder is None:
            expected = "a ModelConfig with an encoder and a decoder, such as kt.models.transformer makes"
            raise wrong_stacks(expected, config)

    def _checkpoint_values(self):
        """What transformers trains by, which looks for it here and not among the settings of generation."""
        values = {
            "decoder_start_token_id": self.generation.start_id,
            "eos_token_id": next(iter(self.generation.end_ids), None),
        }
        written = () if self.config.reading is None else values  # of the model's configuration
        return {name: int(value) for name, value in values.items() if value is not None and name not in written}

    def _check_tokenizer(self, tokenizer):
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

    def compile(self, optimizer=None, *, label_smoothing=0.1, **kwargs):
        """Prepare for training. All of `keras.Model.compile`'s arguments are open but `loss`: it is token
        cross-entropy, padding left out.

        Args:
            optimizer: by default Adam (β₂ 0.98, ε 1e-9) with 4,000 steps of warm-up to `hidden_dim**-0.5 * 4000**-0.5`,
                then falling by the inverse square root of the step (Vaswani et al. 2017, section 5.3).
            label_smoothing: how much of the target's probability is spread over the whole vocabulary (section 5.4).
        """
        super().compile(optimizer, label_smoothing=label_smoothing, **kwargs)

    def default_optimizer(self):
        """Adam as in Vaswani et al. 2017, section 5.3."""
        schedule = InverseSquareRoot(peak=(self.config.hidden_dim * 4000) ** -0.5, warmup_steps=4000)
        return keras.optimizers.Adam(schedule, beta_2=0.98, epsilon=1e-9)

    form = seen_form = FORM
    sides = ("", "decoder_")

    def _of_texts(self, source, max_length, columns=None):
        """Sentence pairs: all that `training.encode_pairs` takes."""
        return self._encoded(source, max_length, columns)

    def _of_ids(self, ids, max_length):
        for column in ids.token_columns.values():
            self._check_cut(column.lengths, max_length)
        return ids

    def _read_ids(self, source, columns=None, sides=None):
        return self._encoded(source, None, columns)

    def _encoded(self, source, max_length, columns):
        positions = (self._longest("embeddings"), self._longest("target_embeddings"))
        limits = [limit for limit in (max_length, *positions) if limit]
        pairs = encode_pairs(
            source,
            tokenizer=self.tokenizer,
            max_length=min(limits, default=None),
            start_id=self.generation.start_id,
            padding_id=self.config.padding_id,
            columns=columns,
        )
        if isinstance(pairs, Pairs) and self.tokenizer is not None:
            self._tell_of(pairs)
        return pairs

    def _tell_of(self, pairs):
        """Say what pairs of texts teach that nobody may want."""
        tokenizer = self._tokenizer()
        notices.tell_empty(
            pairs.lengths, [len(tokenizer.encode_sources([""])[0]), len(tokenizer.encode_targets([""])[0])]
        )
        if tokenizer.target is None and len(pairs):
            ids, offsets = pairs.sources
            first = [ids[begin:end] for begin, end in itertools.pairwise(offsets[: LOOKED_AT + 1])]
            notices.tell_letterless(tokenizer.decode(first))

    def _seen(self, source, columns=None):
        pairs = self._encoded(source, None, columns)
        starts = np.array([pairs.start_id], "int32")
        targets = (pairs.targets.take([row]).token_ids for row in range(len(pairs)))
        read = Ragged.join(np.concatenate([starts, target[:-1]]) for target in targets)
        return {"token_ids": pairs.sources, "decoder_token_ids": read}

    def _seen_ids(self, source, columns=None):
        return super()._read_ids(source, columns).columns

    def _check_examples(self, pairs):
        for column, (name, side) in enumerate(
            (("token_ids", "embeddings"), ("decoder_token_ids", "target_embeddings"))
        ):
            if name in pairs.token_ids:
                self._check_ids(name, pairs.token_ids[name], side)
            self._check_lengths(pairs.lengths[:, column], side, name)
        self._check_label_ids(pairs)

    # Generation

    def translate(
        self,
        texts,
        source_language=None,
        target_language=None,
        *,
        prefix="",
        forced_words=(),
        parse_special=False,
        batch_size=32,
        return_scores=False,
        keep_letterless=True,
        names=None,
        progress=None,
        **generation,
    ):
        """Translate texts, by default as the preset's own generation settings say; the same text always becomes the
        same translation.

        What the model does not read of a text is said in a warning: more than it has positions for, and tokens that it
        does not know. So is a translation that was cut at the limit of its tokens.

        Args:
            texts: a string, or a list, array, series or data frame of strings, or anything else that holds texts. An
                empty text, or one of spaces, is answered by an empty one, and one without any letter, such as "12:30",
                "…" or "😀", by itself.
            source_language, target_language: for a model of several languages: "French", "fr", "fra", or the
                checkpoint's own code, such as "fra_Latn" (`tokenizer.languages` lists them). One that is told none may
                be left out.
            prefix: what each translation is to begin with, in words, or a list with one for each text. Scores are then
                of what follows.
            forced_words: words or phrases that have to occur in each translation, as they are to be written: a list of
                strings, or one with a list of them for each text. It takes a beam search, and its beams are best more
                than the words. Where a word cannot be had, a warning says so, and the translation is empty.
            parse_special: whether special tokens that a text spells are those tokens, such as T5's "<extra_id_0>";
                otherwise they are text, and a warning says so.
            batch_size: sentences translated together; sentences of similar length are.
            return_scores: also return each translation's score: sum of log-probabilities / length ** length_penalty; 0
                of a text that the model was not asked about.
            keep_letterless: False lets the model read texts without a letter, too, as it reads those for which there
                is a prefix or a forced word.
            names: what warnings call each text, a list, such as "line 7"; by default "index 6".
            progress: a function called with the number of texts done, each time some are.
            **generation: fields of `GenerationConfig`: `num_beams=4`, `max_new_tokens=64`, `length_penalty=1.0`,
                `do_sample=True`, …

        Returns: a string for a string, a list for a list; with `num_return_sequences` > 1 a list of translations for
            each text, best first; with `return_scores` a pair of that and the scores in the same shape.

        Raises:
            TypeError, ValueError: for what is no text, settings that contradict each other, and languages that the
                model does not know, listing those that it does.

        Example:
            >>> nllb = kt.Seq2SeqLM.from_preset("hf://facebook/nllb-200-distilled-600M")
            >>> nllb.translate("The house is small.", "English", "French")
        """
        direction, config = self.direction(source_language, target_language, **generation)
        notices.tell_unused(config, generation, return_scores)
        texts = as_text(texts, "the text") if isinstance(texts, str) else texts_of(texts, inputs=SOURCES)[0]
        count = 1 if isinstance(texts, str) else len(texts) if prefix or forced_words else 0
        begun = self._begun(prefix, count, direction) if prefix else None
        words = self._inside(forced_words, count, direction) if forced_words else None

        def encode(texts):
            asked = [not keep_letterless or has_letter(self._said(text, direction)) for text in texts]
            for given in (begun, words):
                asked = [each or bool(given and given[row]) for row, each in enumerate(asked)]
            return self.encode_sources(
                [text if each else "" for text, each in zip(texts, asked, strict=True)], direction, parse_special, names
            )

        def generate_begun(sources, config, batch_size, numbers):
            given = {"prefixes": begun, "words": words}
            chosen = {name: each and [each[number] for number in numbers] for name, each in given.items()}
            return self.generate(sources, config, batch_size, numbers, **chosen)

        return self._texts(
            encode,
            generate_begun,
            texts,
            config,
            batch_size=batch_size,
            return_scores=return_scores,
            progress=progress,
            begun=begun,
            kept=lambda text: str(self._said(text, direction)) if text.strip() else "",
            told=lambda cut, total: self._tell_cut(cut, total, names),
        )

    def _said(self, text, direction):
        """A text without the token of a language that it begins with."""
        tokenizer = self._tokenizer()
        if tokenizer.language_place != "source" or (direction.target_language or tokenizer.target_language) is not None:
            return text
        code = next((code for code in tokenizer.languages if text.startswith(code)), "")
        return text.removeprefix(code).lstrip() if code else text

    def _tell_cut(self, cut, total, names=None):
        notices.tell_cut(cut, total, names, self._longest("target_embeddings"), "translations")

    def summarize(self, texts, **options):
        """Summarize texts, with a model that was trained to: as `translate`, with what the checkpoint says of
        summaries: a prefix such as "summarize: " before each text, and its own settings.

        Args:
            texts: a string, or a list of strings.
            **options: of `translate`, but for languages and `prefix`.

        Example:
            >>> bart = kt.Seq2SeqLM.from_preset("hf://facebook/bart-large-cnn")
            >>> bart.summarize(article)
        """
        params = self._task_params().get("summarization") or {}
        texts, single = texts_of(texts, inputs=SOURCES)
        before, settings = params.get("prefix", ""), fields_of(params)
        known = {field.name for field in dataclasses.fields(GenerationConfig)}
        asked = {**settings, **{name: value for name, value in options.items() if name in known}}
        # What the checkpoint says, and the caller has made useless, is nothing to warn the caller of.
        without_effect = set().union(*notices.unused(self.generation_config(**asked), settings))
        settings = {name: value for name, value in settings.items() if name not in without_effect}
        results = self.translate(
            [before + text if text.strip() else text for text in texts],
            **{**settings, **options},
        )
        if not single:
            return results
        return tuple(each[0] for each in results) if isinstance(results, tuple) else results[0]

    def translate_document(
        self,
        texts,
        source_language=None,
        target_language=None,
        *,
        max_length=512,
        batch_size=32,
        names=None,
        progress=None,
        **generation,
    ):
        """Translate texts of any length, sentence by sentence, line ends, blank lines and indentation kept.

        A sentence longer than the model reads is translated in pieces. What holds no letter, such as a rule of dashes,
        stays as it is.

        Args:
            texts: a string, or a list of strings.
            source_language, target_language, batch_size: as for `translate`.
            max_length: the most tokens of a piece; fewer where the model reads, or writes, fewer.
            names: what warnings call each text, as for `translate`.
            progress: a function called with the number of sentences done, each time some are.
            **generation: as for `translate`, but for more than one result.

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
        language = language_of(direction.source_language or self._tokenizer().language_pair[0] or "")
        documents = [split_document(text, language and language.codes[0]) for text in texts]
        (around,) = self._wrapped([direction.prefix + "x"], direction)
        limits = [max_length, self._longest("embeddings"), self._tokenizer().max_length]
        limits += [config.max_new_tokens or config.max_length or NEW_TOKENS]
        most = max(min(limit for limit in limits if limit) - len(around), 1)
        spans_of = lambda sentences: self._tokenizer().encode_with_offsets(sentences).spans  # noqa: E731
        documents = [cut_to_fit(document, spans_of, most) for document in documents]
        sentences = [sentence for document in documents for sentence in document.sentences]
        places = [
            f"sentence {number} of {names[index] if names else f'index {index}'}"
            for index, document in enumerate(documents)
            for number in range(1, len(document.sentences) + 1)
        ]
        options = {"batch_size": batch_size, "names": places, "progress": progress, **generation}
        results = iter(self.translate(sentences, source_language, target_language, **options))
        joined = [document.joined(list(itertools.islice(results, len(document.sentences)))) for document in documents]
        return joined[0] if single else joined

    def stream(self, text, source_language=None, target_language=None, *, keep_letterless=True, **generation):
        """Translate one text, piece by piece: an iterator of strings that join to what `translate` returns, as they are
        made.

        Arguments are as for `translate`, but for beams (a beam search knows its first word last) and for more than one
        translation.
        """
        given = {"num_beams": 1, "num_return_sequences": 1, **generation}
        direction, config = self.direction(source_language, target_language, **given)
        notices.tell_unused(config, generation)
        text = as_text(text, "the text")
        if keep_letterless and text.strip() and not has_letter(self._said(text, direction)):
            yield self._said(text, direction)
            return
        (source,) = self.encode_sources([text], direction)
        if not source:
            return
        cache, prompts, read = self._start([source], config, 1)
        options = {"longest": self._longest("target_embeddings"), "sources": read}
        token_ids = stream(self, self._step, cache, prompts, config, **options)
        yield from self._pieces(source, token_ids, config, self._tell_cut)

    def score(
        self,
        sources,
        targets,
        source_language=None,
        target_language=None,
        *,
        per_token=False,
        batch_size=32,
        progress=None,
    ):
        """How likely translations are: the sum of the natural logarithms of their tokens' probabilities, those of the
        end and of a language among them.

        Args:
            sources, targets: a string each, or lists of as many strings.
            source_language, target_language: as for `translate`.
            per_token: whether to return each token's instead.
            batch_size: pairs computed together.
            progress: a function called with the number of pairs done, each time some are.

        Returns: a float for strings, an array `[N]` for lists; with `per_token` an array `[T]`, or a list of them, one
            number for each token of `tokenizer.encode_targets`.

        Raises:
            TypeError, ValueError: for what is no text, lists of unequal length, an empty source, and texts that are
                longer than the model reads.

        Example:
            >>> translator.score("The cat sleeps.", "Le chat dort.")
        """
        pairs, config, single = self._given_pairs(sources, targets, source_language, target_language)
        _, sources, labels = zip(*pairs, strict=True) if pairs else ((), (), ())
        options = {"start_id": config.start_id, "batch_size": batch_size, "progress": progress}
        scores = pair_log_probabilities(self, sources, labels, **options)
        if not per_token:
            scores = [float(each.sum()) for each in scores]
        return scores[0] if single else scores if per_token else np.array(scores)

    def token_log_probabilities(self, inputs):
        """The log-probabilities, float32 `[B, T]`, of `labels` after `token_ids [B, S]` and `decoder_token_ids`, int32
        `[B, T]`."""
        return score_tokens(self, inputs)

    def align(
        self,
        sources,
        targets,
        source_language=None,
        target_language=None,
        *,
        layer=None,
        method="argmax",
        batch_size=32,
        progress=None,
    ):
        """Which words of a translation stand for which words of its source, by the decoder's attention.

        Args:
            sources, targets: a string each, or lists of as many strings: any translations, the model's own or others'.
            source_language, target_language: as for `translate`.
            layer: whose attention, from 0, or from the last one backwards when negative; by default the last of the
                first half. Which is best differs from model to model: look at some pairs.
            method: "argmax": each target word with the source word that it looked at most. "both": of those pairs the
                ones in which no other target word looked at that source word more: fewer, and surer.
            batch_size: pairs computed together, fewer where they are long.
            progress: a function called with the number of pairs done, each time some are.

        Returns: an `Alignment`, or a list of them: `pairs` of word indices, the words, their spans, and scores.

        Raises:
            TypeError, ValueError: as `score`, and for a layer or method that is not there.

        Example:
            >>> alignment = translator.align("The cat sleeps.", "Le chat dort.")
            >>> [(alignment.source_words[i], alignment.target_words[j]) for i, j in alignment.pairs]

        Source: Chen et al. 2020, arXiv:2004.14837 (the attention where a token is read); Garg et al. 2019,
        arXiv:1909.02074 (the mean over heads).
        """
        count = self.config.decoder.num_layers
        layer = max(count // 2 - 1, 0) if layer is None else layer
        if isinstance(layer, bool) or not isinstance(layer, int) or not -count <= layer < count:
            raise ValueError(f"Expected layer to be None or from {-count} to {count - 1}, got {layer!r}.")
        if method not in ("argmax", "both"):
            raise ValueError(f'Expected method to be "argmax" or "both", got {method!r}.')
        pairs, config, single = self._given_pairs(sources, targets, source_language, target_language)
        options = {"batch_size": batch_size, "progress": progress}
        results = alignments(self, pairs, config.start_id, layer, method, **options) if pairs else []
        return results[0] if single else results

    def cross_attention(self, inputs):
        """What `decoder_token_ids`, int32 `[B, T]`, look at in `token_ids [B, S]`: the mean over the heads of each
        layer, `[B, L, T, S]`."""
        return cross_attention(self, inputs)

    def _inside(self, words, count, direction):
        """For each text the ids of its words, as they are inside of a translation: behind a space, where one is
        written."""
        if isinstance(words, str) or all(isinstance(each, str) for each in words):
            words = [[words] if isinstance(words, str) else words] * count
        if len(words) != count:
            raise ValueError(f"Expected a list of forced words, or one for each of {count} texts, got {len(words)}.")
        (before,) = self._begun("a", 1, direction)
        known = {}
        for word in dict.fromkeys(word for each in words for word in each):
            text = as_text(word, "a forced word").strip()
            (ids,) = self._begun(f"a{'' if IDEOGRAPH.match(text) else ' '}{text}", 1, direction)
            known[word] = ids[len(before) :]
            if not text or ids[: len(before)] != before or not known[word]:
                raise ValueError(f"Expected forced words that the model can write, got {word!r}.")
        return [[known[word] for word in each] for each in words]

    def _given_pairs(self, sources, targets, source_language, target_language):
        """Of translations that are given: ((source, target), source ids, labels) of each, the settings, and whether it
        is one alone."""
        (sources, single), (targets, one) = texts_of(sources, inputs=SOURCES), texts_of(targets, inputs=TARGETS)
        if len(sources) != len(targets) or single != one:
            raise ValueError(
                f"Expected as many targets as sources, got {len(targets)} for {len(sources)}. Give two strings, or two "
                "lists of one length."
            )
        if not sources:
            return [], self.generation, False
        direction, config = self.direction(source_language, target_language)
        source_ids = self.encode_sources(sources, direction)
        empty = [index for index, ids in enumerate(source_ids) if not ids]
        if empty:
            raise ValueError(f"Expected some text in each source, got an empty one at index {empty[0]}.")
        labels = self._tokenizer().encode_targets(targets, direction.target_language)
        longest = self._longest("target_embeddings")
        long = [index for index, ids in enumerate(labels) if longest is not None and len(ids) > longest]
        if long:
            raise ValueError(
                f"Expected targets of at most {longest} tokens, which the model has positions for, got "
                f"{len(labels[long[0]])} at index {long[0]}."
            )
        for ids in labels:
            self._check_ids("targets", np.array(ids), "target_embeddings")
        return list(zip(zip(sources, targets, strict=True), source_ids, labels, strict=True)), config, single

    def direction(self, source_language=None, target_language=None, **generation):
        """From which language to which, as a `directions.Direction`, and the `GenerationConfig` for it, with the
        settings of a call. Arguments as for `translate`."""
        config = self.generation_config(**generation)
        told = find_direction(self._tokenizer(), config, self._task_params(), source_language, target_language)
        return told, self.generation_config(**{**told.settings, **generation}) if told.settings else config

    def _task_params(self):
        """What the `config.json` of a checkpoint says of single tasks, as T5's does."""
        return (self.origin.values.get("task_specific_params") if self.origin else None) or {}

    def _begun(self, prefix, count, direction):
        """What each translation begins with, as ids."""
        if not isinstance(prefix, str) and len(prefix) != count:
            raise ValueError(f"Expected one prefix, or one for each of {count} texts, got {len(prefix)}.")
        prefixes = [prefix] * count if isinstance(prefix, str) else list(prefix)
        encoded = self._tokenizer().encode_targets(prefixes, direction.target_language)
        ends = {self._tokenizer().end_id}
        return [
            list(itertools.takewhile(lambda each: each not in ends, ids)) if text else []
            for text, ids in zip(prefixes, encoded, strict=True)
        ]

    def generate(self, sources, config=None, batch_size=None, numbers=None, prefixes=None, words=None):
        """Generate from sources as token ids, each with its end token: the `Generated` of `generation.generate`.

        Args:
            sources: a list of lists of ids.
            config: a `GenerationConfig`; the model's own by default.
            batch_size: where shapes are compiled, fill up to so many rows, at most; more sources than that still go as
                one batch.
            numbers: int `[B]`, which draws each source gets when sampling; by default its place.
            prefixes: a list of lists of ids, what each result begins with, after `start_id`; they are not returned.
            words: for each source a list of words, lists of ids, that have to occur: see `generation.forced_words`.
        """
        if isinstance(sources, str) or any(isinstance(each, str) for each in sources):
            raise TypeError(f"Expected lists of token ids, got text, {sources!r:.80}. {self.advice['generate']}")
        config = self.generation_config() if config is None else self._checked(config)
        numbers = np.arange(len(sources)) if numbers is None else np.asarray(numbers)
        if prefixes and len(set(map(len, prefixes))) > 1:
            return self._generate_by_prefix(sources, config, numbers, prefixes, words)
        cache, prompts, read = self._start(sources, config, batch_size or len(sources), prefixes)
        numbers = np.pad(numbers, (0, len(prompts) - len(sources)))
        options = {"numbers": numbers, "longest": self._longest("target_embeddings"), "sources": read}
        options["over"] = self._over(config, sources)
        if words and any(words):
            options["words"] = [*words, *words[:1] * (len(prompts) - len(sources))]
        generated = generate(self, self._step, cache, prompts, config, **options)
        generated = generated.select(slice(len(sources) * config.num_return_sequences))
        if "words" in options and (lacking := int((generated.scores < IMPOSSIBLE / 2).sum())):
            warnings.warn(
                f"{lacking} of {len(generated.scores)} results could not be made with the words that have to occur. "
                "Raise num_beams, or ask for fewer words.",
                stacklevel=outside(),
            )
            generated.lengths[generated.scores < IMPOSSIBLE / 2] = 0
        return generated

    def _generate_by_prefix(self, sources, config, numbers, prefixes, words):
        """As `generate`, those together whose prefixes are of one length: a batch has its prompts side by side."""
        lengths = np.array(list(map(len, prefixes)))
        groups = [np.flatnonzero(lengths == length) for length in sorted(set(lengths.tolist()))]
        parts = [
            self.generate(
                [sources[row] for row in rows],
                config,
                None,
                numbers[rows],
                [prefixes[row] for row in rows],
                words and [words[row] for row in rows],
            )
            for rows in groups
        ]
        count = config.num_return_sequences
        places = (np.concatenate(groups)[:, None] * count + np.arange(count)).ravel()
        return Generated.joined(parts, config.padding_id).select(np.argsort(places))

    def _continuation(self, config, prompt, begun=()):
        return Continuation(self._tokenizer().decode, config.stop, begun)

    def _checked(self, config):
        if config.start_id is None:
            raise ValueError("The decoder has nothing to start with: give start_id, or a tokenizer with a start token.")
        return super()._checked(config)

    def encode_sources(self, texts, direction=None, parse_special=False, names=None):
        """Texts as the encoder reads them: lists of ids, as `Tokenizer.encode_sources` has it, in front of each the
        words that its languages ask for; an empty one where there is no text.

        What is longer than the model reads is cut, with a warning that says how many were; so it says of tokens that
        the model does not know.

        Args:
            texts: a list of strings.
            direction: the first that `direction` returned; by default that of no languages.
            parse_special: as for `translate`.
            names: what warnings call each text, as for `translate`.
        """
        direction = self.direction()[0] if direction is None else direction
        longest = self._longest("embeddings")
        sources = [
            ids if text.strip() else []
            for text, ids in zip(texts, self._wrapped(texts, direction, parse_special), strict=True)
        ]
        long = [row for row, ids in enumerate(sources) if longest is not None and len(ids) > longest]
        if long:
            notices.tell_long(long, len(sources), names, longest)
            cut = self._wrapped([texts[row] for row in long], direction, parse_special, longest)
            for row, ids in zip(long, cut, strict=True):
                sources[row] = ids
        if not parse_special:
            notices.tell_spelled(self._tokenizer(), texts)
        notices.tell_unknown(self._tokenizer(), texts, sources, parse_special)
        return sources

    def _wrapped(self, texts, direction, parse_special=False, max_length=None):
        """Texts as ids, with the words and tokens of a direction."""
        options = {"max_length": max_length, "parse_special": parse_special}
        if self._tokenizer().language_place == "source":
            options["target_language"] = direction.target_language
        texts = [direction.prefix + text for text in texts] if direction.prefix else texts
        return self._tokenizer().encode_sources(texts, direction.source_language, **options)

    def _start(self, sources, config, batch_size, prefixes=None):
        """The cache, the prompts, and what was read, -1 for padding, for sources: padded to a few shapes where each
        shape is compiled."""
        if not all(map(len, sources)):
            raise ValueError("Expected at least one token in each source, its end token, got an empty source.")
        token_ids = pack(sources, padding_id=self.config.padding_id).token_ids
        self._check_ids("sources", token_ids, "embeddings")
        rows, length = token_ids.shape
        if keras.backend.backend() != "torch":
            rows = min(power_of_two(rows), max(batch_size, rows))
            length = bucket(length)
            longest = self._longest("embeddings")
            # What is too long stays so: the embeddings say it.
            length = length if longest is None else max(min(length, longest), token_ids.shape[1])
            token_ids = np.pad(
                token_ids, ((0, 0), (0, length - token_ids.shape[1])), constant_values=self.config.padding_id
            )
            token_ids = np.concatenate([token_ids, np.repeat(token_ids[:1], rows - len(token_ids), axis=0)])
        cache = executors.prefill(self, self._read, ops.convert_to_tensor(token_ids, "int32"), None)
        read = np.where(token_ids == self.config.padding_id, -1, token_ids)
        prompts = np.full((rows, 1), config.start_id, "int32")
        if prefixes:
            rest = np.array([*prefixes, *prefixes[:1] * (rows - len(prefixes))], "int32")
            prompts = np.concatenate([prompts, rest.reshape(rows, -1)], axis=1)
        return cache, prompts, read

    def _read(self, token_ids, cache):
        """The cache for sources `[B, S]`, nothing written yet."""
        mask = self.backbone.padding_mask(token_ids)
        encoded = self.backbone.encode(token_ids, mask)
        return None, self.backbone.start_cache(token_ids.shape[0], SMALLEST_ROOM, encoded, mask)

    # Leaving

    def export_ctranslate2(self, folder, quantization=None):
        """Write the model as a folder of CTranslate2's, with `tokenizer.json` beside it.

        It takes the extra `ctranslate2`, and gives the same translations: its `translate_batch` takes what
        `tokenizer.to_pieces(ids)` makes of each of `tokenizer.encode_sources(texts)`, and
        `tokenizer.from_pieces(pieces, target=True)` makes ids of what it gives. Generation settings are arguments of
        `translate_batch`; tokens that this model's settings forbid stay forbidden.

        Args:
            folder: made if it is not there; an earlier export is replaced in one step.
            quantization: "int8", "float16" and others of CTranslate2's; by default float32.

        Raises:
            FileExistsError: when `folder` holds something else.
            ValueError: listing all of the model that CTranslate2 has no place for.

        Example:
            >>> kt.Seq2SeqLM.from_preset("english-french").export_ctranslate2("english-french-ct2", quantization="int8")
        """
        ctranslate2.export(self, folder, quantization)
