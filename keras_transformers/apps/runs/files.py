"""Files of a run's folder, each whole whenever the program dies."""

import os
import pathlib


def write(path: pathlib.Path, content: bytes) -> None:
    """Write a file in one step: a reader finds the old content, or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)
