"""Advice in errors about memory: the setting to lower."""

import contextlib
import re
from collections.abc import Iterator

_SAID = re.compile(r"(?i)out of memory|\boom when|resource_exhausted|can't allocate memory|not enough memory")


@contextlib.contextmanager
def advice(text: str) -> Iterator[None]:
    """Add the note `text`, advice on a smaller computation, to any backend's out-of-memory error."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError) or _SAID.search(str(error)):
            error.add_note(f"Memory ran out: {text}")
        raise
