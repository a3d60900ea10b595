"""File translation line by line: in constant memory, in order, resumable after a kill.

    sentences.txt ──► windows of lines ──► translate ──► translations.txt.partial ──► translations.txt
                                                         translations.txt.partial.json: how much of it is valid

Each window's translations are appended to the partial file and forced to disk. Only then the record beside it, the
`.json` file, is replaced atomically and counts them. If the program stops, the next run cuts off output that the record
does not count, skips the lines that are done, and continues. No line is lost, doubled, or out of order. The output file
appears under its own name when it is complete.

`rows` is the format of a line:

    Lines()              a sentence                  → its translation
    Columns("english")   columns with tabs between   → the same, and one more column
    JSONLines("text")    a JSON object               → the same, and one more field

Forced words apply to all lines, or are read from a field of each object: JSONLines("text", words="terms").
"""

import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np

from keras_transformers.apps.unfinished import Unfinished
from keras_transformers.data.containers import as_text
from keras_transformers.data.protection import Protection
from keras_transformers.files.lines import LineFile, decoded
from keras_transformers.records import record

BATCHES = 32  # batches of lines in a window: enough to sort by length, few enough to lose when killed
CHARACTERS = 4_000_000  # in a window, at most, unless one line alone is longer


@record
class Lines:
    """Lines of plain text. Each becomes its translation; several translations, and scores, are separated by tabs."""

    has_header = False
    words = None

    def place(self, header: str | None) -> None:
        return None

    def text(self, line: str, place: None) -> str:
        return line

    def line(self, line: str, translations: list[str], scores: list[float] | None) -> str:
        return "\t".join(_cells(translations, scores)) if line.strip() else ""


LINES = Lines()


@record
class Columns:
    """Lines of columns separated by tabs, without quoting. The translation becomes the last column.

    Attributes:
        column: the column to translate: a number from 1, or its name in the first line.
        into: the name of the new column, if columns have names; its scores are in `<into>_score`.
    """

    column: int | str
    into: str = "translation"

    words = None

    def __post_init__(self) -> None:
        if isinstance(self.column, int) and self.column < 1:
            raise ValueError(f"Expected a column from 1, or its name, got {self.column}.")

    @property
    def has_header(self) -> bool:
        return isinstance(self.column, str)

    def place(self, header: str | None) -> int:
        """Return the index of the column, from 0."""
        if not isinstance(self.column, str):
            return self.column - 1
        names = [] if header is None else header.split("\t")
        if self.column not in names:
            raise ValueError(f"expected a column {self.column!r}, got {', '.join(names) or 'none'}. Name one of these.")
        if self.into in names:
            raise ValueError(f"expected no column {self.into!r} yet, got one. Give another name for the translation.")
        return names.index(self.column)

    def header(self, header: str, count: int, scored: bool) -> str:
        """Return the first line of the output."""
        names = [self.into, *(f"{self.into}_{number}" for number in range(2, count + 1))]
        return "\t".join([header, *_beside(names, [f"{name}_score" for name in names] if scored else None)])

    def text(self, line: str, place: int) -> str:
        if not line:
            return ""
        cells = line.split("\t")
        if place >= len(cells):
            raise ValueError(f"expected at least {place + 1} columns, got {len(cells)}. Mend that line.")
        return cells[place]

    def line(self, line: str, translations: list[str], scores: list[float] | None) -> str:
        return "\t".join([line, *_cells(translations, scores)]) if line else ""


@record
class JSONLines:
    """Lines of JSON objects. Each keeps its characters and gets the translation as a new last field.

    Attributes:
        field: the field to translate.
        into: the new field: a text, or a list of several translations; its scores are in `<into>_score`.
        words: the field that lists forced words, which have to occur in the translation; an object may lack it.
    """

    field: str = "text"
    into: str = "translation"
    words: str | None = None

    has_header = False

    def place(self, header: str | None) -> None:
        return None

    def text(self, line: str, place: None) -> str:
        if not line.strip():
            return ""
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"expected a JSON object, got another text ({error}). Mend that line.") from None
        if not isinstance(value, dict) or self.field not in value:
            got = f"the fields {', '.join(map(repr, value))}" if isinstance(value, dict) else type(value).__name__
            raise ValueError(f"expected a JSON object with a text in {self.field!r}, got {got}. Mend that line.")
        text = value[self.field]
        if not isinstance(text, str):
            raise ValueError(f"expected a text in {self.field!r}, got {json.dumps(text):.80}. Mend that line.")
        if self.into in value:
            raise ValueError(f"expected no field {self.into!r} yet, got one. Give another name for the translation.")
        return text

    def forced_words(self, line: str) -> list[str]:
        words = json.loads(line).get(self.words) if line.strip() else None
        if words is None:
            return []
        if not _are_texts(words):
            raise ValueError(f"expected a list of texts in {self.words!r}, got {words!r:.80}. Mend that line.")
        return words

    def line(self, line: str, translations: list[str], scores: list[float] | None) -> str:
        if not line.strip():
            return ""
        fields: dict[str, typing.Any] = {self.into: translations} | (
            {} if scores is None else {f"{self.into}_score": scores}
        )
        if len(translations) == 1:
            fields = {name: values[0] for name, values in fields.items()}
        more = json.dumps(fields, ensure_ascii=False).removeprefix("{")
        return f"{line.rstrip().removesuffix('}').rstrip()}, {more}"


