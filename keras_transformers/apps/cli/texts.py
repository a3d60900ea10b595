"""What several commands share: the options that were given, and how far along they are."""

import contextlib
import sys


def given(**options):
    """The options that the user gave; the preset settles the others."""
    return {name: value for name, value in options.items() if value is not None}


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


@contextlib.contextmanager
def file_progress(description):
    """Draw how much of a file is done, and the time left, on standard error where that is a terminal.

    Yields:
        A function that is told how many lines are done, and which share of the file.
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
        task = None

        def told(lines, share):
            nonlocal task
            if task is None:  # what an earlier run has done says nothing of how fast this one is
                task = bar.add_task(description, total=1.0, completed=share, lines=lines)
            bar.update(task, completed=share, lines=lines)

        yield told
