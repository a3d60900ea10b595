"""Hints for misspelled names: the one "did you mean" of the library."""

import collections.abc
import difflib


def nearest(name: object, known: collections.abc.Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """The known names most like `name`, the most similar first; if none is, dotted ones that end in it.

    Args:
        name: what was given.
        known: the names that are possible.
        count: the most names to return.
        cutoff: how alike they must be, from 0 to 1.
    """
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=count, cutoff=cutoff)
    return near or [each for each in known if each.endswith(f".{name}")][:count]


def did_you_mean(name: object, known: collections.abc.Iterable[str], cutoff: float = 0.6) -> str:
    """What to put after an unknown `name` in an error: its nearest known name, or nothing if none is near.

    `name`, `known` and `cutoff` are as for `nearest`.

    Example:
        >>> did_you_mean("num_beam", ["num_beams", "top_k"])
        " (did you mean 'num_beams'?)"
    """
    near = nearest(name, known, cutoff=cutoff)
    return f" (did you mean {near[0]!r}?)" if near else ""


def listed(names: collections.abc.Iterable[str], most: int = 10) -> str:
    """Names as part of a sentence, the first of many.

    Example:
        >>> listed("abcd", most=2)
        'a, b and 2 more'
    """
    names = list(names)
    return f"{', '.join(names[:most])}{f' and {len(names) - most} more' if len(names) > most else ''}"
