"""Checks of translations for what models do wrong: they stop early, repeat themselves, copy, or change the script.

    kind            a translation that
    empty           is empty, and its source is not
    short, long     has a length that is unlikely for its source, by the mean ratio of all lengths
    repeated        says a word or phrase several times in a row, more often than its source
    untranslated    consists of the words of its source
    script          is mostly in another script than the other translations
    low score       has a score below the least one
    lost part       lacks a placeholder, tag, URL or address of its source
    missing term    lacks a term of a glossary that its source has

A translation is counted under every kind that applies. The checks know no language: short texts of names and numbers
pass.
"""

import re
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

from keras_transformers.data.cleaning import SHORTEST, common_scripts, script_share
from keras_transformers.data.glossary import Glossary
from keras_transformers.data.protection import Protection, lost_parts
from keras_transformers.records import Count, Positive, Rate, Size, record

KINDS = ("empty", "short", "long", "repeated", "untranslated", "script", "low score", "lost part", "missing term")
_PIECE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|\w+")  # a word, or a character of a script without spaces
_STUTTER = re.compile(r"(\w{1,12}?)\1{6,}")  # within a word
_PHRASE = 8  # the most words of a phrase that repeats
_FEWEST = 3  # words of a text that may count as untranslated: fewer may be a name


@record
class TranslationChecks:
    """The checks of translations; each has a value that switches it off.

    Attributes:
        max_ratio: the largest ratio of the lengths of a translation and its source, relative to the mean ratio of all;
            None for any.
        most_repeats: how often a word or phrase may occur in a row; None for any number.
        max_copied_share: the largest share of the words of a source that its translation may share; None for all.
        min_script_share: the least share of a translation's letters in the scripts of the language; 0 for none.
        scripts: the scripts of the language, by the Unicode names of letters ("LATIN", "CYRILLIC", "CJK"); by default
            those with at least a tenth of the letters of the references or, without any, of all translations.
        min_score: the least score; None for any.
        protect: parts of the sources that translations have to keep, as for `Seq2SeqLM.translate`; None for none.
        glossary: terms that translations have to have, as for `Seq2SeqLM.translate`; None for none.
        examples: how many translations of each kind are kept.
    """

    max_ratio: Positive | None = 3.0
    most_repeats: Size | None = 2
    max_copied_share: Rate | None = 0.8
    min_script_share: Rate = 0.5
    scripts: tuple[str, ...] | None = None
    min_score: float | None = None
    protect: typing.Any = None
    glossary: typing.Any = None
    examples: Count = 5

    def __post_init__(self) -> None:
        object.__setattr__(self, "protect", None if not self.protect else Protection.of(self.protect))
        object.__setattr__(self, "glossary", None if self.glossary is None else Glossary.of(self.glossary))
        if self.scripts is not None and (not self.scripts or any(each != str(each).upper() for each in self.scripts)):
            raise ValueError(
                f"Expected scripts by the Unicode names of letters, such as 'LATIN', got {self.scripts!r:.80}. Leave "
                "them out for those of the references, or switch the check off by min_script_share=0."
            )


class Suspect(typing.NamedTuple):
    """A translation that failed a check. `line` counts from 1; `score` is None without scores."""

    line: int
    source: str
    translation: str
    score: float | None


class TranslationReport(typing.NamedTuple):
    """The result of the checks.

    Attributes:
        checked: how many translations were checked.
        found: how many of them failed, by kind.
        first: the first of them, by kind.
        failed: how many failed any check.
    """

    checked: int
    found: dict[str, int]
    first: dict[str, list[Suspect]]
    failed: int

    def table(self) -> str:
        """Return the counts as text, a line each."""
        rows = {**self.found, "any": self.failed, "checked": self.checked}
        return "\n".join(
            f"{name:<13} {count:>10,}  {count / max(self.checked, 1):7.2%}" for name, count in rows.items()
        )

    def values(self) -> dict[str, typing.Any]:
        """Return the report as plain values, for JSON."""
        first = {kind: [each._asdict() for each in suspects] for kind, suspects in self.first.items() if suspects}
        return {"checked": self.checked, "failed": self.failed, "found": self.found, "first": first}


Pairs = Callable[[], Iterable[tuple[str, str, float | None]]]


def check_translations(
    sources: Sequence[str],
    translations: Sequence[str],
    *,
    references: Sequence[str] | None = None,
    scores: Sequence[float] | None = None,
    checks: TranslationChecks = TranslationChecks(),  # noqa: B008  a record never changes
) -> TranslationReport:
    """Check translations for hallucinations and copies, and count them.

    Args:
        sources, translations: lists of strings.
        references: translations by people, for the usual length and script; None for none.
        scores: a number for each translation, more for a better one; None for none.
        checks: a `TranslationChecks`.

    Raises:
        ValueError: for lists of unequal length, and for `min_score` without scores.

    Example:
        >>> check_translations(["A dog barks at the cat."], ["A dog barks at the cat."]).found["untranslated"]
        1

    Source: Raunak et al. 2021, section 3 (kinds of hallucinations).
    """
    lists = [each for each in (sources, translations, references, scores) if each is not None]
    if len({len(each) for each in lists}) > 1:
        raise ValueError(
            f"Expected lists of equal length, got {', '.join(str(len(each)) for each in lists)} sources, translations "
            "and what is beside them."
        )
    if checks.min_score is not None and scores is None:
        raise ValueError(f"Expected scores with min_score={checks.min_score}, got none.")
    columns = (sources, translations, scores if scores is not None else [None] * len(sources))
    usual = None if references is None else (lambda: zip(sources, references, strict=True))
    return check_pairs(lambda: zip(*columns, strict=True), checks, usual)


