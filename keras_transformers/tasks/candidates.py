"""Several translations of each text, of which another judge chooses: reranking, and minimum Bayes risk decoding.

    rerank=scorer                     the candidate with the best score of a model without references (CometKiwi)
    rerank=MinimumBayesRisk("chrf")   the candidate that is most like all candidates, by chrF or a model (COMET)

    candidates of each text     scores by a model          likeness to each other
    n beams, or n samples       n passes of the model      n · n comparisons; COMET encodes each text once

Legend: `n` candidates of a text, `U` of them that differ.
"""

import collections
import typing
import warnings
from collections.abc import Sequence

import numpy as np

from keras_transformers.data.glossary import Glossary
from keras_transformers.data.pairs import SOURCES
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.extras import require
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.records import record
from keras_transformers.tasks import terms

SAMPLES = 16  # candidates of a text in sampling, if no number is given
_BLOCK = 128  # texts whose candidates are compared at once: n * n rows of each are held


@record
class MinimumBayesRisk:
    """Choose the candidate that is most like all others: each counts as a possible reference, as often as it occurs.

    For `n` candidates it compares `n · n` pairs for each text. With COMET these are small passes of the regressor, and
    each text is encoded once. With MetricX each pair is a whole pass of the model. With chrF they run on the processor,
    some thousands a second.

    Attributes:
        utility: "chrf", or a `TranslationScorer` that reads references.

    Source: Eikema and Aziz 2022 (sampling-based MBR); Fernandes et al. 2022 (neural metrics).
    """

    utility: typing.Any = "chrf"

    def __post_init__(self) -> None:
        if _is_scorer(self.utility):
            if self.utility.references == "unused":
                raise ValueError(
                    f"Expected a utility that compares with references, got {self.utility.name}, which reads none. "
                    "Pass it as rerank= itself."
                )
        elif self.utility != "chrf":
            raise ValueError(f'Expected utility to be "chrf" or a TranslationScorer, got {self.utility!r:.80}.')


def _is_scorer(value: typing.Any) -> bool:
    """Whether a value is a `TranslationScorer`, or an object with its `score`, `references` and `lower_is_better`."""
    return callable(getattr(value, "score", None)) and isinstance(getattr(value, "references", None), str)


def check_judge(rerank: typing.Any) -> None:
    """Refuse a judge that cannot choose among candidates.

    Raises:
        TypeError, ValueError: for another value, and a scorer that needs references.
    """
    if isinstance(rerank, MinimumBayesRisk):
        return
    if not _is_scorer(rerank):
        raise TypeError(
            f"Expected rerank to be a TranslationScorer or MinimumBayesRisk, got {type(rerank).__name__}: "
            f"{rerank!r:.80}."
        )
    if rerank.references == "needed":
        raise ValueError(
            f"Expected a scorer without references to rerank, got {rerank.name}, which needs them. Use it as "
            "rerank=kt.tasks.MinimumBayesRisk(scorer): then the candidates are each other's references."
        )


def candidate_settings(config: GenerationConfig, count: int | None) -> dict[str, typing.Any]:
    """The generation settings for `count` candidates of each text: that many beams at least, or samples.

    Raises:
        ValueError: for fewer than two candidates, or fewer than are returned.
    """
    usual = SAMPLES if config.do_sample else max(config.num_beams, config.num_return_sequences)
    wanted = usual if count is None else count
    if type(wanted) is not int or wanted < 2 or wanted < config.num_return_sequences:
        raise ValueError(
            f"Expected at least two candidates to choose from, and as many as are returned, got {wanted!r}. Set "
            "num_candidates, num_beams or do_sample."
        )
    beams = {} if config.do_sample else {"num_beams": max(wanted, config.num_beams)}
    return {"num_return_sequences": wanted, **beams}


class Judging(typing.NamedTuple):
    """How translations are chosen: arguments of `Seq2SeqLM.translate`."""

    rerank: typing.Any
    num_candidates: int | None
    batch_size: int
    return_scores: bool


