"""Whether one system translates better than another: paired tests on one test set, by sacreBLEU.

    bootstrap        sentences drawn with replacement, 1,000 times (Koehn 2004)
    randomization    translations of the two systems exchanged at random, 10,000 times (Riezler and Maxwell 2005)

The scores of a model that judges translations are tested in the same way, by their means.
"""

import typing
from collections.abc import Mapping, Sequence

import numpy as np

from keras_transformers.spelling import did_you_mean
from keras_transformers.training.metrics import METRICS, alternatives_of, metric_of

TESTS = {"bootstrap": "bs", "randomization": "ar"}


class Comparison(typing.NamedTuple):
    """The comparison of two systems by one metric.

    Attributes:
        metric: its name.
        baseline, system: the scores of the two systems.
        p_value: how probable so large a difference is if the systems are equally good.
        signature: the signature of sacreBLEU, with the test, its samples and its seed.
        lower_is_better: whether the smaller score is better: True for TER. False for the given `scores`, whose meaning
            is not known.
    """

    metric: str
    baseline: float
    system: float
    p_value: float
    signature: str
    lower_is_better: bool = False


def compare_systems(
    baseline: Sequence[str],
    system: Sequence[str],
    references: Sequence[str | Sequence[str]],
    *,
    test: str = "bootstrap",
    metrics: Sequence[str] = ("bleu", "chrf"),
    scores: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    samples: int | None = None,
) -> list[Comparison]:
    """Compare the translations of two systems of the same sources.

    Args:
        baseline, system: lists of translations.
        references: list of as many references: strings, or lists of alternatives (the same number for all).
        test: "bootstrap" (paired bootstrap) or "randomization" (approximate randomization).
        metrics: of "bleu", "chrf", "chrf++" and "ter".
        scores: scores of each translation by other metrics, by name: those of the baseline and of the system, such as
            `{"COMET": (scorer.score(…), scorer.score(…))}`.
        samples: how many samples are drawn; by default 1,000, and 10,000 for randomization.

    Returns: a `Comparison` for each metric. The numbers are those of `sacrebleu --paired-bs` and `--paired-ar`, except
        that two equal lists have the `p_value` 1. The environment variable SACREBLEU_SEED sets the seed.

    Raises:
        ValueError: for an unknown test or metric, lists of unequal length or empty ones, and infinite scores or NaN.
        TypeError: for values that are not strings.

    Example:
        >>> for each in compare_systems(before, after, references):
        ...     print(each.metric, each.baseline, each.system, each.p_value)  # doctest: +SKIP

    Source: Koehn 2004; Riezler and Maxwell 2005; Post 2018.
    """
    from sacrebleu.significance import PairedTest

    if test not in TESTS:
        raise ValueError(f"Expected test to be one of {', '.join(TESTS)}, got {test!r}{did_you_mean(test, TESTS)}.")
    if samples is not None and (type(samples) is not int or samples < 1):
        raise ValueError(f"Expected samples to be an int of at least 1, got {samples!r}.")
    streams = alternatives_of(baseline, references)
    alternatives_of(system, references)
    made = {name: metric_of(name) for name in metrics}
    systems = [("baseline", list(baseline)), ("system", list(system))]
    results = [_tested(PairedTest, systems, made, streams, TESTS[test], samples or 0)] if made else []
    for name, pair in (scores or {}).items():
        if any(len(each) != len(baseline) for each in pair):
            raise ValueError(f"Expected a score of {name} for each translation of each system, got another number.")
        if not np.isfinite(np.asarray(pair, "float64")).all():
            raise ValueError(f"Expected finite scores of {name}, got infinite ones or NaN.")
        given = [(label, [float(each) for each in side]) for label, side in zip(("a", "b"), pair, strict=True)]
        results.append(_tested(PairedTest, given, {name: _Means(name)}, None, TESTS[test], samples or 0))
    lower = {METRICS["ter"][0]}
    return [each._replace(lower_is_better=each.metric in lower) for found in results for each in found]


def _tested(paired_test: typing.Any, systems: list[tuple[str, list]], *rest: typing.Any) -> list[Comparison]:
    """Run a test of sacreBLEU. Its bootstrap finds a difference between a system and itself; none is found here."""
    signatures, scores = paired_test(systems, *rest)()
    same = systems[0][1] == systems[1][1]
    return [
        Comparison(
            name, float(before.score), float(after.score), 1.0 if same else float(after.p_value), str(signatures[name])
        )
        for name, (before, after) in scores.items()
        if name != "System"
    ]


class _Signature:
    """A signature of sacreBLEU's form for scores of another metric."""

    def __init__(self) -> None:
        self.info: dict[str, typing.Any] = {}

    def update(self, name: str, value: typing.Any) -> None:
        self.info[name] = value

    def __str__(self) -> str:
        return "|".join(f"{name}:{value}" for name, value in self.info.items())


class _Mean(typing.NamedTuple):
    name: str
    score: float


class _Means:
    """A metric of sacreBLEU's form, whose "translations" are their scores."""

    def __init__(self, name: str) -> None:
        self.name, self._signature = name, _Signature()

    def get_signature(self) -> _Signature:
        return self._signature

    def _extract_corpus_statistics(self, scores: Sequence[float], references: None) -> np.ndarray:
        return np.stack([np.asarray(scores, "float64"), np.ones(len(scores))], axis=1)

    def _compute_score_from_stats(self, sums: np.ndarray) -> _Mean:
        return _Mean(self.name, float(sums[0] / max(sums[1], 1e-12)))

    def _aggregate_and_compute(self, statistics: np.ndarray) -> _Mean:
        return self._compute_score_from_stats(np.sum(statistics, axis=0))
