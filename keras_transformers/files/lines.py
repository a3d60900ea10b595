"""Reading of text files: UTF-8, one sentence, row or JSON object a line, compressed or not.

bytes of the file                        as text
EF BB BF at the start of a line          nothing: a byte-order mark, written by editors on Windows
"\\n", or "\\r\\n"                        the end of a line; no other character is one
FF FE or FE FF at first, or many NULs    an error: UTF-16 or UTF-32
bytes that are not UTF-8                 an error that names file, line and byte
"""

import bz2
import codecs
import gzip
import lzma
import os
import pathlib
import typing
import zlib
from collections.abc import Iterable, Iterator

# Openers of compressed files by the ending of the file name.
_OPEN: dict[str, typing.Callable[..., typing.Any]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
_COMPRESS = {".gz": lambda content: gzip.compress(content, mtime=0), ".bz2": bz2.compress, ".xz": lzma.compress}
_DAMAGED = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, OSError)


class LineFile:
    """An iterator over the lines of a file as bytes, line ends included, that knows how much of the file it has read.

    Args:
        path: the path of the file; a file whose name ends in `.gz`, `.bz2` or `.xz` is decompressed.

    Example:
        >>> with LineFile("sentences.txt") as lines:
        ...     for number, line in enumerate(lines, start=1):
        ...         text = decoded(line, lines.path, number)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path)
        self._raw = open(self.path, "rb")
        self._lines = _OPEN.get(self.path.suffix, lambda raw: raw)(self._raw)
        self._size = max(os.fstat(self._raw.fileno()).st_size, 1)

    def __enter__(self) -> typing.Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._raw.close()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._lines
        except _DAMAGED as error:
            if self._lines is self._raw:  # not compressed: an error of the disk
                raise
            kind = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz"}[self.path.suffix]
            raise ValueError(f"Expected a whole {kind} file, got {self.path}: {error}. Fetch it again.") from error

    def share(self) -> float:
        """Return the share of the file that has been read, from 0 to 1."""
        return min(self._raw.tell() / self._size, 1.0)


def compressed(content: bytes, suffix: str) -> bytes:
    """Compress bytes for a file with the ending `suffix`. Concatenated results are one valid file."""
    return _COMPRESS.get(suffix, bytes)(content)


def decoded(line: bytes, name: object, number: int) -> str:
    """Decode a line of bytes, without its line end and without a byte-order mark at its start.

    Only "\\n" or "\\r\\n" ends a line. Unicode has more line separators; if they ended lines, a text with one would
    misalign all lines after it with their translations.

    Raises:
        ValueError: if the line is not UTF-8, or the first line looks like UTF-16 or UTF-32. The message has `name` and
            `number`.
    """
    if number == 1 and _is_wide(line):
        raise ValueError(
            f"Expected UTF-8 text in {name}, got UTF-16 or UTF-32, as its first bytes show: {line[:4].hex(' ')}. "
            "Convert it first, as with: iconv -f UTF-16 -t UTF-8."
        )
    try:
        # A file joined from several has byte-order marks at the start of later lines too.
        return line.removeprefix(codecs.BOM_UTF8).removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected UTF-8 text in {name}, got byte {error.object[error.start]:#04x} in line {number}. "
            "Convert it first."
        ) from error


def _is_wide(line: bytes) -> bool:
    """Return whether a first line is UTF-16 or UTF-32: it has their byte-order mark, or every other byte is NUL."""
    marked = line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
    return marked or (len(line) > 2 and 3 * line.count(0) > len(line))


def decoded_lines(stream: Iterable[bytes], name: object) -> Iterator[str]:
    """Yield the lines of a binary stream as text. See `decoded`."""
    return (decoded(line, name, number) for number, line in enumerate(stream, start=1))


def in_chunks(items: Iterable[typing.Any], size: int) -> Iterator[list[typing.Any]]:
    """Yield lists of up to `size` items. If the iterable raises, the items before the error are yielded first."""
    chunk = []
    try:
        for item in items:
            chunk.append(item)
            if len(chunk) == size:
                yield chunk
                chunk = []
    except Exception:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Return all lines of a UTF-8 text file, which may be compressed."""
    with LineFile(path) as file:
        return list(decoded_lines(file, path))


