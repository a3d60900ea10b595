"""Layers that differ from each other."""


def repeating(items):
    """The first of what one layer after the other has, and the pattern of a stack of them: the shortest beginning whose
    repetition gives all items, `()` where they are the same."""
    length = next(length for length in range(1, len(items) + 1) if _repeats(items, length))
    return items[0], tuple(items[:length]) if length > 1 else ()


def _repeats(items, length):
    return all(item == items[n % length] for n, item in enumerate(items))
