"""What to lower if memory runs out."""

import contextlib
import re

_SAID = re.compile(r"(?i)out of memory|\boom when|resource_exhausted|can't allocate memory|not enough memory")


@contextlib.contextmanager
def advice(text):
    """Add `text`, which says what to lower, to an error of any backend that says that memory ran out."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError) or _SAID.search(str(error)):
            error.add_note(f"Memory ran out: {text}")
        raise
