"""Translations of a run's source lines by its teachers, and the choice of those that a student learns.

    teacher/0-00000.jsonl      of teacher 0: a header, then the candidates of a line in each line, [[text, score], …]

A file holds `shard_lines` lines and is written in one step, so that a stopped run resumes after the last whole file.
The header names the teacher, with hashes of its files and of the source lines. If one changed, the file is made again.
"""

import gc
import hashlib
import json
import pathlib
import time
import typing
from collections.abc import Callable, Iterator, Sequence

from keras_transformers.apps.runs.distillation import TeacherSettings
from keras_transformers.apps.runs.files import write
from keras_transformers.data.translation_checks import Check, TranslationChecks
from keras_transformers.extras import require
from keras_transformers.files.reading import is_plain
from keras_transformers.formats.sources import resolve
from keras_transformers.tasks.seq2seq_lm import Seq2SeqLM

Candidates = list[tuple[str, float]]  # translations of a line with their scores, the best first
Say = Callable[[str], typing.Any]


class Taught(typing.NamedTuple):
    """Pairs to learn, and the number of lines by what became of them."""

    sources: list[str]
    targets: list[str]
    counts: dict[str, int]


def teach(
    settings: TeacherSettings,
    sources: Sequence[str],
    references: Sequence[str],
    further: Sequence[str],
    folder: pathlib.Path,
    say: Say,
) -> Taught:
    """Translate source lines by the teachers, and choose what is learnt.

    Args:
        settings: `TeacherSettings`.
        sources, references: sentence pairs.
        further: source lines without references.
        folder: the folder of the translations.
        say: a function called with messages on the progress.
    """
    further = [line.strip() for line in further if line.strip()]
    lines = list(dict.fromkeys([*sources, *further]))
    candidates: list[Candidates] = [[] for _ in lines]
    for number, name in enumerate(settings.presets):
        for each, more in zip(candidates, _translated(settings, number, name, lines, folder, say), strict=True):
            each += more
    of_line = dict(zip(lines, candidates, strict=True))
    check = Check(TranslationChecks(), lambda: zip(sources, references, strict=True))
    choice = _Choice(settings, check)
    rows = [*zip(sources, references, strict=True), *((line, None) for line in further)]
    learnt = [(source, choice.of(source, of_line[source], reference)) for source, reference in rows]
    kept = list(dict.fromkeys((source, target) for source, target in learnt if target is not None))
    if settings.references:
        kept = list(dict.fromkeys([*kept, *zip(sources, references, strict=True)]))
    left_out = {f"left out: {reason}": count for reason, count in choice.dropped.items()}
    counts = {"lines": len(lines), "asked": len(rows), **left_out}
    return Taught([source for source, _ in kept], [target for _, target in kept], counts)


class _Choice:
    """Chooses among the candidates of a line. `dropped` counts the lines without one, by the reason why the most
    likely candidate was left out."""

    def __init__(self, settings: TeacherSettings, check: Check) -> None:
        require(sacrebleu=True)
        import sacrebleu

        self.settings, self.check = settings, check
        self.chrf = sacrebleu.metrics.CHRF()
        self.dropped: dict[str, int] = {}

    def of(self, source: str, candidates: Candidates, reference: str | None) -> str | None:
        """Return the candidate to learn; None if all are left out."""
        best: tuple[float, str] | None = None
        reasons = []
        for text, score in sorted(dict(reversed(candidates)).items(), key=lambda each: -each[1]):
            agreement = self._agreement(text, reference)
            reason = self._reason(source, text, score, agreement)
            if reason is not None:
                reasons.append(reason)
                continue
            worth = score if agreement is None or self.settings.choose == "score" else agreement
            if best is None or worth > best[0]:
                best = worth, text
        if best is None:
            reason = reasons[0] if reasons else "empty"
            self.dropped[reason] = self.dropped.get(reason, 0) + 1
        return None if best is None else best[1]

    def _agreement(self, text: str, reference: str | None) -> float | None:
        """Return the chrF of a candidate with the reference; None if there is none, or it is not asked for."""
        if reference is None or self.settings.choose == "score" and not self.settings.min_agreement:
            return None
        return float(self.chrf.sentence_score(text, [reference]).score)

    def _reason(self, source: str, text: str, score: float, agreement: float | None) -> str | None:
        """Return why a candidate is left out; None if it is not."""
        if not text.strip():
            return "empty"
        if self.settings.min_score is not None and score < self.settings.min_score:
            return "low score"
        if agreement is not None and agreement < self.settings.min_agreement:
            return "low agreement"
        kinds = self.check.kinds(source, text) if self.settings.checks else []
        return kinds[0] if kinds else None


