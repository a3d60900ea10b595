"""Cleaning of raw parallel text for training: rules that drop pairs, and counts of the dropped pairs.

    rule                dropped pairs
    empty               a side has no text
    long                a side has more characters than `max_characters`
    lengths             the ratio of the lengths, relative to the mean ratio of the whole text, exceeds `max_ratio`
    script              a side is mostly in another script than its language: a mix-up
    copy                the target is the source
    duplicate           the pair occurred before
    held out            a side occurs in the held-out pairs, apart from capitals and punctuation

A pair is counted under the first rule that drops it.
"""

import collections
import functools
import typing
import unicodedata
from collections.abc import Collection, Container, Iterable, Sequence

from keras_transformers.records import record

RULES = ("empty", "long", "lengths", "script", "copy", "duplicate", "held out")
SHORTEST = 10  # the least length counted for a side: the lengths of "Hi." and "Bonjour." say nothing
COMMON = 0.1  # of the letters of a side: a rarer script does not belong to its language


@record
class Cleaning:
    """The rules of cleaning; each has a value that switches it off.

    Attributes:
        max_characters: the most characters of a side; None for any number.
        max_ratio: the largest ratio of the two sides' lengths, relative to the mean ratio of all pairs, so that the
            same value serves Chinese and English; None for any.
        min_script_share: the least share of a side's letters in the scripts of its language; 0 for none. Languages with
            the same script are not told apart.
        source_scripts, target_scripts: the scripts of the languages, by the Unicode names of letters ("LATIN",
            "CYRILLIC", "CJK"); by default all scripts with at least a tenth of the side's letters.
        copies, duplicates, held_out: whether to keep copies, duplicates, and pairs that occur in the held-out pairs.
    """

    max_characters: int | None = 1000
    max_ratio: float | None = 3.0
    min_script_share: float = 0.5
    source_scripts: tuple[str, ...] | None = None
    target_scripts: tuple[str, ...] | None = None
    copies: bool = False
    duplicates: bool = False
    held_out: bool = False


class Cleaned(typing.NamedTuple):
    """The result of `clean`: the kept pairs, and the number of dropped pairs by rule."""

    sources: list[str]
    targets: list[str]
    dropped: dict[str, int]

    def table(self) -> str:
        """Return the counts as text, a line each."""
        read = len(self.sources) + sum(self.dropped.values())
        rows = {"read": read, **self.dropped, "kept": len(self.sources)}
        return "\n".join(f"{name:<10} {count:>12,}  {count / max(read, 1):7.2%}" for name, count in rows.items())


def clean(
    sources: Iterable[str],
    targets: Iterable[str],
    rules: Cleaning = Cleaning(),  # noqa: B008  a record never changes
    held_out: Collection[tuple[str, str]] = (),
) -> Cleaned:
    """Drop sentence pairs that would teach a model nothing, or something wrong.

    Args:
        sources, targets: parallel lists of strings.
        rules: a `Cleaning`.
        held_out: `(source, target)` pairs that the model will be tested on.

    Returns: `Cleaned`; kept pairs stay in order and lose the spaces around them.

    Example:
        >>> clean(["A dog.", "A dog.", ""], ["Un chien.", "Un chien.", "Un chat."]).dropped["duplicate"]
        1
    """
    pairs = [(source.strip(), target.strip()) for source, target in zip(sources, targets, strict=True)]
    check = _Check(rules, pairs, held_out)
    dropped = dict.fromkeys(RULES, 0)
    kept = []
    for pair in pairs:
        reason = check.reason(*pair)
        if reason is None:
            kept.append(pair)
        else:
            dropped[reason] += 1
    return Cleaned([source for source, _ in kept], [target for _, target in kept], dropped)


class _Check:
    """The rules with the statistics of the whole text, and the pairs seen so far."""

    def __init__(
        self, rules: Cleaning, pairs: Collection[tuple[str, str]], held_out: Collection[tuple[str, str]]
    ) -> None:
        self.rules = rules
        source_length = sum(_length(source) for source, _ in pairs)
        self.ratio = sum(_length(target) for _, target in pairs) / max(source_length, 1)
        self.scripts = [
            frozenset(given) if given else common_scripts(pair[side] for pair in pairs)
            for side, given in enumerate((rules.source_scripts, rules.target_scripts))
        ]
        tested = () if rules.held_out else held_out
        self.known = [{_bare(pair[side]) for pair in tested} for side in (0, 1)]
        self.seen: set[int] = set()

    def reason(self, source: str, target: str) -> str | None:
        """Return the first rule that drops a pair; None if the pair stays."""
        rules = self.rules
        if not source or not target:
            return "empty"
        if rules.max_characters is not None and max(len(source), len(target)) > rules.max_characters:
            return "long"
        if rules.max_ratio is not None and _unlikeness(source, target, self.ratio) > rules.max_ratio:
            return "lengths"
        if rules.min_script_share and _least_share((source, target), self.scripts) < rules.min_script_share:
            return "script"
        if source == target and not rules.copies:
            return "copy"
        if not rules.duplicates and self._occurred(source, target):
            return "duplicate"
        if _bare(source) in self.known[0] or _bare(target) in self.known[1]:
            return "held out"
        return None

    def _occurred(self, *pair: str) -> bool:
        """Return whether a pair was asked for before."""
        count = len(self.seen)
        self.seen.add(hash(pair))
        return len(self.seen) == count


def common_scripts(texts: Iterable[str]) -> frozenset[str]:
    """Return the set of scripts that have at least a tenth of the letters of some texts."""
    letters: collections.Counter[str] = collections.Counter()
    for text in texts:
        letters.update(filter(str.isalpha, text))
    counts: collections.Counter[str] = collections.Counter()
    for letter, count in letters.items():
        counts[script(letter)] += count
    return frozenset(name for name, count in counts.items() if count >= COMMON * counts.total())


def script_share(text: str, scripts: Container[str]) -> float:
    """Return the share of a text's letters that belong to scripts; 1 for a text without letters."""
    letters = [script(character) in scripts for character in text if character.isalpha()]
    return sum(letters) / len(letters) if letters else 1.0


def _unlikeness(source: str, target: str, ratio: float) -> float:
    """Return the ratio, at least 1, between a target's length and `ratio` times its source's length."""
    unlike = _length(target) / _length(source) / ratio
    return max(unlike, 1 / unlike)


def _least_share(pair: tuple[str, str], scripts: Sequence[Container[str]]) -> float:
    """Return the smaller of the two sides' shares of letters that belong to their scripts."""
    return min(script_share(text, side) for text, side in zip(pair, scripts, strict=True))


@functools.cache
def script(letter: str) -> str:
    """Return the script of a letter: the first word of its Unicode name, such as "LATIN" or "CJK"."""
    return unicodedata.name(letter, "UNKNOWN").split()[0].split("-")[0]


def _length(text: str) -> int:
    return max(len(text), SHORTEST)


def _bare(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum()) or text
