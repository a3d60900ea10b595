"""PyTorch: functions run eagerly, for tensors of any shape. A decoding loop is a Python loop."""

import torch


def keep_what_is_freed() -> None:
    """Make PyTorch tensors on a CPU reuse freed memory.

    By default glibc requests each large block from the system, whose pages are then cleared: a fifth of a forward pass.
    It keeps blocks up to the size of the largest block freed so far, at most 32 MiB. So this function frees one of that
    size. With other C libraries it has no effect.

    Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


keep_what_is_freed()
