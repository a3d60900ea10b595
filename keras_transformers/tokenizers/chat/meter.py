"""The bounds of a chat template: how much it may do, write and take.

Each turn of a loop, each call, and each value that a template makes is counted, and the first that passes a bound ends
the run with an error:

    counted                       bound
    turns of loops, and calls     1,000,000 and 16 for each character of the chat
    one value, written out        16 Mi characters and 16 for each character of the chat
    all values together           64 Mi characters, and 4 for each character and each value of the chat, 4 Gi at most
    calls within calls            100
    processor time                5 seconds

Values that one call can make large are measured before they are made: `'a' * n`, `'%9999d'`, `x|join(y)`.
A list of lists counts with its length when written out, however small it is in memory.
"""

import collections.abc
import contextlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jinja2.exceptions

SECONDS = 5.0
WIDEST = 1000  # columns, digits, items of a batch
BITS = 4096  # of an integer
_DEEPEST = 100
_ITEM = 50  # characters that an item of a list counts for, beside its content

# Methods that can make large values in ways that are not foreseen here, or bytes.
_REFUSED = ("encode", "expandtabs", "maketrans", "to_bytes", "translate")
_WIDENING = ("batch", "center", "indent", "ljust", "rjust", "round", "slice", "tojson", "zfill")
_ITEMIZING = ("batch", "groupby", "list", "reverse", "slice", "sort", "unique")


class TooMuch(jinja2.exceptions.TemplateRuntimeError):
    """A template that passes a bound."""


class Meter:
    """Counts the steps and characters of one run of a template.

    Args:
        values: the variables of the template.
    """

    def __init__(self, values: Mapping[str, Any]):
        self._known: dict[int, tuple[Any, int]] = {}
        self._largest = 2**63
        characters = self.written(dict(values))
        self._largest = 2**24 + 16 * characters
        self._left = min(2**26 + 4 * characters * max(len(self._known), 1), 2**32)
        self._steps_left = 10**6 + 16 * characters
        self._depth, self._ticks = 0, 0
        self._end = time.thread_time() + SECONDS

    def step(self, characters: int = 0) -> str:
        """Count a turn of a loop, or a call, which writes so many characters of the template itself."""
        self._steps_left -= 1
        if self._steps_left < 0:
            raise TooMuch("takes too many steps")
        self.charge(characters)
        return ""

    def charge(self, size: int) -> None:
        """Count so many characters."""
        self._left -= size
        if self._left < 0:
            raise TooMuch("makes too much text")
        self._ticks += 1
        if self._ticks % 16 == 0 and time.thread_time() > self._end:
            raise TooMuch(f"takes more than {SECONDS:g} seconds")

    def check(self, size: int) -> None:
        """Refuse a value of so many characters."""
        if size > self._largest:
            raise TooMuch(f"makes a value of {size} characters")

    def written(self, value: Any) -> int:
        """The length of a value when written out. Each list is measured once, so that this takes no time."""
        if isinstance(value, str):
            return len(value)
        if isinstance(value, int):
            return value.bit_length() // 3 + 1
        if isinstance(value, (collections.abc.KeysView, collections.abc.ValuesView, collections.abc.ItemsView)):
            value = list(value)
        if not isinstance(value, (list, tuple, dict)):
            return 8
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        parts: Iterable[Any] = value
        if isinstance(value, dict):
            parts = [part for pair in value.items() for part in pair]
        size = 2 + sum(2 + self.written(part) for part in parts)
        self.check(size)
        self._known[id(value)] = value, size  # beside the value itself: no other gets its id meanwhile
        return size

    def made(self, value: Any) -> Any:
        """Count a value that the template made."""
        if isinstance(value, (str, bytes)):
            self.check(len(value))
            self.charge(len(value))
        elif isinstance(value, (list, tuple, dict)):
            self.written(value)
            self.charge(_ITEM * len(value))
        elif isinstance(value, int) and value.bit_length() > BITS:
            raise TooMuch(f"makes an integer of {value.bit_length()} bits")
        else:
            self.charge(1)
        return value

    def measured(self, value: Any) -> Any:
        """Count a value that is about to be written."""
        size = self.written(value)
        self.check(size)
        self.charge(size)
        return value

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Count a call within those that are running."""
        if self._depth >= _DEEPEST:
            raise TooMuch(f"calls itself more than {_DEEPEST} times deep")
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def foresee(self, name: str, subject: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Refuse a method, or a filter, that would make too much of `subject`."""
        others = [*args, *named.values()]
        if name in _REFUSED:
            raise TooMuch(f"calls {name!r}")
        if name in _WIDENING and (wide := next(filter(_is_wide, others), None)) is not None:
            raise TooMuch(f"calls {name!r} with {str(wide)[:20]}")
        if name == "sum" and not all(isinstance(each, (int, float, str)) for each in others):
            raise TooMuch("adds up lists")
        if name in _ITEMIZING and isinstance(subject, str):
            self.check(_ITEM * len(subject))
        elif name in _FORESEEN:
            self.check(_FORESEEN[name](subject, others))
        elif name in ("format", "format_map"):
            self.check(self.formatted(str(subject), others))

    def joined(self, items: Any, others: Iterable[Any]) -> list[Any]:
        """The items to join, with any of the other arguments between them."""
        if isinstance(items, str):
            self.check(_ITEM * len(items))
        items = items if isinstance(items, (list, tuple)) else list(items)
        between = max((self.written(each) for each in others), default=0)
        self.check(self.written(items) + len(items) * between)
        return list(items)

    def repeated(self, value: Any, times: Any) -> int:
        """The characters of a text or a list, repeated; 0 for other values."""
        if not isinstance(value, (str, list, tuple)) or not isinstance(times, int):
            return 0
        return max(self.written(value), 1 if isinstance(value, str) else _ITEM) * times

    def formatted(self, layout: str, values: Any) -> int:
        """The most characters that a layout, of `%` or of `str.format`, becomes."""
        if re.search(r"%[^a-zA-Z%]*(\*|\d{4})|\{[^{}]*:[^{}]*(\{|\d{4})", layout):
            raise TooMuch("writes a value very wide")
        places = layout.count("%") + layout.count("{")
        return len(layout) + places * (WIDEST + self.written(values))


def _is_wide(value: Any) -> bool:
    return isinstance(value, int) and abs(value) > WIDEST or isinstance(value, str) and len(value) > WIDEST


def _replaced(subject: Any, others: list[Any]) -> int:
    text, (old, new) = str(subject), [*map(str, others), "", ""][:2]
    return len(text) + (text.count(old) if old else len(text) + 1) * len(new)


def _indented(subject: Any, others: list[Any]) -> int:
    widths = [len(each) if isinstance(each, str) else each for each in others if isinstance(each, (str, int))]
    return (str(subject).count("\n") + 1) * max(widths, default=4)


def _divided(subject: Any, others: list[Any]) -> int:
    separator = next((each for each in others if isinstance(each, str) and each), None)
    return _ITEM * (subject.count(separator) if separator else len(subject) // 2 + 1)


# The characters that a method, or a filter, makes of a subject and its other arguments, at most.
_FORESEEN = {
    "replace": _replaced,
    "indent": _indented,
    "split": _divided,
    "rsplit": _divided,
    "splitlines": _divided,
}