def read_text(path: str | os.PathLike[str]) -> str:
    """Return a UTF-8 text file, which may be compressed, as one string, in which only "\\n" ends a line."""
    with LineFile(path) as file:
        return "".join(
            decoded(line, path, number) + "\n" * line.endswith(b"\n") for number, line in enumerate(file, start=1)
        )


def read_texts(paths: Iterable[str | os.PathLike[str]], lines: bool = False) -> list[str]:
    """Return the texts of UTF-8 files, which may be compressed: each file is a text, or each line that is not empty.

    Raises:
        ValueError: if a file is not UTF-8, or holds no text.
    """
    texts = []
    for path in paths:
        found = [line for line in read_lines(path) if line.strip()] if lines else [read_text(path).removesuffix("\n")]
        if not any(text.strip() for text in found):
            raise ValueError(f"Expected a text in {path}, got none. Give a file that holds one.")
        texts += found
    return texts


def read_pairs(
    source: str | os.PathLike[str] | None,
    target: str | os.PathLike[str] | None,
    pairs: str | os.PathLike[str] | None,
    prefix: str = "--",
) -> tuple[list[str], list[str]]:
    """Read sentence pairs from two parallel files, or from one file with tabs between source and target.

    Args:
        source, target: paths; line n of one belongs to line n of the other.
        pairs: instead, the path of a file of `source<TAB>target` lines; further columns are ignored, and so are blank
            lines at the end.
        prefix: the start of the settings' names, for the message.

    Returns:
        Two lists of strings of the same length.

    Raises:
        ValueError: for both ways at once or neither, unequal numbers of lines, a line without a tab, or no lines.
    """
    given = {"source": source, "target": target, "pairs": pairs}
    names = [name for name, path in given.items() if path is not None]
    if pairs is not None and names == ["pairs"]:
        sources, targets = _tabbed(pairs)
    elif source is not None and target is not None and names == ["source", "target"]:
        sources, targets = _parallel(source, target)
    else:
        raise ValueError(
            f"Expected either a source and a target file, or one file of pairs, got "
            f"{' and '.join(names) or 'none of them'}. Give {prefix}source and {prefix}target, or {prefix}pairs."
        )
    if not sources:
        raise ValueError(f"Expected at least one pair, got none in {pairs or source}. Give a file that holds some.")
    return sources, targets


def _tabbed(path: str | os.PathLike[str]) -> tuple[list[str], list[str]]:
    """Return the sources and targets of a file of `source<TAB>target` lines."""
    rows = [line.split("\t") for line in _without_blank_end(read_lines(path))]
    for number, row in enumerate(rows, start=1):
        if len(row) < 2:
            raise ValueError(f"Expected source<TAB>target in {path}, got no tab in line {number}. Mend that line.")
    return [row[0] for row in rows], [row[1] for row in rows]


def _parallel(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> tuple[list[str], list[str]]:
    """Return the lines of two files, as many of one as of the other."""
    sources, targets = read_lines(source), read_lines(target)
    if len(sources) != len(targets):  # blank lines at the end of one file have no partner
        sources, targets = _without_blank_end(sources), _without_blank_end(targets)
    if len(sources) != len(targets):
        raise ValueError(
            f"Expected as many lines in {source} as in {target}, got {len(sources)} and {len(targets)}. "
            "Line n of one must belong to line n of the other."
        )
    return sources, targets


def _without_blank_end(lines: list[str]) -> list[str]:
    """Return the lines without blank lines at the end."""
    count = len(lines)
    while count and not lines[count - 1].strip():
        count -= 1
    return lines[:count]