def _are_texts(values: object) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(each, str) for each in values)


def _beside(translations: list[str], scores: list[typing.Any] | None) -> list[typing.Any]:
    """Return translations, each followed by its score if there are scores."""
    return (
        translations if scores is None else [each for pair in zip(translations, scores, strict=True) for each in pair]
    )


def _cells(translations: list[str], scores: list[float] | None) -> list[str]:
    """Return translations and scores as cells, without line ends and tabs, which would break the rows."""
    translations = [one_line(text).replace("\t", " ") for text in translations]
    return _beside(translations, scores and [f"{score:.6f}" for score in scores])


def one_line(text: str) -> str:
    """Return `text` without line ends, which would misalign the lines after it."""
    return " ".join(text.splitlines())


def translate_file(
    task: typing.Any,
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    rows: typing.Any = LINES,
    documents: bool = False,
    forced_words: Sequence[str | Sequence[str]] = (),
    batch_size: int = 32,
    return_scores: bool = False,
    progress: Callable[[int, float], None] | None = None,
    **options: typing.Any,
) -> int:
    """Translate a file line by line; resume if an earlier call was stopped.

    Args:
        task: a `Seq2SeqLM` or a `Translator`.
        source: the path of a UTF-8 file, compressed or not (`.gz`, `.bz2`, `.xz`).
        output: the path to write (the same endings compress it). Until the output is complete, it is written to
            `<output>.partial`, and `<output>.partial.json` records how much of that is valid.
        rows: the format of a line: `Lines()`, `Columns(column)` or `JSONLines(field)`. An empty line stays empty.
        documents: whether to translate each text sentence by sentence, as `task.translate_document` does: for texts of
            several sentences, or longer than the model's maximum length.
        forced_words: words or phrases that have to occur in the translation of each line, besides those that `rows`
            reads from the line itself; see `task.translate`.
        batch_size: lines translated together.
        return_scores: whether to write each translation's score beside it.
        progress: a function called as `progress(lines, share)`: the number of lines done, and the share of the input
            done, from 0 to 1.
        **options: arguments of `task.translate`. To resume, they must be the same as in the stopped call. If `protect`
            is a `Protection`, it has the counts of the whole file at the end, also after several calls.

    Returns: the number of lines in the file.

    Raises:
        FileExistsError: if `output` exists.
        ValueError: for a malformed line, naming file and line, after all lines before it are done: correct the line,
            and call again to resume. Also if an earlier call's partial output has another input, model or settings.
        OSError: if the disk is full: make room, and call again. Also if another program is writing the same output.

    Example:
        >>> translate_file(task, "posts.jsonl", "translated.jsonl", rows=JSONLines("body"), num_beams=4)
    """
    _check(rows, documents, forced_words, return_scores)
    settings = {**options, "documents": documents, "forced_words": forced_words, "return_scores": return_scores}
    job = {"rows": rows, "model": fingerprint(task), **{f"options.{name}": value for name, value in settings.items()}}
    with LineFile(source) as file, Unfinished(pathlib.Path(output), job) as unfinished:
        digest = hashlib.blake2b(digest_size=16)
        lines = enumerate(file, start=1)
        header = read_header(lines, source, digest) if rows.has_header else None
        with in_line(source, 1):
            place = rows.place(header)
        for _, line in itertools.islice(lines, max(unfinished.lines - (header is not None), 0)):
            digest.update(line)
        unfinished.check_input(digest, source)
        if header is not None and not unfinished.lines:
            count = options.get("num_return_sequences", task.generation.num_return_sequences)
            unfinished.add([rows.header(header, count, return_scores)], digest)
        kept = None if options.get("protect") in (None, False) else Protection.like(options["protect"])
        if kept is not None:
            settings["protect"] = kept
            kept.add(unfinished.counts)
        advance = Progress(file, unfinished.lines, progress)
        for window in windows(read_rows(lines, rows, place, source), batch_size * BATCHES):
            advance.enter(len(window))
            translations, scores = _translated(task, window, advance, batch_size=batch_size, **settings)
            for row in window:
                digest.update(row.raw)
            unfinished.counts = {} if kept is None else kept.values()
            unfinished.add(map(rows.line, (row.line for row in window), lists(translations), lists(scores)), digest)
        unfinished.finish()
    if kept is not None and isinstance(options["protect"], Protection):
        options["protect"].add(kept.values())
    return unfinished.lines


