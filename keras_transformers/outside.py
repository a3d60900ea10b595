"""Whose line a warning is about."""

import pathlib
import sys


def outside() -> int:
    """The level of the first caller outside of this library, for a warning that its own caller gives."""
    package, level, frame = str(pathlib.Path(__file__).parent), 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        level, frame = level + 1, frame.f_back
    return level
