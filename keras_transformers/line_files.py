"""Files of lines: UTF-8 text, one sentence, row or JSON object a line, compressed (`.gz`) or not."""

import gzip
import os
import pathlib


class LineFile:
    """The lines of a file as bytes, with their ends, and how much of the file has been read.

    Args:
        path: of the file; a name that ends in `.gz` is read as gzip.

    Example:
        >>> with LineFile("sentences.txt") as lines:
        ...     for number, line in enumerate(lines, start=1):
        ...         text = decoded(line, lines.path, number)
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self._raw = open(self.path, "rb")
        self._lines = gzip.GzipFile(fileobj=self._raw) if self.path.suffix == ".gz" else self._raw
        self._size = max(os.fstat(self._raw.fileno()).st_size, 1)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._raw.close()

    def __iter__(self):
        try:
            yield from self._lines
        except (EOFError, gzip.BadGzipFile) as error:
            raise ValueError(f"Expected a whole gzip file, got {self.path}: {error}. Fetch it again.") from error

    def share(self):
        """How much of the file has been read, from 0 to 1."""
        return min(self._raw.tell() / self._size, 1.0)


def decoded(line, name, number):
    """A line of bytes as text, without its end.

    Only a newline ends a line (and a carriage return right before it goes with it): Unicode knows more line separators,
    and a text that holds one would put all lines after it out of step with their translations.

    Raises:
        ValueError: the line is not UTF-8; the message says which: `name` and `number`.
    """
    try:
        return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected UTF-8 text in {name}, got byte {error.object[error.start]:#04x} in line {number}. "
            "Convert it first."
        ) from error


def decoded_lines(stream, name):
    """The lines of a binary stream as text, one by one. See `decoded`."""
    return (decoded(line, name, number) for number, line in enumerate(stream, start=1))


def read_lines(path):
    """All lines of a UTF-8 text file, which may be compressed (`.gz`)."""
    with LineFile(path) as file:
        return list(decoded_lines(file, path))


def read_texts(paths, lines=False):
    """The texts of UTF-8 files, which may be compressed: each file one, or each line that is not empty.

    Raises:
        ValueError: a file is not UTF-8, or holds no text.
    """
    texts = []
    for path in paths:
        found = [line for line in read_lines(path) if line.strip()] if lines else ["\n".join(read_lines(path))]
        if not any(text.strip() for text in found):
            raise ValueError(f"Expected a text in {path}, got none. Give a file that holds one.")
        texts += found
    return texts


def read_pairs(source, target, pairs, prefix="--"):
    """Sentence pairs from two files side by side, or from one with tabs between.

    Args:
        source, target: paths; line n of one belongs to line n of the other.
        pairs: the path of a file of `source<TAB>target` lines instead; more columns are allowed, and not read.
        prefix: what the settings' names begin with, for the message.

    Returns:
        Two lists of strings of the same length.

    Raises:
        ValueError: not exactly one of the two ways, unequal numbers of lines, a line without a tab, or no lines.
    """
    if (source is None) != (target is None) or (source is None) == (pairs is None):
        given = [
            name for name, value in {"source": source, "target": target, "pairs": pairs}.items() if value is not None
        ]
        raise ValueError(
            "Expected either a source and a target file, or one file of pairs, "
            f"got {' and '.join(given) or 'none of them'}. "
            f"Give {prefix}source and {prefix}target, or {prefix}pairs."
        )
    if pairs is not None:
        rows = [line.split("\t") for line in read_lines(pairs)]
        for number, row in enumerate(rows, start=1):
            if len(row) < 2:
                raise ValueError(f"Expected source<TAB>target in {pairs}, got no tab in line {number}. Mend that line.")
        sources, targets = [row[0] for row in rows], [row[1] for row in rows]
    else:
        sources, targets = read_lines(source), read_lines(target)
        if len(sources) != len(targets):
            raise ValueError(
                f"Expected as many lines in {source} as in {target}, got {len(sources)} and {len(targets)}. "
                "Line n of one must belong to line n of the other."
            )
    if not sources:
        raise ValueError(f"Expected at least one pair, got none in {pairs or source}. Give a file that holds some.")
    return sources, targets
