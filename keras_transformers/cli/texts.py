"""Lines of text in, and how far along: what several commands share."""

import contextlib
import gzip
import pathlib
import sys

# What typer checks of a file to read.
TEXT_FILE = {"exists": True, "dir_okay": False}


def decoded_lines(stream, name):
    """The lines of a binary stream as text, without their ends.

    Only a newline ends a line (and a carriage return right before it goes with it): Unicode knows more line separators,
    and a text that holds one would put all lines after it out of step with their translations.

    Raises:
        ValueError: a line is not UTF-8; the message names `name` and the line.
    """
    for number, line in enumerate(stream, start=1):
        try:
            yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"Expected UTF-8 text in {name}, got byte {error.object[error.start]:#04x} in line {number}. "
                "Convert it first."
            ) from error


def read_lines(path):
    """All lines of a UTF-8 text file, which may be compressed (`.gz`)."""
    path = pathlib.Path(path)
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        return list(decoded_lines(file, path))


def read_pairs(source, target, pairs, prefix=""):
    """Sentence pairs from two files side by side, or from one with tabs between.

    Args:
        source, target: paths; line n of one belongs to line n of the other.
        pairs: the path of a file of `source<TAB>target` lines instead; more columns are allowed, and not read.
        prefix: what the options' names begin with, for the message.

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
            f"Give --{prefix}source and --{prefix}target, or --{prefix}pairs."
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


@contextlib.contextmanager
def progress(description, total=None):
    """Draw a bar on standard error, where that is a terminal and standard output is not: there, results show it anyway.

    Yields:
        A function that is told how many more are done.
    """
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda done: None
        return
    import rich.console
    import rich.progress

    columns = [
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
    ]
    console = rich.console.Console(stderr=True)
    # Standard output carries the results: rich must not take it over.
    with rich.progress.Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.advance(task, done)
