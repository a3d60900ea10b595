"""A report of the checks of a translated file, which is read again line by line.

    sources.txt, translations.txt ──► lines side by side ──► checks ──► report.json

The files are read once for the usual lengths, once for the usual script, and once for the checks: in constant memory,
and the same after a file was translated in several runs.
"""

import json
import os
import pathlib
import typing
from collections.abc import Iterator

from keras_transformers.apps.files import LINES, Columns, JSONLines, in_line
from keras_transformers.data.protection import Protection
from keras_transformers.data.translation_checks import TranslationChecks, TranslationReport, check_pairs
from keras_transformers.files.lines import LineFile, decoded
from keras_transformers.files.reading import parse, shown


def report_of_file(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    rows: typing.Any = LINES,
    scored: bool = False,
    lower_is_better: bool = False,
    checks: TranslationChecks = TranslationChecks(),  # noqa: B008  a record never changes
) -> TranslationReport:
    """Check the first translation of each line of a file that `translate_file` wrote.

    Args:
        source, output: the paths of the two files.
        rows: the format of a line, as for `translate_file`.
        scored: whether scores stand beside the translations.
        lower_is_better: whether the scores count errors. The report then has them negated.
        checks: a `TranslationChecks`; its `min_score` needs scores.

    Raises:
        ValueError: for files of unequal length, and a line without its translation.

    Example:
        >>> print(report_of_file("posts.txt", "translated.txt").table())  # doctest: +SKIP
    """
    sign = -1 if lower_is_better else 1

    def pairs() -> Iterator[tuple[str, str, float | None]]:
        for text, translation, score in _pairs(source, output, rows, scored):
            yield text, translation, None if score is None else sign * score

    return check_pairs(pairs, checks, first_line=2 if rows.has_header else 1)


def write_report(path: str | os.PathLike[str], report: TranslationReport, protection: Protection | None = None) -> None:
    """Write a report as JSON, with the counts of protected parts."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    values = report.values() | ({} if protection is None else {"protected": protection.values()})
    path.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _pairs(
    source: typing.Any, output: typing.Any, rows: typing.Any, scored: bool
) -> Iterator[tuple[str, str, float | None]]:
    """Yield the source, the first translation and its score of each line."""
    with LineFile(source) as sources, LineFile(output) as outputs:
        place, written = None, iter(outputs)
        for number, raw in enumerate(sources, start=1):
            line = decoded(raw, source, number)
            result = next(written, None)
            if result is None:
                raise ValueError(f"Expected as many lines in {output} as in {source}, got {number - 1}.")
            if number == 1:
                place = rows.place(line if rows.has_header else None)
            if number == 1 and rows.has_header:
                continue
            with in_line(output, number):
                yield rows.text(line, place), *_translation(line, decoded(result, output, number), rows, scored)
        if next(written, None) is not None:
            raise ValueError(f"Expected as many lines in {output} as in {source}, got more.")


def _translation(line: str, result: str, rows: typing.Any, scored: bool) -> tuple[str, float | None]:
    """The first translation in a line of output, and its score; an empty text for an empty line."""
    if isinstance(rows, JSONLines):
        if not line.strip():
            return "", None
        values = parse(result, "this line")
        if not isinstance(values, dict) or rows.into not in values:
            raise ValueError(f"expected an object with the field {rows.into!r}, got {shown(values)}.")
        found = (values[rows.into], values.get(f"{rows.into}_score"))
        first, score = (each[0] if isinstance(each, list) and each else each for each in found)
        if not isinstance(first, str) or not isinstance(score, int | float | None):
            raise ValueError(f"expected a translation and its score in {rows.into!r}, got {shown(found)}.")
        return first, None if score is None else float(score)
    cells = result.split("\t")[len(line.split("\t")) if isinstance(rows, Columns) else 0 :]
    return (cells[0] if cells else ""), float(cells[1]) if scored and len(cells) > 1 else None