def _translated(
    settings: TeacherSettings, number: int, name: str, lines: list[str], folder: pathlib.Path, say: Say
) -> Iterator[Candidates]:
    """Yield the candidates of each line by one teacher, from the files that exist, or new ones."""
    shards = [lines[begin : begin + settings.shard_lines] for begin in range(0, len(lines), settings.shard_lines)]
    job = {"preset": name, "content": _content_of(name), **settings.languages}
    job |= {key: getattr(settings, key) for key in ("num_beams", "max_new_tokens")}
    teacher: Seq2SeqLM | None = None
    begun, translated = time.perf_counter(), 0
    for index, shard in enumerate(shards):
        path = folder / f"{number}-{index:05}.jsonl"
        header = {"lines": len(shard), "sources": hashlib.sha256("\n".join(shard).encode()).hexdigest(), **job}
        rows = _read(path, header)
        if rows is None:
            if teacher is None:
                teacher = Seq2SeqLM.from_preset(name)
                say(f"{name} translates {len(lines) - index * settings.shard_lines:,} of {len(lines):,} lines.")
            rows = _candidates(settings, teacher, shard)
            write(path, "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in [header, *rows]).encode())
            translated += len(shard)
            speed = translated / (time.perf_counter() - begun)
            left = sum(len(each) for each in shards[index + 1 :]) / speed
            say(f"{len(lines) - round(left * speed):,} lines, {speed:.0f} a second, {left / 60:.0f} minutes left")
        yield from rows
    del teacher
    gc.collect()


def _content_of(name: str) -> str:
    """Return a hash that tells a teacher from another one in the same place: of the hashes of its files or, without
    any, of their names and sizes."""
    path = resolve(name)
    sums = path / "SHA256SUMS"
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    sizes = "".join(f"{each.name} {each.stat().st_size}\n" for each in files if each.is_file()).encode()
    return hashlib.sha256(sums.read_bytes() if sums.is_file() else sizes).hexdigest()


def _candidates(settings: TeacherSettings, teacher: Seq2SeqLM, lines: list[str]) -> list[Candidates]:
    options: dict[str, typing.Any] = dict(settings.languages)
    if settings.max_new_tokens is not None:
        options["max_new_tokens"] = settings.max_new_tokens
    texts, scores = teacher.translate(
        lines,
        **options,
        batch_size=settings.batch_size,
        num_beams=settings.num_beams,
        num_return_sequences=settings.num_beams,
        length_penalty=1.0,
        return_scores=True,
    )
    if settings.num_beams == 1:
        texts, scores = [[text] for text in texts], [[score] for score in scores]
    return [
        [(text, round(float(score), 4)) for text, score in zip(*each, strict=True)]
        for each in zip(texts, scores, strict=True)
    ]


def _read(path: pathlib.Path, header: dict[str, typing.Any]) -> list[Candidates] | None:
    """Return the candidates of a file; None if it does not exist, or is of other lines or damaged."""
    if not is_plain(path):
        return None
    try:
        first, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        found = [[(str(text), float(score)) for text, score in row] for row in rows]
    except (ValueError, TypeError, RecursionError):
        return None
    return found if first == header and len(found) == header["lines"] else None
