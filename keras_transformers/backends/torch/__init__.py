"""PyTorch: functions run as they are, for tensors of any shape; a decoding loop is a Python loop."""

import torch


def keep_what_is_freed() -> None:
    """Have PyTorch's tensors on a processor use memory again that others have freed.

    glibc asks the system for each large block anew, whose pages are then cleared one by one: a fifth of a forward pass.
    Any block up to the size of the largest that was freed so far, at most 32 MiB, it keeps; so here one is freed. On
    other C libraries this does nothing.

    Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


keep_what_is_freed()
