"""Parts of a text that a translation has to keep as they are: placeholders, tags, URLs, e-mail addresses and emoji. No
model.

    source       Dear {name}, <b>read</b> this.
    without      Dear Tom, read this.               a stand-in for each word-like part; tags are taken out
    translated   Cher Tom, lisez ceci.
    restored     Cher {name}, <b>lisez</b> ceci.    tags go to the words that are aligned with theirs

A stand-in is a word that models copy. If a translation lacks it, its part is put at the end, and counted. Nothing is
lost.
"""

import collections
import dataclasses
import re
import typing
from collections.abc import Iterable, Sequence

_BRACES = r"\{(?:[^{}\n]|\{(?:[^{}\n]|\{[^{}\n]*\})*\})*\}"  # up to three deep, as in "{n, plural, one {# day}}"
_EMOJI = r"[\u203c\u2049\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]"
KINDS = {
    # A value in quotes may hold ">". A tag whose quotes do not close ends at the next ">".
    "tags": r"</?[A-Za-z][\w:.-]*(?:\s(?:[^<>\"']|\"[^\"]*\"|'[^']*')*)?/?>|</?[A-Za-z][\w:.-]*(?:\s[^<>]*)?/?>"
    r"|<!--(?s:.{0,1000}?)-->",
    "urls": r"(?:https?|ftp)://[^\s<>\"]*[^\s<>\".,;:!?)\]}'’»]|www\.[^\s<>\"]*[^\s<>\".,;:!?)\]}'’»]",
    "emails": r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+",
    "placeholders": rf"\{{\{{[^{{}}\n]*\}}\}}|\$?(?!\{{\s){_BRACES}|%\([\w.]+\)[sdfi]|%(?:\d+\$)?[sdfi@](?!\w)|&#?\w+;",
    # With a modifier of skin or look, joined to others, or a pair of letters for a flag.
    "emoji": rf"{_EMOJI}(?:[\ufe0f\U0001f3fb-\U0001f3ff]|\u200d{_EMOJI})*",
}
# Words that models copy, in the order in which they are tried: names, the same in another order, marks with a number.
_NAMES = ("Tom", "Sami", "Layla", "Jim", "Ken", "Boston", "Bob", "Fadil", "Dan", "Linda", "Susan", "Alice")
STAND_INS: tuple[Sequence[str], ...] = (_NAMES, _NAMES[::-1], tuple(f"X{number}" for number in range(1, 100)))

_TAKEN_OUT = ("tags", "emoji")

_TAG = re.compile(r"<(?P<closing>/)?(?P<name>[A-Za-z][\w:.-]*)(?:\s.*?)?(?P<alone>/)?>", re.DOTALL)
_SPACES = re.compile(r"[^\S\n]{2,}")
_SHOWN = 5  # names of texts with appended parts
Span = tuple[int, int]


def patterns(protect: typing.Any) -> dict[str, re.Pattern[str]]:
    """Return a compiled pattern by kind.

    Args:
        protect: True for all `KINDS`; the name of a kind; a compiled regular expression of your own; or a list of such.

    Raises:
        TypeError, ValueError: for other values.

    Example:
        >>> list(patterns(["urls", re.compile("ACME")]))
        ['urls', 'own 1']
    """
    asked = list(KINDS) if protect is True else [protect] if isinstance(protect, str | re.Pattern) else protect
    if not isinstance(asked, Iterable) or isinstance(asked, bytes | dict):
        raise TypeError(
            f"Expected protect to be True, names of {', '.join(KINDS)}, or compiled regular expressions, got "
            f"{protect!r:.80}."
        )
    found: dict[str, re.Pattern[str]] = {}
    for number, each in enumerate(asked):
        if isinstance(each, re.Pattern) and isinstance(each.pattern, str):
            found[f"own {number}"] = each
        elif isinstance(each, str) and each in KINDS:
            found[each] = re.compile(KINDS[each])
        else:
            raise ValueError(
                f"Expected protect to name {', '.join(KINDS)}, or to hold compiled regular expressions, got {each!r}."
            )
    return found


