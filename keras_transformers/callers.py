"""The caller of this library, so that warnings point at the user's line."""

import pathlib
import sys

_PACKAGE = str(pathlib.Path(__file__).parent)


def outside() -> int:
    """Return the `stacklevel` of the first caller outside this library, for a warning by the calling function."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level
