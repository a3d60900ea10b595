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

from keras_transformers.data.sources import as_text
from keras_transformers.files.lines import LineFile, compressed, decoded
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
            raise ValueError(f"expected a JSON object, got what is none ({error}). Mend that line.") from None
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
        task: a `Seq2SeqLM`.
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
        **options: arguments of `task.translate`. To resume, they must be the same as in the stopped call.

    Returns: the number of lines in the file.

    Raises:
        FileExistsError: if `output` exists.
        ValueError: for a malformed line, naming file and line, after all lines before it are done: correct the line,
            and call again to resume. Also if an earlier call's partial output has another input, model or settings.
        OSError: if the disk is full: make room, and call again. Also if another program is writing the same output.

    Example:
        >>> translate_file(task, "posts.jsonl", "translated.jsonl", rows=JSONLines("body"), num_beams=4)
    """
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
    told = {**options, "documents": documents, "forced_words": forced_words, "return_scores": return_scores}
    job = {"rows": rows, "model": fingerprint(task), **{f"options.{name}": value for name, value in told.items()}}
    with LineFile(source) as file, _Unfinished(pathlib.Path(output), job) as unfinished:
        digest = hashlib.blake2b(digest_size=16)
        lines = enumerate(file, start=1)
        head = next(lines, None) if rows.has_header else None
        header = None if head is None else decoded(head[1], source, 1)
        with _in_line(source, 1):
            place = rows.place(header)
        if head is not None:
            digest.update(head[1])
        for _, line in itertools.islice(lines, max(unfinished.lines - (head is not None), 0)):
            digest.update(line)
        window: list[typing.Any] = []
        done, share = unfinished.lines, file.share()
        unfinished.check_input(digest, source)

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None and window:
                left = (unfinished.lines + len(window) - done) / len(window)
                progress(done, file.share() - (file.share() - share) * left)

        if head is not None and not done:
            count = options.get("num_return_sequences", task.generation.num_return_sequences)
            unfinished.add([rows.header(header, count, return_scores)], digest)
            done = 1
        for window in _windows(_read(lines, rows, place, source), batch_size * BATCHES):
            texts, names = [row.text for row in window], [f"line {row.number}" for row in window]
            words = [[*forced_words, *row.words] for row in window]
            asked = {**options, "batch_size": batch_size, "names": names}
            if any(words):
                asked["forced_words"] = words
            translations, scores = None, [None] * len(texts)
            if documents:  # `progress` would count sentences
                translations = task.translate_document(texts, **asked)
                advance(len(texts))
            elif return_scores:
                translations, scores = task.translate(texts, return_scores=True, progress=advance, **asked)
            else:
                translations = task.translate(texts, progress=advance, **asked)
            for row in window:
                digest.update(row.raw)
            unfinished.add(map(rows.line, (row.line for row in window), lists(translations), lists(scores)), digest)
            done, share = unfinished.lines, file.share()
        unfinished.finish()
    return done


def fingerprint(task: typing.Any) -> str:
    """Return a hash of a task's model, tokenizer and generation settings, the same on every backend."""
    digest = hashlib.blake2b(repr((task.config, task.generation)).encode(), digest_size=16)
    for content in task.tokenizer.files().values():
        digest.update(content)
    for weight in task.weights:
        array = keras.ops.convert_to_numpy(weight)
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).view("uint8").data)
    return digest.hexdigest()


class _Row(typing.NamedTuple):
    """A line of the input: its number, bytes and text, the part to translate, and its forced words."""

    number: int
    raw: bytes
    line: str
    text: str
    words: list


def _read(lines: Iterable[tuple[int, bytes]], rows: typing.Any, place: int | None, name: object) -> Iterator["_Row"]:
    """Yield the rows of a file, made from its numbered lines.

    Raises:
        ValueError: for a malformed line, naming it.
    """
    for number, raw in lines:
        line = decoded(raw, name, number)
        with _in_line(name, number):
            text = as_text(rows.text(line, place), f"line {number}")
            words = (
                []
                if rows.words is None
                else [as_text(word, f"a word of line {number}") for word in rows.forced_words(line)]
            )
        yield _Row(number, raw, line, text, words)


