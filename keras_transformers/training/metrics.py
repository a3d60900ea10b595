"""Metrics: token accuracy and perplexity in training; BLEU, chrF and TER of translations.

Shapes: `B` batch, `T` tokens, `V` vocabulary.
"""

import typing
from collections.abc import Sequence

import keras

from keras_transformers.backends import arrays
from keras_transformers.backends.types import Tensor
from keras_transformers.data.translation_metrics import METRICS as METRICS
from keras_transformers.spelling import did_you_mean
from keras_transformers.training.losses import token_cross_entropy


@keras.saving.register_keras_serializable(package="keras_transformers")
class TokenMean(keras.metrics.Mean):
    """The mean of a value over all tokens of weight 1.

    The `Mean` of Keras first averages each row, including its padding, so that the shape of a batch changes the result.

    Example:
        >>> metric = TokenMean("loss")
        >>> metric.update_state([[2.0, 0.0], [3.0, 4.0]], [[1.0, 0.0], [1.0, 1.0]])
        >>> float(metric.result())
        3.0
    """

    def update_state(self, values: Tensor, sample_weight: Tensor = None) -> None:
        """Add values `[B, T]`, weighted by `sample_weight` `[B, T]`."""
        values = keras.ops.reshape(values, (-1,))
        super().update_state(values, None if sample_weight is None else keras.ops.reshape(sample_weight, (-1,)))

    def get_config(self) -> dict[str, typing.Any]:
        return {"name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="keras_transformers")
class TokenAccuracy(TokenMean):
    """The share of tokens whose label has the highest logit, over all tokens of weight 1.

    Pass it to `compile(weighted_metrics=[...])`, so that padding (weight 0) does not count.

    Example:
        >>> metric = TokenAccuracy()
        >>> metric.update_state([[1, 0]], [[[0.0, 2.0], [0.0, 2.0]]], sample_weight=[[1.0, 0.0]])
        >>> float(metric.result())
        1.0
    """

    def __init__(self, name: str = "token_accuracy", dtype: str = "float32") -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(  # type: ignore[override]  # labels and logits, as Keras gives them to metrics by name
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None
    ) -> None:
        """Count labels `[B, T]` (integers) against logits `[B, T, V]`, weighted by `sample_weight` `[B, T]`."""
        # With XLA, the argmax of `keras.ops` takes a tenth of the step of a small model.
        best = arrays.argmax(keras.ops.convert_to_tensor(y_pred))
        hits = keras.ops.equal(keras.ops.cast(y_true, "int32"), keras.ops.cast(best, "int32"))
        self.update_hits(keras.ops.cast(hits, "float32"), sample_weight)

    def update_hits(self, hits: Tensor, sample_weight: Tensor = None) -> None:
        """Add hits `[B, T]`, 1 or 0, weighted by `sample_weight` `[B, T]`."""
        super().update_state(hits, sample_weight)


@keras.saving.register_keras_serializable(package="keras_transformers")
class Perplexity(TokenMean):
    """Perplexity: `exp` of the mean negative log-likelihood over all tokens of weight 1, not a mean over batches.

    It does not include label smoothing. Pass it to `compile(weighted_metrics=[...])`; or update it with the
    likelihoods from `token_cross_entropy` (`update_likelihood`), which saves a pass over the vocabulary.

    Example:
        >>> metric = Perplexity()
        >>> metric.update_state([[1, 0]], [[[0.0, 0.0], [9.0, 0.0]]], sample_weight=[[1.0, 0.0]])
        >>> float(metric.result())
        2.0
    """

    def __init__(self, name: str = "perplexity", dtype: str = "float32") -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(  # type: ignore[override]  # as above
        self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor = None
    ) -> None:
        """Add labels `[B, T]` (integers) under logits `[B, T, V]`, weighted by `sample_weight` `[B, T]`."""
        y_pred, y_true = keras.ops.convert_to_tensor(y_pred), keras.ops.convert_to_tensor(y_true)
        _, negative_log_likelihood = token_cross_entropy(y_pred, y_true)
        self.update_likelihood(negative_log_likelihood, sample_weight)

    def update_likelihood(self, negative_log_likelihood: Tensor, sample_weight: Tensor = None) -> None:
        """Add negative log-likelihoods `[B, T]`, weighted by `sample_weight` `[B, T]`."""
        super().update_state(negative_log_likelihood, sample_weight)

    def result(self) -> Tensor:
        """The perplexity so far; 1 before any token."""
        return keras.ops.exp(super().result())


class Score(typing.NamedTuple):
    """A score from 0 to 100 (TER may exceed it), and the sacreBLEU signature that identifies its computation."""

    score: float
    signature: str


def bleu(hypotheses: Sequence[str], references: Sequence[str | Sequence[str]], **options: typing.Any) -> Score:
    """Corpus BLEU by sacreBLEU, on detokenized text.

    Args:
        hypotheses: list of translations, strings.
        references: list of as many references: strings, or lists of alternatives (the same number for all).
        **options: options of `sacrebleu.metrics.BLEU`: `tokenize`, `lowercase`, `smooth_method`, …

    Returns:
        `Score(score, signature)`. Report both.

    Raises:
        ValueError: for lists of unequal length, or empty ones.
        TypeError: for values that are not strings.

    Example:
        >>> bleu(["the cat sat on the mat"], ["the cat sat on the mat"]).score
        100.0

    Source: Papineni et al. 2002; Post 2018.
    """
    return score_by("bleu", hypotheses, references, **options)


def chrf(hypotheses: Sequence[str], references: Sequence[str | Sequence[str]], **options: typing.Any) -> Score:
    """Corpus chrF by sacreBLEU (chrF2; `word_order=2` for chrF++). Arguments, results and errors are as for `bleu`.

    Source: Popović 2015.
    """
    return score_by("chrf", hypotheses, references, **options)


def ter(hypotheses: Sequence[str], references: Sequence[str | Sequence[str]], **options: typing.Any) -> Score:
    """Corpus TER by sacreBLEU: edits per word of the reference, in percent, so that less is better. Arguments, results
    and errors are as for `bleu`.

    Source: Snover et al. 2006.
    """
    return score_by("ter", hypotheses, references, **options)


def score_by(
    name: str, hypotheses: Sequence[str], references: Sequence[str | Sequence[str]], **options: typing.Any
) -> Score:
    """The score by one of `METRICS`. Arguments, results and errors are as for `bleu`."""
    streams, metric = alternatives_of(hypotheses, references), metric_of(name, **options)
    return Score(metric.corpus_score(list(hypotheses), streams).score, str(metric.get_signature()))


def metric_of(name: str, **options: typing.Any) -> typing.Any:
    """The metric of sacreBLEU, one of `METRICS`.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in METRICS:
        raise ValueError(f"Expected a metric of {', '.join(METRICS)}, got {name!r}{did_you_mean(str(name), METRICS)}.")
    import sacrebleu

    _, kind, given = METRICS[name]
    return getattr(sacrebleu.metrics, kind)(**given, **options)


def alternatives_of(hypotheses: Sequence[str], references: Sequence[str | Sequence[str]]) -> list[tuple[str, ...]]:
    """The references as sacreBLEU takes them: a stream for each alternative."""
    hypotheses, references = list(hypotheses), list(references)
    if len(hypotheses) != len(references) or not hypotheses:
        raise ValueError(
            f"Expected as many references as hypotheses, and one at least, got {len(hypotheses)} hypotheses and "
            f"{len(references)} references."
        )
    alternatives = [[reference] if isinstance(reference, str) else reference for reference in references]
    for number, (hypothesis, texts) in enumerate(zip(hypotheses, alternatives, strict=True)):
        if not isinstance(hypothesis, str) or not texts or not all(isinstance(text, str) for text in texts):
            raise TypeError(
                f"Expected strings, got hypothesis {hypothesis!r} and reference {texts!r} as pair {number}. Decode "
                "token ids first."
            )
    if len({len(texts) for texts in alternatives}) != 1:
        raise ValueError("Expected the same number of references for each hypothesis, got unequal numbers.")
    return list(zip(*alternatives, strict=True))
