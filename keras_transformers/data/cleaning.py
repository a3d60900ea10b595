"""What is taken out of raw parallel text before a model learns from it, rule by rule, and how much.

    rule                what goes
    empty               a side without text
    long                a side of more characters than `max_characters`
    lengths             sides whose lengths are less alike than `max_ratio`, measured by how the whole text is
    script              a side that is mostly in another script than its language: a mix-up
    copy                a target that is its source
    duplicate           a pair that was there before
    held out            a pair of which a side stands in what is held out, capitals and punctuation aside

A pair is counted under the first rule that takes it.
"""

import collections
import functools
import math
import typing
import unicodedata
from collections.abc import Collection, Container, Iterable, Sequence

from keras_transformers.records import record

RULES = ("empty", "long", "lengths", "script", "copy", "duplicate", "held out")
SHORTEST = 10  # characters that a side counts as having at least: lengths of "Hi." and "Bonjour." say nothing
COMMON = 0.1  # of the letters of a side: what is rarer than that is no script of its language


@record
class Cleaning:
    """The rules, each with a value that switches it off.

    Attributes:
        max_characters: the longest side; None for any.
        max_ratio: how many times as long as the other a side may be, after both are measured by the mean of all pairs,
            so that Chinese beside English needs no other value; None for any.
        min_script_share: the share of a side's letters that have to be in its language's scripts; 0 for none. Two
            languages of one script are not told apart.
        source_scripts, target_scripts: these scripts, as Unicode names letters ("LATIN", "CYRILLIC", "CJK"); by default
            all that at least a tenth of the side's letters belong to.
        copies, duplicates, held_out: whether pairs may be copies, duplicates, or in what is held out.
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
    """What is left, and why the rest went: the number of pairs by rule."""

    sources: list[str]
    targets: list[str]
    dropped: dict[str, int]

    def table(self) -> str:
        """The counts, a line each, for a reader."""
        read = len(self.sources) + sum(self.dropped.values())
        rows = {"read": read, **self.dropped, "kept": len(self.sources)}
        return "\n".join(f"{name:<10} {count:>12,}  {count / max(read, 1):7.2%}" for name, count in rows.items())


def clean(
    sources: Iterable[str],
    targets: Iterable[str],
    rules: Cleaning = Cleaning(),  # noqa: B008  a record never changes
    held_out: Collection[tuple[str, str]] = (),
) -> Cleaned:
    """Take out of sentence pairs what would teach a model nothing, or something wrong.

    Args:
        sources, targets: lists of strings, side by side.
        rules: a `Cleaning`.
        held_out: `(source, target)` pairs that the model is going to be tested on.

    Returns: `Cleaned`; what stays is in its order, without the spaces around it.

    Example:
        >>> clean(["A dog.", "A dog.", ""], ["Un chien.", "Un chien.", "Un chat."]).dropped["duplicate"]
        1
    """
    pairs = [(source.strip(), target.strip()) for source, target in zip(sources, targets, strict=True)]
    ratio = sum(_length(target) for _, target in pairs) / max(sum(_length(source) for source, _ in pairs), 1)
    scripts = [
        frozenset(given) if given else common_scripts(pair[side] for pair in pairs)
        for side, given in enumerate((rules.source_scripts, rules.target_scripts))
    ]
    known = [set(map(_bare, side)) for side in zip(*held_out, strict=True)] if held_out else [(), ()]
    most = math.inf if rules.max_characters is None else rules.max_characters
    seen = set()
    dropped = dict.fromkeys(RULES, 0)
    kept = []

    def rule(source: str, target: str) -> str | None:
        """The first rule that drops a pair; None if the pair stays."""
        if not source or not target:
            return "empty"
        if max(len(source), len(target)) > most:
            return "long"
        if rules.max_ratio is not None and _unlikeness(source, target, ratio) > rules.max_ratio:
            return "lengths"
        if rules.min_script_share and _least_share((source, target), scripts) < rules.min_script_share:
            return "script"
        if source == target and not rules.copies:
            return "copy"
        if not rules.duplicates:
            if hash((source, target)) in seen:
                return "duplicate"
            seen.add(hash((source, target)))
        if not rules.held_out and (_bare(source) in known[0] or _bare(target) in known[1]):
            return "held out"
        return None

    for pair in pairs:
        reason = rule(*pair)
        if reason is None:
            kept.append(pair)
        else:
            dropped[reason] += 1
    return Cleaned([source for source, _ in kept], [target for _, target in kept], dropped)


def common_scripts(texts: Iterable[str]) -> frozenset[str]:
    """The scripts that at least a tenth of the letters of some texts belong to, as a set of names."""
    letters: collections.Counter[str] = collections.Counter()
    for text in texts:
        letters.update(filter(str.isalpha, text))
    counts: collections.Counter[str] = collections.Counter()
    for letter, count in letters.items():
        counts[script(letter)] += count
    return frozenset(name for name, count in counts.items() if count >= COMMON * counts.total())


def script_share(text: str, scripts: Container[str]) -> float:
    """The share of a text's letters that belong to scripts; 1 for a text without letters."""
    letters = [script(character) in scripts for character in text if character.isalpha()]
    return sum(letters) / len(letters) if letters else 1.0


def _unlikeness(source: str, target: str, ratio: float) -> float:
    """How many times longer, or shorter, a target is than `ratio` times its source: at least 1."""
    unlike = _length(target) / _length(source) / ratio
    return max(unlike, 1 / unlike)


def _least_share(pair: tuple[str, str], scripts: Sequence[Container[str]]) -> float:
    """The smaller of the two sides' shares of letters that belong to their scripts."""
    return min(script_share(text, side) for text, side in zip(pair, scripts, strict=True))


@functools.cache
def script(letter: str) -> str:
    """The script of a letter: the first word of its Unicode name, such as "LATIN" or "CJK"."""
    return unicodedata.name(letter, "UNKNOWN").split()[0].split("-")[0]


def _length(text: str) -> int:
    return max(len(text), SHORTEST)


def _bare(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum()) or text
