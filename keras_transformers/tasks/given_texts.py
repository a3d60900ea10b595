"""Scores of given texts, from the model itself or from elsewhere."""

import typing
from collections.abc import Callable, Sequence

import numpy as np

from keras_transformers import spelling
from keras_transformers.backends.types import Tensor
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.reranking import Ranking, YesNo, answer_logits, ranked, read_query, yes_scores
from keras_transformers.tasks.scoring import log_probabilities, score_tokens, window_sizes


class GivenTexts:
    """The part of a `CausalLM` that scores given texts."""

    # Defined by the other base classes of `CausalLM`.
    _encoded: Callable[[list[str], bool], tuple[Sequence[int], list[list[int]]]]
    _longest: Callable[[str], int | None]
    _check_ids: Callable[[str, np.ndarray, str], None]

    def score(
        self,
        texts: Texts,
        *,
        per_token: bool = False,
        parse_special: bool = False,
        max_length: int | None = None,
        stride: int | None = None,
        batch_size: int = 8,
        progress: Progress | None = None,
    ) -> float | np.ndarray | list[np.ndarray]:
        """Log-likelihood of texts: the sum of the natural logarithms of the token probabilities.

        A text is read as `generate` reads a prompt, after the tokens that the tokenizer puts in front. If it puts none,
        the first token is not scored, since no token precedes it. An end token is neither read nor scored.

        Args:
            texts: a string, or a list, array, series or data frame of strings, or any other container of texts.
            per_token: whether to return the logarithm for each token instead, NaN for tokens without a score.
            parse_special: as for `generate`.
            max_length, stride: a longer text is read in windows of `max_length` tokens that begin `stride` tokens
                apart. Each token is scored once, in the first window that holds it (`tasks/scoring.py` has a picture).
                By default the length that the model reads, but at most 1,024, and half of that.
            batch_size: windows computed together.
            progress: a function called with the number of finished windows, after each batch.

        Returns: a float for a string, an array `[N]` for a list; with `per_token` an array `[T]`, or a list of them,
            with one number for each token of `tokenizer.encode`.

        Raises:
            TypeError, ValueError: for values that are not texts, a `max_length` below 2 or above the model's longest
                text, and a `stride` outside [1, max_length].

        Example:
            >>> lm.score(["The cat sat.", "Cat the sat."])  # doctest: +SKIP
            array([-15.2, -27.9])
        """
        texts, single = texts_of(texts)
        before, encoded = self._encoded(texts, parse_special)
        sequences = [[*before, *ids] for ids in encoded]
        for ids in sequences:
            self._check_ids("texts", np.array(ids, "int32"), "embeddings")
        max_length, stride = window_sizes(max_length, stride, self._longest("embeddings"))
        options: dict[str, typing.Any] = {"max_length": max_length, "stride": stride}
        options |= {"batch_size": batch_size, "progress": progress}
        scores = [each[len(before) :] for each in log_probabilities(self, sequences, **options)]
        if per_token:
            return scores[0] if single else scores
        sums = [float(np.nansum(each)) for each in scores]
        return sums[0] if single else np.array(sums)

    def perplexity(
        self,
        texts: Texts,
        *,
        parse_special: bool = False,
        max_length: int | None = None,
        stride: int | None = None,
        batch_size: int = 8,
        progress: Progress | None = None,
    ) -> float:
        """Perplexity of texts: `exp` of the mean negative log-probability over all scored tokens.

        Takes the arguments of `score`. The result depends on all of them, and on the tokenizer: report `max_length` and
        `stride` with it. For WikiText and similar data, join the lines into one text as they were.

        Returns: a float.

        Raises:
            TypeError, ValueError: as `score`, and if no token can be scored.

        Example:
            >>> lm.perplexity(pathlib.Path("wiki.test.tokens").read_text(), max_length=1024, stride=512)
        """
        options: dict[str, typing.Any] = {"max_length": max_length, "stride": stride}
        options |= {"batch_size": batch_size, "progress": progress, "parse_special": parse_special}
        scores: typing.Any = self.score(texts_of(texts)[0], per_token=True, **options)
        scores = np.concatenate(scores) if scores else np.zeros(0)
        if not np.isfinite(scores).any():
            raise ValueError("Expected texts of two tokens or more, got none: nothing stands before a first token.")
        return float(np.exp(-np.nanmean(scores)))

    def rank(
        self,
        query: str,
        texts: Texts,
        *,
        template: YesNo = YesNo(),
        top: int | None = None,
        max_length: int | None = None,
        batch_size: int = 8,
        progress: Progress | None = None,
    ) -> Ranking:
        """Rank texts by relevance to a query, with a reranker that answers "yes" or "no".

        Args:
            query: a string.
            texts: a list of strings.
            template: how the model is asked; the default is for Qwen3-Reranker. `YesNo(instruction=…)` says what to
                look for.
            top: how many texts to return; None for all.
            max_length: the most tokens of a row; by default as many as the model reads. Longer questions are cut, and a
                warning says how many.
            batch_size: texts computed together.
            progress: a function called with the number of finished texts, after each batch.

        Returns: a list of `{"index": place in texts, "score": probability of "yes"}`, best first.

        Raises:
            TypeError, ValueError: for values that are not texts, and a `max_length` without room for a question.

        Example:
            >>> reranker = kt.CausalLM.from_preset("hf://Qwen/Qwen3-Reranker-0.6B")
            >>> reranker.rank("Who wrote Faust?", ["Goethe did.", "It rains."])  # doctest: +SKIP
            [{'index': 0, 'score': 0.99}, {'index': 1, 'score': 0.0001}]
        """
        texts = read_query(query, texts, top)
        options: dict[str, typing.Any] = {"batch_size": batch_size, "progress": progress}
        return ranked(yes_scores(self, query, texts, template, max_length=max_length, **options), top)

    def answer_logits(self, inputs: dict[str, Tensor]) -> Tensor:
        """The logits `[B, A]` of the `answers`, int32 `[B, A]`, after place `last`, int32 `[B]`, of `token_ids`."""
        return answer_logits(self, inputs)

    def token_log_probabilities(self, inputs: dict[str, Tensor]) -> Tensor:
        """The log-probabilities, float32 `[B, T]`, of `labels` after `token_ids`, both int32 `[B, T]`."""
        return score_tokens(self, inputs)


spelling.spell_out(GivenTexts)