class Protection:
    """Which parts of texts a translation keeps, and the counts of what became of them.

    Args:
        protect: as for `patterns`.

    Attributes:
        patterns: the compiled pattern of each kind.
        counts: "parts" that were found, parts that were "appended" since they had no place in the translation, and the
            number of "texts" with appended parts.
        first: the names of the first few such texts.

    Example:
        >>> kept = Protection(["urls", "placeholders"])
        >>> translator.translate(texts, protect=kept)  # doctest: +SKIP
        >>> kept.counts  # doctest: +SKIP
        {'parts': 12, 'appended': 1, 'texts': 1}
    """

    def __init__(self, protect: typing.Any = True) -> None:
        self.patterns = patterns(protect)
        self.counts = {"parts": 0, "appended": 0, "texts": 0}
        self.first: list[str] = []

    def __repr__(self) -> str:
        return f"Protection({[kind if kind in KINDS else each for kind, each in self.patterns.items()]!r})"

    @classmethod
    def of(cls, value: typing.Any) -> "Protection":
        """A `Protection` as it is; one of other values."""
        return value if isinstance(value, Protection) else cls(value)

    @classmethod
    def like(cls, value: typing.Any) -> "Protection":
        """One with the same patterns, and no counts."""
        made = cls(True if isinstance(value, Protection) else value)
        made.patterns = dict(value.patterns) if isinstance(value, Protection) else made.patterns
        return made

    def add(self, values: dict[str, typing.Any]) -> None:
        """Add counts and names, as from `values`."""
        self.counts = {name: count + values.get(name, 0) for name, count in self.counts.items()}
        self.first = [*self.first, *values.get("first", ())][:_SHOWN]

    def values(self) -> dict[str, typing.Any]:
        """The counts and the first names as plain values, for JSON."""
        return {**self.counts, "first": self.first}


class Part(typing.NamedTuple):
    """A protected part of a text: `text[begin:end]`."""

    begin: int
    end: int
    text: str
    is_tag: bool  # or an emoji: it stands beside words, not for one


def find_parts(text: str, kinds: dict[str, re.Pattern[str]]) -> list[Part]:
    """Return the protected parts of a text in its order. Where two overlap, the one that begins first counts, then the
    one of the earlier kind.

    Example:
        >>> [part.text for part in find_parts("Hi {name}!", patterns(True))]
        ['{name}']
    """
    found = [
        (match.start(), order, Part(*match.span(), match.group(), kind in _TAKEN_OUT))
        for order, (kind, pattern) in enumerate(kinds.items())
        for match in pattern.finditer(text)
        if match.group()
    ]
    parts: list[Part] = []
    for begin, _, part in sorted(found):
        if not parts or begin >= parts[-1].end:
            parts.append(part)
    return parts


@dataclasses.dataclass(frozen=True)
class Masked:
    """A text without its protected parts.

    Attributes:
        text: the text for the model.
        stand_ins: pairs of a stand-in and the part that it stands for.
        tags: pairs of a tag or an emoji and its place in `text`.
    """

    text: str
    stand_ins: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, int], ...] = ()


def masked(text: str, parts: Sequence[Part], words: Sequence[str] = STAND_INS[0]) -> Masked:
    """Take the parts out of a text.

    Args:
        text: the text.
        parts: as from `find_parts`.
        words: words for stand-ins. Words that the text has are not used; after the last, marks with a number follow.

    Example:
        >>> masked("Hi {name}!", find_parts("Hi {name}!", patterns(True))).text
        'Hi Tom!'
    """
    free = (each for each in (*words, *(f"X{number}" for number in range(100, 10_000))) if each not in text)
    done, stand_ins, tags, last = "", [], [], 0
    for part in parts:
        done += text[last : part.begin]
        last = part.end
        if part.is_tag:
            glued = done[-1:].isalnum() and text[part.end : part.end + 1].isalnum()
            if done[-1:].isspace() and text[part.end : part.end + 1].isspace():
                last += 1  # one of the spaces around the tag
            elif glued and _is_alone(part.text):  # such as <br/>
                done += " "
            tags.append((_spaced(part, text), len(done)))
            continue
        stand_in = next(free)
        stand_ins.append((stand_in, part.text))
        done += (" " if done[-1:].isalnum() else "") + stand_in
        done += " " if text[part.end : part.end + 1].isalnum() else ""
    return Masked(done + text[last:], tuple(stand_ins), tuple(tags))


def _spaced(part: Part, text: str) -> str:
    """Return a part that is taken out; an emoji with the spaces around it, which it needs at its new place too."""
    if part.text.startswith("<"):
        return part.text
    before, after = text[: part.begin][-1:], text[part.end :][:1]
    return f"{' ' if before.isspace() else ''}{part.text}{' ' if after.isspace() else ''}"


def _fitted(part: str, before: str, after: str) -> str:
    """Return a part without spaces that the characters beside its place make needless."""
    part = part.lstrip(" ") if not before or before.isspace() else part
    return part if after.isalnum() else part.rstrip(" ")


def _is_alone(tag: str) -> bool:
    """Whether a tag ends itself, such as <br/>."""
    match = _TAG.fullmatch(tag)
    return match is not None and match["alone"] is not None


def without_parts(text: str, parts: Sequence[Part]) -> str:
    """Return the text with a space for each part."""
    done, last = "", 0
    for part in parts:
        done, last = f"{done}{text[last : part.begin]} ", part.end
    return done + text[last:]


def lost_parts(text: str, translation: str, kinds: dict[str, re.Pattern[str]]) -> list[str]:
    """Return the protected parts of a text that its translation lacks, each as often as it lacks it.

    Example:
        >>> lost_parts("{a} and {a}", "{a}", patterns(True))
        ['{a}']
    """
    counts = collections.Counter(part.text for part in find_parts(text, kinds))
    return [part for part, count in counts.items() for _ in range(count - translation.count(part))]


