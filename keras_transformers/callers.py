"""Who called this library, for warnings that are given at the user's own line."""

import pathlib
import sys

_PACKAGE = str(pathlib.Path(__file__).parent)


def outside() -> int:
    """The `stacklevel` of the first caller outside of this library, for a warning that the calling function gives."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level
