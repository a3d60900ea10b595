"""What to lower where memory runs out."""

import contextlib

_SAID = ("out of memory", "oom when", "resource_exhausted", "can't allocate memory", "not enough memory")


@contextlib.contextmanager
def advice(text):
    """Add `text`, what to lower, to an error that says that memory ran out, whichever backend's it is."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError) or any(each in str(error).lower() for each in _SAID):
            error.add_note(f"Memory ran out: {text}")
        raise