def missing(mask: Masked, translation: str) -> int:
    """Count the stand-ins that a translation does not have exactly once."""
    return sum(len(_word(stand_in).findall(translation)) != 1 for stand_in, _ in mask.stand_ins)


class Words(typing.NamedTuple):
    """Which words of a translation are aligned with which words of its source.

    pairs: pairs of a source word and a target word, by their numbers: those that both sides agree on.
    others: further pairs, for words without such a pair.
    source, target: the place of each word, `text[begin:end]`.
    """

    pairs: Sequence[tuple[int, int]]
    others: Sequence[tuple[int, int]]
    source: Sequence[Span]
    target: Sequence[Span]

    def of(self, numbers: Iterable[int]) -> list[Span]:
        """Return the places of the target words that are aligned with some source words."""
        wanted = set(numbers)
        for pairs in (self.pairs, self.others):
            if found := [self.target[target] for source, target in pairs if source in wanted]:
                return found
        return []


class Restored(typing.NamedTuple):
    """A translation with its protected parts, and how many of them were put at the end."""

    text: str
    appended: int


def restored(mask: Masked, translation: str, words: Words | None = None) -> Restored:
    """Put the protected parts into a translation.

    Args:
        mask: the source without the parts.
        translation: its translation.
        words: the aligned words of both, for tags. A tag without an aligned word, and a part whose stand-in is missing,
            goes to the end.

    Example:
        >>> restored(Masked("Hi Tom!", (("Tom", "{name}"),)), "Salut Tom !")
        Restored(text='Salut {name} !', appended=0)
    """
    tags, ending = _placed_tags(mask, translation, words)
    changes = [(place, place, order, tag) for order, (tag, place) in enumerate(tags)]
    for stand_in, part in mask.stand_ins:
        spans = [match.span() for match in _word(stand_in).finditer(translation)]
        changes += [(*span, -1, "" if number else part) for number, span in enumerate(spans)]
        ending += [] if spans else [part]
    done, last = "", 0
    for begin, end, _, new in sorted(changes):
        done, last = done + translation[last:begin] + new, max(last, end)
        if not new:
            done = done.rstrip(" ")
    done += translation[last:]
    return Restored(" ".join([done, *ending]) if done else " ".join(ending), len(ending))


def _word(stand_in: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_]){re.escape(stand_in)}(?![^\W_])")


def _placed_tags(mask: Masked, translation: str, words: Words | None) -> tuple[list[tuple[str, int]], list[str]]:
    """Return the tags with their places in a translation, and the tags without a place, both in the source's order."""
    placed: list[tuple[str, int]] = []
    ending: list[str] = []
    for (tag, _), place in zip(mask.tags, _places(mask, translation, words), strict=True):
        if place is None:
            ending.append(tag.strip())
        else:
            placed.append((_fitted(tag, translation[:place][-1:], translation[place : place + 1]), place))
    return placed, ending


def _places(mask: Masked, translation: str, words: Words | None) -> list[int | None]:
    """Return the place of each tag in a translation, or None."""
    places: list[int | None] = [None] * len(mask.tags)
    open_tags: list[tuple[str, int]] = []
    for number, (tag, place) in enumerate(mask.tags):
        match = _TAG.fullmatch(tag)
        if match is not None and match["closing"]:
            opened = next((each for each in reversed(open_tags) if each[0] == match["name"]), None)
            if opened is not None:
                open_tags = open_tags[: open_tags.index(opened)]
                span = _span(mask, (mask.tags[opened[1]][1], place), translation, words)
                if span is not None:
                    places[opened[1]], places[number] = span
                    continue
        elif match is not None and not match["alone"]:
            open_tags.append((match["name"], number))
        places[number] = _place(mask, place, translation, words)
    return places


def _span(mask: Masked, span: Span, translation: str, words: Words | None) -> Span | None:
    """Return the part of a translation that the words of a part of the source are aligned with."""
    begin, end = span
    if not mask.text[:begin].strip() and not mask.text[end:].strip():
        return 0, len(translation)
    if words is None:
        return None
    found = words.of(n for n, (first, last) in enumerate(words.source) if first < end and last > begin)
    if not found:
        return None
    return min(first for first, _ in found), max(last for _, last in found)


def _place(mask: Masked, place: int, translation: str, words: Words | None) -> int | None:
    """Return the place in a translation of a place in the source: before the word that is aligned with the next one, or
    behind the word that is aligned with the last one."""
    if not mask.text[:place].strip():
        return 0
    if not mask.text[place:].strip():
        return len(translation)
    if words is None:
        return None
    following = words.of([n for n, (first, _) in enumerate(words.source) if first >= place][:1])
    if following:
        return min(begin for begin, _ in following)
    before = words.of([n for n, (_, last) in enumerate(words.source) if last <= place][-1:])
    return max((end for _, end in before), default=None)
