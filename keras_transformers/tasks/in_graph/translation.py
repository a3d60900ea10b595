"""A translator as a graph: strings to strings, with the loop of the decoder inside.

    texts ─► ids with the tokens of their languages ─► encoder ─► loop (generation.py) ─► texts
      └─ a text without a letter, such as "12:30", answers itself

Legend: `N` texts, `S` source length, `K` results of a text.
"""

import typing
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_transformers.generation.decoding import limits
from keras_transformers.generation.settings import penalties
from keras_transformers.tasks.in_graph.generation import (
    Prompts,
    Written,
    check_settings,
    generated,
    python_strings,
    words_of,
)
from keras_transformers.tasks.in_graph.languages import LanguageIds, check_languages
from keras_transformers.tasks.in_graph.reading import TEXTS, CharacterClasses, Reading, clean, traced
from keras_transformers.tokenizers.in_graph.decoding import Detokenizer
from keras_transformers.tokenizers.in_graph.tokenizer import DIFFICULT, wrapped
from keras_transformers.tokenizers.packing import Template
from keras_transformers.tokenizers.translation import parts_around

_LANGUAGES = [tf.TensorSpec([None], tf.string, name=name) for name in ("source_language", "target_language")]
_Language: typing.TypeAlias = typing.Any  # token ids [N], one id, or None


class Translation:
    """Texts to translations, as `Seq2SeqLM.translate`.

    Args:
        source_language, target_language, keep_letterless, **generation: as for `translate`.

    Raises:
        ValueError: for settings that a graph does not follow, and for a tokenizer that it does not decode exactly.
    """

    def __init__(
        self,
        task: typing.Any,
        reading: Reading,
        source_language: str | None = None,
        target_language: str | None = None,
        keep_letterless: bool = True,
        **generation: typing.Any,
    ) -> None:
        self.task, self.reading, self._keep_letterless = task, reading, keep_letterless
        self._given = {"source_language": source_language, "target_language": target_language, **generation}
        if task.shortlist is not None and "shortlist" not in generation:
            self._given["shortlist"] = False  # which tokens a sentence may use is looked up outside of a graph
        languages = check_languages(task, source_language, target_language)
        self.direction, self.config = task.direction(**{**self._given, **languages})
        check_settings(self.config)
        if self.config.stop:
            raise ValueError("Expected a translator without stop strings in a graph, got some. Give stop=().")
        self._limit = int(limits(self.config, np.array([1]), task._longest("target_embeddings"))[0])
        tokenizer = task._tokenizer()
        self._texts = Detokenizer(tokenizer, DIFFICULT)
        self._classes = CharacterClasses()
        self._languages: typing.Any = LanguageIds(tokenizer) if tokenizer.languages else None
        self.parts: list[tf.Module] = [part for part in (self._texts, self._classes, self._languages) if part]
        self.serve = None if languages else traced(self._serve, TEXTS)
        self.translate = self._languages and traced(self._translate, TEXTS, *_LANGUAGES)

    def functions(self) -> dict[str, Callable[..., typing.Any]]:
        """The functions of strings, by the names of their signatures."""
        several = {} if self.translate is None else {"translate": self.translate}
        return several if self.serve is None else {"serving_default": self.serve, **several}

    def _serve(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        tokenizer, direction = self.task._tokenizer(), self.direction
        source = direction.source_language or tokenizer.source_language
        target = direction.target_language or tokenizer.target_language
        return self._translated(texts, *(tokenizer.languages.get(code) for code in (source, target)))

    def _translate(
        self, texts: tf.Tensor, source_language: tf.Tensor, target_language: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        ids = self._languages
        told = self.task._tokenizer().language_place != "source"  # otherwise the target alone is told
        return self._translated(texts, ids(source_language) if told else None, ids(target_language))

    def _translated(self, texts: tf.Tensor, source: _Language, target: _Language) -> dict[str, tf.Tensor]:
        task, count = self.task, self.config.num_return_sequences
        texts = clean(texts)
        have_letters, are_texts = self._classes(texts)
        asked = have_letters if self._keep_letterless else are_texts
        rows = self._sources(tf.where(asked, texts, ""), source, target)
        token_ids = rows.to_tensor(task.config.padding_id)
        written = self._written(token_ids, source, target)
        found = self._texts(words_of(written, self.config, task._tokenizer().target_vocabulary_size))
        found = tf.reshape(found, [-1, count])
        answers = tf.where(are_texts, texts, "")[:, None]
        translations = tf.where(asked[:, None], found, answers)
        scores = tf.where(asked[:, None], tf.reshape(written.scores, [-1, count]), 0.0)
        if count == 1:
            translations, scores = translations[:, 0], scores[:, 0]
        return {"translations": translations, "scores": scores}

    def _sources(self, texts: tf.Tensor, source: _Language, target: _Language) -> tf.RaggedTensor:
        tokenizer = self.task._tokenizer()
        prefix = self.direction.prefix
        ids = self.reading.tokens(tf.strings.join([prefix, texts]) if prefix else texts)
        language = target if tokenizer.language_place == "source" else source
        known: dict[typing.Any, list[typing.Any]] = {"text": ["A"], "language": [] if language is None else [language]}
        parts = [each for part in parts_around(tokenizer, "source") for each in known.get(part, [part])]
        template = Template(single=tuple((part, 0) for part in parts), pair=())
        return wrapped([ids], template, self.reading.length)[0]

    def _written(self, token_ids: tf.Tensor, source: _Language, target: _Language) -> Written:
        task, config = self.task, self.config
        mask = task.backbone.padding_mask(token_ids)
        encoded = task.backbone.encode(token_ids, mask)
        rows = tf.shape(token_ids)[0]
        place = task._tokenizer().language_place
        start = target if place == "start" and target is not None else config.start_id
        prompts = Prompts(
            token_ids=tf.zeros([rows, 1], tf.int32) + (start[:, None] if isinstance(start, tf.Tensor) else start),
            cache=task.backbone.start_cache(rows, 0 * rows, encoded, mask),
            limits=tf.fill([rows], self._limit),
            sources=tf.where(mask, token_ids, -1) if config.encoder_no_repeat_ngram_size else token_ids[:, :0],
        )
        by_row = None
        if place == "forced" and isinstance(target, tf.Tensor):
            by_row = self._languages.forced(penalties(config), tf.repeat(target, max(config.num_beams, 1)))
        return generated(task, prompts, config, by_row)

    def answers(self, text: str) -> bool:
        """Whether the task has an answer for a text, rather than an error."""
        return self.serve is not None

    def expected(self, texts: list[str]) -> list[typing.Any]:
        """The answers of the task."""
        options = {**self._given, "keep_letterless": self._keep_letterless, "return_scores": True}
        return [list(each) for each in zip(*self.task.translate(texts, **options), strict=True)]

    def got(self, texts: list[str]) -> list[typing.Any]:
        """The answers of the graph, in the form of `expected`."""
        found: typing.Any = self.serve and self.serve(tf.constant(texts))
        translations = map(python_strings, found["translations"].numpy())
        return [list(each) for each in zip(translations, found["scores"].numpy().tolist(), strict=True)]
