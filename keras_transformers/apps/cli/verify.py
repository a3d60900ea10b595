"""`keras-transformers verify`: a check that a preset's files are undamaged."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Annotated

import typer


def verify(
    preset: Annotated[str, typer.Argument(help="A preset, a folder of adapters or checkpoints, a GGUF file, hf://…")],
) -> None:
    """Check the hashes, headers and numbers of a preset's files or of checkpoints. The exit status is 1 if one is
    damaged."""
    from keras_transformers.formats import verification

    with _bar(preset) as progress:
        found = verification.verify(preset, progress=progress)
    whole = f"{found.tensors} tensors of finite numbers in {found.size:,} bytes of weights"
    if found.hashed:
        print(f"{found.path}: {found.hashed} files have the sizes and hashes of SHA256SUMS, {whole}.")
    else:
        print(f"{found.path}: no SHA256SUMS to compare with; {found.files} files can be read, {whole}.")


@contextlib.contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int], object] | None]:
    """Draw a progress bar in bytes on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    import rich.console
    import rich.progress

    columns = [
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TimeRemainingColumn(),
    ]
    with rich.progress.Progress(*columns, console=rich.console.Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name)
        yield lambda done, total: bar.update(task, completed=done, total=total)
