"""Scores and word alignments of given translations, from the model itself or from elsewhere."""

import typing
from collections.abc import Callable

import numpy as np

from keras_transformers import spelling
from keras_transformers.backends.types import Tensor
from keras_transformers.data.pairs import SOURCES, TARGETS
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.tasks import translation
from keras_transformers.tasks.alignment import Alignment, alignments, cross_attention
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.directions import Direction
from keras_transformers.tasks.scoring import pair_log_probabilities, score_tokens
from keras_transformers.tasks.translation import SourceOptions
from keras_transformers.tokenizers.tokenizer import Tokenizer


class Pair(typing.NamedTuple):
    """A given translation.

    texts: the source and the target.
    source_ids: the ids that the encoder reads.
    labels: the ids that the decoder should write.
    """

    texts: tuple[str, str]
    source_ids: list[int]
    labels: list[int]


def given_texts(sources: typing.Any, targets: typing.Any) -> tuple[list[str], list[str], bool]:
    """Sources, their translations, and whether both are one string.

    Raises:
        TypeError, ValueError: for values that are not texts, and for unequal numbers of texts.
    """
    (sources, single), (targets, single_target) = texts_of(sources, inputs=SOURCES), texts_of(targets, inputs=TARGETS)
    if len(sources) != len(targets) or single != single_target:
        raise ValueError(
            f"Expected as many targets as sources, got {len(targets)} for {len(sources)}. Give two strings, or two "
            "lists of one length."
        )
    return sources, targets, single


def given_pairs(
    tokenizer: Tokenizer, sources: list[str], targets: list[str], options: SourceOptions, longest: int | None
) -> list[Pair]:
    """The `Pair` of each source and its translation, which is at most `longest` tokens long.

    Raises:
        ValueError: for an empty source, and for longer translations.
    """
    encoded = translation.source_ids(tokenizer, sources, options)
    empty = [index for index, ids in enumerate(encoded) if not ids]
    if empty:
        raise ValueError(f"Expected some text in each source, got an empty one at index {empty[0]}.")
    labels = tokenizer.encode_targets(targets, options.direction.target_language)
    long = [index for index, ids in enumerate(labels) if longest is not None and len(ids) > longest]
    if long:
        raise ValueError(
            f"Expected targets of at most {longest} tokens, which the model has positions for, got "
            f"{len(labels[long[0]])} at index {long[0]}."
        )
    return [Pair(*each) for each in zip(zip(sources, targets, strict=True), encoded, labels, strict=True)]


class GivenTranslations:
    """The part of a `Seq2SeqLM` that scores and aligns given translations."""

    # Defined by the other base classes of `Seq2SeqLM`.
    config: typing.Any
    generation: GenerationConfig
    direction: Callable[..., tuple[Direction, GenerationConfig]]
    _tokenizer: Callable[[], Tokenizer]
    _longest: Callable[[str], int | None]
    _check_ids: Callable[[str, np.ndarray, str], None]

    def score(
        self,
        sources: Texts,
        targets: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        per_token: bool = False,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> float | np.ndarray | list[np.ndarray]:
        """Log-likelihood of translations: the sum of the natural logarithms of the token probabilities, including the
        end token and any language token.

        Args:
            sources, targets: a string each, or lists of as many strings.
            source_language, target_language: as for `translate`.
            per_token: whether to return the logarithm for each token instead.
            batch_size: pairs computed together.
            progress: a function called with the number of finished pairs, after each batch.

        Returns: a float for strings, an array `[N]` for lists; with `per_token` an array `[T]`, or a list of them, with
            one number for each token of `tokenizer.encode_targets`.

        Raises:
            TypeError, ValueError: for values that are not texts, lists of unequal length, an empty source, and texts
                that are longer than the model reads.

        Example:
            >>> translator.score("The cat sleeps.", "Le chat dort.")
        """
        pairs, config, single = self._given_pairs(sources, targets, source_language, target_language)
        sources, labels = [pair.source_ids for pair in pairs], [pair.labels for pair in pairs]
        options: dict[str, typing.Any] = {"start_id": config.start_id, "batch_size": batch_size, "progress": progress}
        scores = pair_log_probabilities(self, sources, labels, **options)
        if per_token:
            return scores[0] if single else scores
        sums = [float(each.sum()) for each in scores]
        return sums[0] if single else np.array(sums)

    def token_log_probabilities(self, inputs: dict[str, Tensor]) -> Tensor:
        """The log-probabilities, float32 `[B, T]`, of `labels` after `token_ids [B, S]` and `decoder_token_ids`, int32
        `[B, T]`."""
        return score_tokens(self, inputs)

    def align(
        self,
        sources: Texts,
        targets: Texts,
        source_language: str | None = None,
        target_language: str | None = None,
        *,
        layer: int | None = None,
        method: str = "argmax",
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> Alignment | list[Alignment]:
        """Align the words of translations with the words of their sources, by the decoder's cross-attention.

        Args:
            sources, targets: a string each, or lists of as many strings. The translations may come from anywhere.
            source_language, target_language: as for `translate`.
            layer: which layer's attention, from 0; a negative number counts from the last one. By default the last
                layer of the first half. The best layer differs between models: look at some pairs.
            method: "argmax" pairs each target word with the source word of its highest attention. "both" keeps only
                those pairs in which no other target word has a higher attention to that source word: fewer pairs, but
                surer.
            batch_size: pairs computed together; fewer if they are long.
            progress: a function called with the number of finished pairs, after each batch.

        Returns: an `Alignment`, or a list of them: `pairs` of word indices, the words, their spans, and scores.

        Raises:
            TypeError, ValueError: as `score`, and for a missing layer or an unknown method.

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
        options: dict[str, typing.Any] = {"batch_size": batch_size, "progress": progress}
        results = alignments(self, pairs, config.start_id, layer, method, **options) if pairs else []
        return results[0] if single else results

    def cross_attention(self, inputs: dict[str, Tensor]) -> Tensor:
        """The attention of `decoder_token_ids`, int32 `[B, T]`, to `token_ids [B, S]`: the mean over the heads of each
        layer, `[B, L, T, S]`."""
        return cross_attention(self, inputs)

    def _given_pairs(
        self, sources: Texts, targets: Texts, source_language: str | None, target_language: str | None
    ) -> tuple[list[Pair], GenerationConfig, bool]:
        """The `Pair` of each given translation, the `GenerationConfig`, and whether the translation is one string."""
        sources, targets, single = given_texts(sources, targets)
        if not sources:
            return [], self.generation, False
        direction, config = self.direction(source_language, target_language)
        longest = self._longest("target_embeddings")
        pairs = given_pairs(
            self._tokenizer(), sources, targets, SourceOptions(direction, self._longest("embeddings")), longest
        )
        for pair in pairs:
            self._check_ids("targets", np.array(pair.labels), "target_embeddings")
        return pairs, config, single


spelling.spell_out(GivenTranslations)
