"""Translations that keep placeholders, tags, URLs and e-mail addresses (`data/protection.py`), by any model that
translates.

    texts ─ masked ─► translate ─► stand-ins that are missing: again, with other ones ─► align ─► restored
"""

import re
import typing
import warnings
from collections.abc import Sequence

from keras_transformers.callers import outside
from keras_transformers.data import protection
from keras_transformers.data.pairs import SOURCES
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.tokenizers.languages import has_letter

_PER_TEXT = ("prefix", "forced_words", "names")  # arguments that may be a list with a value for each text
Results = list[list[str]]


class _Job(typing.NamedTuple):
    """The texts that hold something to translate: their number in the list, and their parts."""

    number: int
    text: str
    parts: list[protection.Part]


def translate_protected(
    model: typing.Any,
    texts: Texts,
    protect: typing.Any,
    options: dict[str, typing.Any],
    align: typing.Callable[..., typing.Any] | None = None,
) -> typing.Any:
    """Translate texts, and keep their protected parts.

    Args:
        model: has `translate`.
        texts: a string, or a container of strings.
        protect: as for `protection.patterns`, or a `Protection`, which counts the parts.
        options: the other arguments of `translate`.
        align: a function of sources and translations, as `Seq2SeqLM.align`, for tags; None puts tags that are inside of
            a text at the end of its translation.

    Returns: as `model.translate`.

    Warns:
        UserWarning: if parts had to be put at the end, with their number.
    """
    kept = protection.Protection.of(protect)
    texts, single = texts_of(texts, inputs=SOURCES)
    names = options.get("names")
    found = [(text, protection.find_parts(text, kept.patterns)) for text in texts]
    keeps = options.get("keep_letterless", True)
    jobs = [
        _Job(number, text, parts)
        for number, (text, parts) in enumerate(found)
        if not parts or not keeps or has_letter(protection.without_parts(text, parts))
    ]
    given = {name: value for name, value in options.items() if name != "return_scores"}
    finder = _Attempts(model, given, len(texts))
    answers = finder.best(jobs)
    scored, count = bool(options.get("return_scores")), max(map(len, finder.results.values()), default=1)
    results: list[typing.Any] = [[text] * count for text in texts]
    scores: list[typing.Any] = [[0.0] * count for _ in texts]
    appended: dict[int, int] = {}
    for (job, row), words in zip(answers, _aligned(align, answers, finder), strict=True):
        mask, (made, its_scores) = finder.masks[job.number], (finder.results[job.number], finder.scores[job.number])
        again = protection.restored(mask, made[row], words)
        results[job.number][row], scores[job.number][row] = again.text, its_scores[row]
        if again.appended:
            appended[job.number] = appended.get(job.number, 0) + again.appended
    places = [names[number] if names else f"index {number}" for number in appended]
    counts = {"parts": sum(len(parts) for _, parts in found), "appended": sum(appended.values())}
    kept.add({**counts, "texts": len(appended), "first": places})
    if appended:
        _warn(places, counts["appended"], len(texts))
    if not finder.several:
        results, scores = [each[0] for each in results], [each[0] for each in scores]
    if single:
        results, scores = results[0], scores[0]
    return (results, scores) if scored else results


def _warn(places: Sequence[str], count: int, total: int) -> None:
    shown = ", ".join(places[:5]) + (", …" if len(places) > 5 else "")
    warnings.warn(
        f"{count} protected parts had no place in {len(places)} of {total} translations, and stand at their end "
        f"({shown}).",
        stacklevel=outside(),
    )


class _Attempts:
    """Translations with one set of stand-ins after another, until each has all of them.

    Attributes:
        masks: the mask of each text, by its number.
        results, scores: the translations of its mask, and their scores.
        several: whether `translate` gives a list for each text.
    """

    def __init__(self, model: typing.Any, options: dict[str, typing.Any], total: int) -> None:
        self.masks: dict[int, protection.Masked] = {}
        self.results: dict[int, list[str]] = {}
        self.scores: dict[int, list[float]] = {}
        self.several = False
        self._model, self._options, self._total = model, options, total

    def best(self, jobs: list[_Job]) -> list[tuple[_Job, int]]:
        """Translate, and return each text with the number of each of its translations."""
        rest = jobs
        for words in protection.STAND_INS:
            if not rest and (self.results or jobs):
                break
            masks = [protection.masked(job.text, job.parts, words) for job in rest]
            made, scores = self._translated(rest, [mask.text for mask in masks])
            for job, mask, texts, its_scores in zip(rest, masks, made, scores, strict=True):
                before = self.masks.get(job.number)
                if before is None or _missing(mask, texts) < _missing(before, self.results[job.number]):
                    self.masks[job.number], self.results[job.number] = mask, texts
                    self.scores[job.number] = its_scores
            rest = [job for job in rest if _missing(self.masks[job.number], self.results[job.number])]
        return [(job, row) for job in jobs for row in range(len(self.results[job.number]))]

    def _translated(self, jobs: list[_Job], texts: list[str]) -> tuple[Results, list[list[float]]]:
        options = dict(self._options)
        for name in _PER_TEXT:
            value = options.get(name)
            if isinstance(value, list | tuple) and len(value) == self._total and not _is_one_list(name, value):
                options[name] = [value[job.number] for job in jobs]
        with warnings.catch_warnings():
            if self.masks:  # these texts were counted, and warned of
                options.pop("progress", None)
                warnings.filterwarnings("ignore", r"\d+ of \d+ translations were cut|\d+ terms of the glossary")
            made, scores = self._model.translate(texts, return_scores=True, **options)
        self.several = self.several or any(isinstance(each, list) for each in made)
        if self.several:
            return made, scores
        return [[each] for each in made], [[each] for each in scores]


def _is_one_list(name: str, value: Sequence[typing.Any]) -> bool:
    """Whether a list of words is meant for every text."""
    return name == "forced_words" and all(isinstance(each, str) for each in value)


def _missing(mask: protection.Masked, translations: list[str]) -> int:
    return sum(protection.missing(mask, each) for each in translations)


def _aligned(
    align: typing.Callable[..., typing.Any] | None, answers: list[tuple[_Job, int]], finder: _Attempts
) -> list[protection.Words | None]:
    """Align the translations of texts with tags."""
    words: list[protection.Words | None] = [None] * len(answers)
    rows = [
        place
        for place, (job, row) in enumerate(answers)
        if finder.masks[job.number].tags and re.search(r"\w", finder.results[job.number][row])
    ]
    if align is None or not rows:
        return words
    sources = [finder.masks[answers[place][0].number].text for place in rows]
    targets = [finder.results[answers[place][0].number][answers[place][1]] for place in rows]
    for place, each in zip(rows, align(sources, targets, method="both"), strict=True):
        spans = ([(int(begin), int(end)) for begin, end in side] for side in (each.source_spans, each.target_spans))
        others = [(int(row.argmax()), target) for target, row in enumerate(each.scores) if row.size]
        words[place] = protection.Words(each.pairs, others, *spans)
    return words
