"""What to lower where memory runs out, and how PyTorch gets memory fast."""

import contextlib
import re

_SAID = re.compile(r"(?i)out of memory|\boom when|resource_exhausted|can't allocate memory|not enough memory")


@contextlib.contextmanager
def advice(text):
    """Add `text`, what to lower, to an error that says that memory ran out, whichever backend's it is."""
    try:
        yield
    except Exception as error:
        if isinstance(error, MemoryError) or _SAID.search(str(error)):
            error.add_note(f"Memory ran out: {text}")
        raise


def keep_what_is_freed():
    """Have PyTorch's tensors on a processor use memory again that others have freed.

    glibc asks the system for each large block anew, whose pages are then cleared one by one: a fifth of a forward pass.
    What counts as large follows the largest block that was freed so far, up to 32 MiB; so here one is. Elsewhere this
    does nothing.

    Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    import torch

    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")