def check_pairs(
    pairs: Pairs,
    checks: TranslationChecks,
    usual: Callable[[], Iterable[tuple[str, str]]] | None = None,
    first_line: int = 1,
) -> TranslationReport:
    """Check translations that are read anew for each statistic, in constant memory.

    Args:
        pairs: a function that returns an iterator of `(source, translation, score or None)`.
        checks: a `TranslationChecks`.
        usual: the same of `(source, translation)` for the usual length and script; by default `pairs`.
        first_line: the number of the first line.
    """
    check = Check(checks, pairs if usual is None else usual)
    found, checked, failed = dict.fromkeys(KINDS, 0), 0, 0
    first: dict[str, list[Suspect]] = {kind: [] for kind in KINDS}
    for line, (source, translation, score) in enumerate(pairs(), start=first_line):
        kinds = check.kinds(source, translation, score)
        checked, failed = checked + 1, failed + bool(kinds)
        for kind in kinds:
            found[kind] += 1
            if len(first[kind]) < checks.examples:
                first[kind].append(Suspect(line, source, translation, score))
    return TranslationReport(checked, found, first, failed)


class Check:
    """The checks, with the usual length and script of the translations of a text.

    Args:
        checks: a `TranslationChecks`.
        usual: a function that returns an iterator of `(source, translation, …)`; it is read twice.
    """

    def __init__(self, checks: TranslationChecks, usual: Callable[[], Iterable[typing.Any]]) -> None:
        self.checks = checks
        self.ratio = _mean_ratio((source, translation) for source, translation, *_ in usual())
        self.scripts = frozenset(checks.scripts or ())
        if checks.min_script_share and checks.scripts is None:
            self.scripts = common_scripts(translation for _, translation, *_ in usual())

    def kinds(self, source: str, translation: str, score: float | None = None) -> list[str]:
        """Return the kinds that apply to a translation."""
        lost = _lost(source, translation, self.checks)
        return [*lost, *self._kinds(source.strip(), translation.strip(), score)]

    def _kinds(self, source: str, translation: str, score: float | None) -> Iterator[str]:
        checks = self.checks
        if not source:
            return
        if not translation:
            yield "empty"
            return
        likely = _length(translation) / _length(source) / self.ratio
        if checks.max_ratio is not None and likely < 1 / checks.max_ratio:
            yield "short"
        if checks.max_ratio is not None and likely > checks.max_ratio:
            yield "long"
        if checks.most_repeats is not None and _repeats(translation) > max(checks.most_repeats, _repeats(source)):
            yield "repeated"
        if checks.max_copied_share is not None and _copied_share(source, translation) > checks.max_copied_share:
            yield "untranslated"
        if checks.min_script_share and script_share(translation, self.scripts) < checks.min_script_share:
            yield "script"
        if checks.min_score is not None and score is not None and score < checks.min_score:
            yield "low score"


def _lost(source: str, translation: str, checks: TranslationChecks) -> Iterator[str]:
    """Yield the kinds that apply to a translation for parts and terms of its source that it lacks."""
    if checks.protect is not None and lost_parts(source, translation, checks.protect.patterns):
        yield "lost part"
    if checks.glossary is not None and checks.glossary.missing(source, translation):
        yield "missing term"


def _length(text: str) -> int:
    return max(len(text), SHORTEST)


def _mean_ratio(pairs: Iterable[tuple[str, str]]) -> float:
    """Return the ratio of the lengths of all translations and all sources."""
    of_sources = of_translations = 0
    for source, translation in pairs:
        of_sources += _length(source)
        of_translations += _length(translation)
    return of_translations / of_sources if of_sources else 1.0


def _repeats(text: str) -> int:
    """Return how often a word or phrase occurs in a row, at the most; within a word it has to be 7 times."""
    words = _PIECE.findall(text.casefold())
    most = max((len(match[0]) // len(match[1]) for match in _STUTTER.finditer(text.casefold())), default=1)
    for size in range(1, min(_PHRASE, len(words) // 2) + 1):
        run = 0  # of words that are equal to the word one phrase before
        for one, other in zip(words, words[size:], strict=False):
            run = run + 1 if one == other else 0
            most = max(most, 1 + run // size)
    return most


def _copied_share(source: str, translation: str) -> float:
    """Return the share of a source's words that occur in its translation; 0 for few words, which may be names."""
    words = [word for word in _PIECE.findall(source.casefold()) if any(map(str.isalpha, word))]
    if len(words) < _FEWEST:
        return 0.0
    copied = set(_PIECE.findall(translation.casefold()))
    return sum(word in copied for word in words) / len(words)