def _check(rows: typing.Any, documents: bool, forced_words: object, return_scores: bool) -> None:
    """Refuse options that contradict each other."""
    if documents and return_scores:
        raise ValueError("Expected return_scores of sentences, got it with documents=True. Leave one of them out.")
    if documents and (forced_words or rows.words is not None):
        raise ValueError(
            "Expected words that have to occur in a line of one sentence, got them with documents=True, where no one "
            "says in which sentence. Leave one of them out."
        )
    if not _are_texts(forced_words):
        raise ValueError(
            f"Expected forced_words to be a list of texts, for all lines, got {forced_words!r:.80}. Those of single "
            "lines stand in a field of theirs: rows=JSONLines(words=…)."
        )


def read_header(lines: Iterator[tuple[int, bytes]], name: object, digest: typing.Any) -> str | None:
    """Read the first line, which names the columns; None if the file is empty."""
    number, line = next(lines, (1, None))
    if line is None:
        return None
    digest.update(line)
    return decoded(line, name, number)


class Progress:
    """Reports the lines done and the share of the input done, which is interpolated within a window of lines."""

    def __init__(self, file: LineFile, done: int, report: Callable[[int, float], None] | None) -> None:
        self.file, self.done, self.report = file, done, report
        self.share = file.share()  # as far as lines have been read

    def enter(self, lines: int) -> None:
        """Begin a window of `lines` lines, which have just been read."""
        self.begin, self.share = self.share, self.file.share()
        self.lines, self.end = lines, self.done + lines

    def __call__(self, count: int) -> None:
        """Count lines that have just been translated."""
        self.done += count
        if self.report is not None:
            left = (self.end - self.done) / self.lines
            self.report(self.done, self.share - (self.share - self.begin) * left)


def _translated(
    task: typing.Any,
    window: list["Row"],
    advance: Callable[[int], None],
    *,
    documents: bool,
    forced_words: Sequence[str | Sequence[str]],
    return_scores: bool,
    **options: typing.Any,
) -> tuple[list[typing.Any], list[typing.Any]]:
    """Return the translations and the scores of a window's rows; None for each score if none are asked for."""
    texts, unscored = [row.text for row in window], [None] * len(window)
    options["names"] = [f"line {row.number}" for row in window]
    words = [[*forced_words, *row.words] for row in window]
    if any(words):
        options["forced_words"] = words
    if documents:  # which would report sentences
        translations = task.translate_document(texts, **options)
        advance(len(texts))
        return translations, unscored
    if return_scores:
        return task.translate(texts, return_scores=True, progress=advance, **options)
    return task.translate(texts, progress=advance, **options), unscored


def fingerprint(task: typing.Any) -> str:
    """Return a hash of a task's model, tokenizer and generation settings, the same on every backend."""
    digest = hashlib.blake2b(repr((task.config, getattr(task, "generation", None))).encode(), digest_size=16)
    for content in task.tokenizer.files().values():
        digest.update(content)
    if getattr(task, "shortlist", None) is not None:
        digest.update(task.shortlist.content)
    for weight in task.weights:
        array = keras.ops.convert_to_numpy(weight)
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).view("uint8").data)
    return digest.hexdigest()


class Row(typing.NamedTuple):
    """A line of the input: its number, bytes and text, the part to translate, and its forced words."""

    number: int
    raw: bytes
    line: str
    text: str
    words: list


def read_rows(lines: Iterable[tuple[int, bytes]], rows: typing.Any, place: int | None, name: object) -> Iterator["Row"]:
    """Yield the rows of a file, made from its numbered lines.

    Raises:
        ValueError: for a malformed line, naming it.
    """
    for number, raw in lines:
        line = decoded(raw, name, number)
        with in_line(name, number):
            text = as_text(rows.text(line, place), f"line {number}")
            words = (
                []
                if rows.words is None
                else [as_text(word, f"a word of line {number}") for word in rows.forced_words(line)]
            )
        yield Row(number, raw, line, text, words)


def windows(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Yield lists of up to `size` rows and not many more than `CHARACTERS` characters. Rows are read only when needed,
    and rows before a malformed line are yielded before its error is raised."""
    window, characters = [], 0
    try:
        for row in rows:
            window.append(row)
            characters += len(row.line)
            if len(window) == size or characters >= CHARACTERS:
                yield window
                window, characters = [], 0
    except ValueError:
        if window:
            yield window
        raise
    if window:
        yield window


def lists(values: Iterable[typing.Any]) -> list[typing.Any]:
    """Put each value that is not a list into one: a text has one translation or a list of them."""
    return [value if isinstance(value, list) or value is None else [value] for value in values]


@contextlib.contextmanager
def in_line(name: object, number: int) -> Iterator[None]:
    """Add file and line to the message of an error."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}, line {number}: {error}") from error.__cause__
