"""The scores of translations by several judges: the metrics of sacreBLEU, and a model.

    sources, translations, references ──► BLEU 41.2 with its signature, chrF …, the mean score of COMET

`evaluate`, runs, and the callback `TranslationQuality` share this list.
"""

import typing
from collections.abc import Sequence

from keras_transformers.data.pairs import SOURCES, TARGETS
from keras_transformers.data.sources import texts_of
from keras_transformers.training.metrics import METRICS, metric_of, score_by

Texts = Sequence[str]


class SystemScore(typing.NamedTuple):
    """The score of a system by one judge.

    Attributes:
        name: the name for tables, such as "chrF2++" or "COMET".
        key: the name in logs, such as "chrf++" or "comet".
        score: the score; the mean of the scores of all translations, if a model judges.
        signature: the signature of sacreBLEU; "" for a model.
        each: the scores of the translations by a model; None for a metric of sacreBLEU.
    """

    name: str
    key: str
    score: float
    signature: str = ""
    each: list[float] | None = None


def score_translations(
    source_texts: Texts,
    translations: Texts,
    references: Sequence[str | Texts],
    *,
    metrics: str | Sequence[str] = ("bleu", "chrf"),
    scorer: typing.Any = None,
    progress: typing.Any = None,
) -> list[SystemScore]:
    """Score the translations of a system.

    Args:
        source_texts, translations: lists of strings.
        references: list of as many references: strings, or lists of alternatives. A model reads the first ones.
        metrics: of "bleu", "chrf", "chrf++" and "ter".
        scorer: a `TranslationScorer`; None for none.
        progress: a function called with the number of translations that the scorer has judged, after each batch.

    Returns: a `SystemScore` for each metric, then for the scorer.

    Raises:
        ValueError: for an unknown metric, lists of unequal length, or empty ones.
        TypeError: for values that are not strings.

    Example:
        >>> [each.name for each in score_translations(["a"], ["b"], ["b"], metrics=("chrf++", "ter"))]
        ['chrF2++', 'TER']
    """
    found = []
    for name in named(metrics):
        score = score_by(name, translations, references)
        found.append(SystemScore(METRICS[name][0], name, *score))
    if scorer is None:
        return found
    check_scorer(scorer)
    options = {} if progress is None else {"progress": progress}
    each = scorer.score(source_texts, translations, references_for(scorer, references), **options)
    return [*found, SystemScore(scorer.name, scorer.name.lower(), sum(each) / max(len(each), 1), each=each)]


def named(metrics: str | Sequence[str]) -> Sequence[str]:
    """The names of metrics, given one or a list."""
    return (metrics,) if isinstance(metrics, str) else metrics


def check_scorer(scorer: typing.Any) -> None:
    """Refuse a scorer without `score` and `references`.

    Raises:
        TypeError: naming its class.
    """
    if not callable(getattr(scorer, "score", None)) or not isinstance(getattr(scorer, "references", None), str):
        raise TypeError(
            f"Expected scorer to be a TranslationScorer, got {type(scorer).__name__}: {scorer!r:.80}. Load one by "
            "kt.TranslationScorer.from_preset."
        )


def references_for(scorer: typing.Any, references: Sequence[str | Texts]) -> list[str] | None:
    """One reference for each source, if a scorer reads references."""
    if scorer.references == "unused":
        return None
    return [each if isinstance(each, str) else each[0] for each in references]


class Evaluation(typing.NamedTuple):
    """The result of `Translator.evaluate`.

    Attributes:
        translations: list of strings.
        scores: a `SystemScore` for each judge.
    """

    translations: list[str]
    scores: list[SystemScore]

    def table(self) -> str:
        """The names, scores and signatures, a line each."""
        return "\n".join(line(each) for each in self.scores)


def line(score: SystemScore) -> str:
    """A score as a line, with tabs between."""
    if score.each is not None:
        return f"{score.name}\t{score.score:.4f}"
    return f"{score.name}\t{score.score:.2f}\t{score.signature}"


def evaluate(
    model: typing.Any,
    source_texts: typing.Any,
    references: typing.Any,
    *,
    metrics: str | Sequence[str] = ("bleu", "chrf"),
    scorer: typing.Any = None,
    **options: typing.Any,
) -> Evaluation:
    """Translate a test set, and score the translations.

    Args:
        model: has `translate`.
        source_texts, references: lists of as many strings.
        metrics, scorer: as for `score_translations`.
        **options: other arguments of `translate`.

    Raises:
        TypeError, ValueError: for values that are not texts, lists of unequal length or empty ones, unknown metrics.
    """
    sources, _ = texts_of(source_texts, inputs=SOURCES)
    if not sources:
        raise ValueError("Expected texts to evaluate by, got none. Give at least one pair.")
    references = list(references) if isinstance(references, list | tuple) else texts_of(references, inputs=TARGETS)[0]
    if len(references) != len(sources):
        raise ValueError(f"Expected as many references as sources, got {len(references)} for {len(sources)}.")
    for name in named(metrics):  # mistakes are refused before anything is translated
        metric_of(name)
    if scorer is not None:
        check_scorer(scorer)
    translations = model.translate(sources, **options)
    return Evaluation(
        translations, score_translations(sources, translations, references, metrics=metrics, scorer=scorer)
    )