def _windows(rows: Iterable[_Row], size: int) -> Iterator[list[_Row]]:
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
def _in_line(name: object, number: int) -> Iterator[None]:
    """Add file and line to the message of an error."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}, line {number}: {error}") from error.__cause__


class _Unfinished:
    """A partial output file and the record of how much of it is valid.

    Attributes:
        lines: the number of lines done.
    """

    def __init__(self, output: typing.Any, job: typing.Any) -> None:
        self.output = output
        self.partial = output.with_name(f"{output.name}.partial")
        self.record = output.with_name(f"{output.name}.partial.json")
        self.job = json.loads(json.dumps({**job, "output": output.suffix}, default=repr))
        self.lines, self._size = 0, 0
        self._input: str | None = None

    def __enter__(self) -> typing.Self:
        self._refuse_existing()
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.partial, "ab", buffering=0)
        try:
            self._lock()
            self._refuse_existing()  # another program may have finished it meanwhile
            self._go_on()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def _refuse_existing(self) -> None:
        if self.output.exists():
            if not self.partial.exists():
                self.record.unlink(missing_ok=True)  # left by a kill after the output was complete
            raise FileExistsError(
                f"Expected no file at {self.output} yet, got one: finished, or another's. Name another, or remove it."
            )

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(
                f"Expected to write {self.partial} alone, got another program that does. Wait for it, or stop it."
            ) from None

    def _go_on(self) -> None:
        size, advice = os.fstat(self._file.fileno()).st_size, f"Remove {self.partial} and {self.record} to begin anew."
        if not self.record.exists():
            if size:
                raise ValueError(f"Expected {self.record} to say how much of {self.partial} counts, got none. {advice}")
            self._replace_record(0, 0, None)  # the record comes first: output without a record is refused
            return
        try:
            state = json.loads(self.record.read_bytes())
            self.lines, self._size, self._input, job = (state[name] for name in ("lines", "bytes", "input", "job"))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"Expected {self.record} as it was written, got what cannot be read ({error}). {advice}"
            ) from None
        other = [
            f"{name}: {self.job.get(name, 'none')!s:.80} instead of {job.get(name, 'none')!s:.80}"
            for name in {**job, **self.job}
            if job.get(name) != self.job.get(name)
        ]
        if other:
            raise ValueError(f"{self.partial} was begun with others, got {'; '.join(other)}. Give the same. {advice}")
        if size < self._size:
            raise ValueError(f"Expected {self._size} bytes in {self.partial} at least, got {size}. {advice}")
        os.ftruncate(self._file.fileno(), self._size)

    def check_input(self, digest: typing.Any, source: object) -> None:
        """Raise if the lines done so far come from another input."""
        if self._input is not None and self._input != digest.hexdigest():
            raise ValueError(
                f"Expected {source} to begin with the {self.lines} lines that {self.partial} was made from, got "
                f"others. Give the same input, or remove {self.partial} and {self.record} to begin anew."
            )

    def add(self, lines: Iterable[str], digest: typing.Any) -> None:
        """Append lines of output, one for each next line of the input, and record them as valid."""
        lines = list(lines)
        content = "".join(f"{line}\n" for line in lines).encode("utf-8")
        content = compressed(content, self.output.suffix)
        try:
            _write(self._file, content)
            self._replace_record(self.lines + len(lines), self._size + len(content), digest.hexdigest())
        except OSError as error:
            failed = OSError(
                f"Expected room for more in {self.partial}, got: {error.strerror}. {self.lines} lines are done, and "
                "stay; make room, and start the same again to go on."
            )
            failed.errno = error.errno
            raise failed from error

    def _replace_record(self, lines: int, size: int, digest: str | None) -> None:
        content = json.dumps({"lines": lines, "bytes": size, "input": digest, "job": self.job}, indent=1).encode()
        replacement = self.record.with_name(f"{self.record.name}.new")
        with open(replacement, "wb", buffering=0) as file:
            _write(file, content)
        os.replace(replacement, self.record)
        self.lines, self._size = lines, size

    def finish(self) -> None:
        """Give the complete output its own name."""
        self._file.close()
        os.replace(self.partial, self.output)
        self.record.unlink(missing_ok=True)


def _write(file: typing.BinaryIO, content: bytes) -> None:
    """Write all of `content` to an unbuffered file and force it to disk."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())
