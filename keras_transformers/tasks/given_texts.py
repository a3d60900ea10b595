"""Given texts, of the model itself or of others: how likely they are."""

import typing
from collections.abc import Callable, Sequence

import numpy as np

from keras_transformers import spelling
from keras_transformers.backends.types import Tensor
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.tasks.answers import Progress
from keras_transformers.tasks.scoring import log_probabilities, score_tokens, window_sizes


class GivenTexts:
    """The part of a `CausalLM` that looks at texts instead of writing them."""

    # Of the other part, and what is below it.
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
        """How likely texts are: the sum of the natural logarithms of their tokens' probabilities.

        A text is read as `generate` reads a prompt, with what the tokenizer puts before it. Where that is nothing, the
        first token is not scored, for nothing stands before it; an end token is neither read nor scored.

        Args:
            texts: a string, or a list, array, series or data frame of strings, or anything else that holds texts.
            per_token: give the logarithm of each token's probability instead, NaN where it is not scored.
            parse_special: as for `generate`.
            max_length, stride: a longer text is read in windows of so many tokens, each so many further on than the one
                before; a token is scored once, in the first window that holds it (`tasks/scoring.py` has a picture). By
                default what the model reads, but 1,024 at most, and half of that.
            batch_size: windows computed together.
            progress: a function called with the number of windows done, each time some are.

        Returns: a float for a string, an array `[N]` for a list; with `per_token` an array `[T]`, or a list of them,
            one number for each token of `tokenizer.encode`.

        Raises:
            TypeError, ValueError: for what is no text, a `max_length` past what the model reads or below 2, and a
                `stride` outside of [1, max_length].

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
        """The perplexity of texts: `exp` of the mean negative logarithm of the probability, over all tokens scored.

        Arguments as for `score`. The figure depends on all of them, and on the tokenizer: quote `max_length` and
        `stride`. For WikiText and the like, join the lines to one text as they were.

        Returns: a float.

        Raises:
            TypeError, ValueError: as `score`, and where no token can be scored.

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

    def token_log_probabilities(self, inputs: dict[str, Tensor]) -> Tensor:
        """The log-probabilities, float32 `[B, T]`, of `labels` after `token_ids`, int32 `[B, T]` each."""
        return score_tokens(self, inputs)


spelling.spell_out(GivenTexts)