def translate_with(
    model: typing.Any,
    texts: Texts,
    judging: Judging,
    options: dict[str, typing.Any],
    generation: dict[str, typing.Any],
) -> typing.Any:
    """The translations that a judge chooses among several of each text.

    Args:
        model: a `Seq2SeqLM`.
        texts: a string, or a container of strings.
        judging: a `Judging`.
        options, generation: the other arguments of `translate`, and the generation settings.

    Returns: as `Seq2SeqLM.translate`.
    """
    check_judge(judging.rerank)
    config = model.generation_config(**generation)
    settings = candidate_settings(config, judging.num_candidates)
    texts, single = texts_of(texts, inputs=SOURCES)
    given = {**options, **generation, **settings}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\d+ terms of the glossary")  # of candidates: the chosen ones are looked at
        made = model.translate(texts, batch_size=judging.batch_size, **given)
    count = config.num_return_sequences
    found: list[list[tuple[str, float]]] = []
    for begin in range(0, len(texts), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        judged = _judged(texts[block], made[block], judging)
        found += [_ranked(*each, count) for each in judged]
    results: list[typing.Any] = [[text for text, _ in each] for each in found]
    scores: list[typing.Any] = [[score for _, score in each] for each in found]
    if count == 1:
        results, scores = [each[0] for each in results], [each[0] for each in scores]
    if given.get("glossary") is not None:
        terms.report(model, Glossary.of(given["glossary"]), texts, results, given.get("names"))
    if single:
        results, scores = results[0], scores[0]
    return (results, scores) if judging.return_scores else results


def _ranked(texts: Sequence[str], scores: Sequence[float], better: int, count: int) -> list[tuple[str, float]]:
    """The best candidates with their scores. If fewer differ, the best one is repeated."""
    order = np.argsort(-better * np.asarray(scores), kind="stable")
    best = [(texts[n], float(scores[n])) for n in order[:count]]
    return best + [best[0]] * (count - len(best))


_Row = tuple[int, str, str | None]  # the index of a text, a candidate, and the candidate that is its reference


def _judged(
    texts: Sequence[str], candidates: Sequence[Sequence[str]], judging: Judging
) -> list[tuple[list[str], list[float], int]]:
    """The candidates of each text that differ, their scores, and 1 if more is better, -1 if less is."""
    counts = [collections.Counter(each) for each in candidates]
    scorer, compares = judging.rerank, isinstance(judging.rerank, MinimumBayesRisk)
    scorer = scorer.utility if compares else scorer
    # A text without a choice needs no judge, unless its score is asked for and it is more than signs.
    asked = [
        (n, each)
        for n, each in enumerate(counts)
        if len(each) > 1 or (judging.return_scores and any(map(str.isalpha, texts[n])))
    ]
    rows: list[_Row]
    if compares:
        rows = [(n, one, other) for n, each in asked for one in each for other in each]
    else:
        rows = [(n, one, None) for n, each in asked for one in each]
    sums = [dict.fromkeys(each, 0.0) for each in counts]
    for (n, one, other), value in zip(rows, _values(texts, rows, scorer, judging.batch_size), strict=True):
        sums[n][one] += value if other is None else value * (counts[n][other] / counts[n].total())
    better = -1 if getattr(scorer, "lower_is_better", False) else 1
    return [(list(each), list(each.values()), better) for each in sums]


def _values(texts: Sequence[str], rows: Sequence[_Row], scorer: typing.Any, batch_size: int) -> Sequence[float]:
    """The score of each row, by chrF or a model."""
    if not rows:
        return []
    if scorer == "chrf":
        return _chrf(rows)
    references = [other for _, _, other in rows if other is not None] or None
    return scorer.score([texts[n] for n, _, _ in rows], [one for _, one, _ in rows], references, batch_size=batch_size)


def _chrf(rows: Sequence[_Row]) -> list[float]:
    """The chrF of each candidate beside another as its reference."""
    require(sacrebleu=True)
    import sacrebleu

    metric = sacrebleu.metrics.CHRF()
    return [metric.sentence_score(one, [other or ""]).score for _, one, other in rows]
