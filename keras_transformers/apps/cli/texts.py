"""Shared parts of commands: filtering the given options, and progress bars."""

import contextlib
import sys
import typing
from collections.abc import Callable, Iterator


def given(**options: typing.Any) -> dict[str, typing.Any]:
    """Return the options that are not None; the preset decides the others."""
    return {name: value for name, value in options.items() if value is not None}


@contextlib.contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Draw a progress bar on standard error, if that is a terminal and standard output is not.

    On a terminal, the results on standard output show the progress already.

    Yields:
        A function, called with the number of items done since the last call.
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


@contextlib.contextmanager
def file_progress(description: str) -> Iterator[Callable[[int, float], None] | None]:
    """Draw a file's progress and the time left on standard error, if that is a terminal.

    Yields:
        A function, called with the number of lines done and the share of the file done.
    """
    if not sys.stderr.isatty():
        yield None
        return
    import rich.console
    import rich.progress

    columns = [
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TextColumn("{task.fields[lines]:,} lines"),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
    ]
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(
        *columns, console=console, speed_estimate_period=600, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task: typing.Any = None

        def report(lines: int, share: float) -> None:
            nonlocal task
            if task is None:  # the lines of an earlier run must not count for this run's speed
                task = bar.add_task(description, total=1.0, completed=share, lines=lines)  # type: ignore[arg-type]  # any number
            bar.update(task, completed=share, lines=lines)

        yield report
