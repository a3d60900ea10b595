"""Changed copies of sentence pairs, so that a model learns to read what people type.

    kind           source                            target
    capitals       THE HOUSE IS SMALL.               LA MAISON EST PETITE.
    lowercase      the house is small.               La maison est petite.
    unfinished     The house is small                La maison est petite
    joined         The house is small. Who is she?   La maison est petite. Qui est-elle ?
    marked         😀 The house is small.            😀 La maison est petite.
    marked         {name} likes it.                  {name} aime ça.

A mark is an emoji, a URL, a placeholder, a number or an e-mail address. It replaces a name that both sides share, or
stands before or after both.
"""

import random
import re
from collections.abc import Callable, Sequence

from keras_transformers.records import Rate, record

_EMOJI = "😀😂😍😎😢😡👍👏🙏🎉❤🔥✨⭐☀🌍🐶🍕🚀✅❌"
_WORDS = ("name", "user", "count", "date", "city", "item", "price", "first_name", "0", "value")
_SITES = ("example.com", "example.org", "github.com", "wikipedia.org", "news.example.net")
_NAME = re.compile(r"\b[A-Z]\w+\b")
_END = re.compile(r"\s*[.!?…]+\s*$")


@record
class Augmentation:
    """The share of pairs of which a changed copy is added, by kind of change.

    Attributes:
        capitals: both sides in capitals.
        lowercase: the source in lower case; the target stays.
        unfinished: both sides without the full stop, or another mark, at the end.
        joined: two pairs on one line.
        marked: emoji, URLs, placeholders, numbers and e-mail addresses, the same on both sides.
        seed: the seed of the choice.

    Source: the modifiers of OpusTrainer (Bogoychev et al. 2023).
    """

    capitals: Rate = 0.0
    lowercase: Rate = 0.0
    unfinished: Rate = 0.0
    joined: Rate = 0.0
    marked: Rate = 0.0
    seed: int = 0


def augment(
    sources: Sequence[str], targets: Sequence[str], augmentation: Augmentation
) -> tuple[list[str], list[str], dict[str, int]]:
    """Return the pairs with changed copies of some of them at the end, and the number of copies by kind.

    Args:
        sources, targets: parallel lists of strings.
        augmentation: an `Augmentation`.

    Example:
        >>> augment(["A dog."], ["Un chien."], Augmentation(capitals=1.0))[0]
        ['A dog.', 'A DOG.']
    """
    pairs = list(zip(sources, targets, strict=True))
    rng = random.Random(augmentation.seed)
    kinds: dict[str, Callable[[str, str], tuple[str, str]]] = {
        "capitals": lambda source, target: (source.upper(), target.upper()),
        "lowercase": lambda source, target: (source.lower(), target),
        "unfinished": lambda source, target: (_END.sub("", source), _END.sub("", target)),
        "joined": lambda source, target: _joined((source, target), rng.choice(pairs)),
        "marked": lambda source, target: _marked(source, target, rng),
    }
    added: list[tuple[str, str]] = []
    counts = {}
    for kind, change in kinds.items():
        chosen = rng.sample(pairs, round(getattr(augmentation, kind) * len(pairs)))
        changed = [(pair, change(*pair)) for pair in chosen]
        kept = [new for pair, new in changed if new != pair and all(new)]
        counts[kind] = len(kept)
        added += kept
    return [*sources, *(source for source, _ in added)], [*targets, *(target for _, target in added)], counts


def _joined(first: tuple[str, str], second: tuple[str, str]) -> tuple[str, str]:
    return f"{first[0]} {second[0]}", f"{first[1]} {second[1]}"


def _marked(source: str, target: str, rng: random.Random) -> tuple[str, str]:
    """Put the same mark into both sides: in the place of a name that each has once, or before or after."""
    mark = _mark(rng)
    names = [name for name in _NAME.findall(source) if len(_places(name, source)) == len(_places(name, target)) == 1]
    if names and rng.random() < 0.7:
        name = rng.choice(names)
        (source_place,), (target_place,) = _places(name, source), _places(name, target)
        return _replaced(source, source_place, mark), _replaced(target, target_place, mark)
    if rng.random() < 0.5:
        return f"{mark} {source}", f"{mark} {target}"
    return f"{source} {mark}", f"{target} {mark}"


def _places(name: str, text: str) -> list[tuple[int, int]]:
    """The spans of a name in a text, as a whole word: "In" is no part of "Ingenieur"."""
    return [each.span() for each in _NAME.finditer(text) if each.group() == name]


def _replaced(text: str, place: tuple[int, int], mark: str) -> str:
    return f"{text[: place[0]]}{mark}{text[place[1] :]}"


def _mark(rng: random.Random) -> str:
    word = rng.choice(_WORDS)
    return rng.choice(
        (
            rng.choice(_EMOJI),
            rng.choice(_EMOJI) * rng.randint(2, 3),
            f"{{{word}}}",
            f"{{{{{word}}}}}",
            f"%({word})s",
            "%s",
            f"https://{rng.choice(_SITES)}/{word}",
            f"https://www.{rng.choice(_SITES)}/{rng.randint(1, 9999)}",
            f"{word}@{rng.choice(_SITES)}",
            str(rng.randint(2, 9999)),
        )
    )
