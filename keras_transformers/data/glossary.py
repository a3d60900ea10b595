"""Glossaries: how terms of the source have to be translated. Text alone, no model.

    glossary      house → demeure    New York → New-York    US → États-Unis
    source        The House in New York is for us.
    terms         house → demeure, New York → New-York

A term is found as a whole word. One in small letters is found in any case; one with capitals as it is written. Where
terms overlap, the longest counts.
"""

import collections.abc
import re
import typing
import unicodedata

from keras_transformers.spelling import listed

Term = tuple[str, str]
# Scripts that write no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_UNSPACED_ONE = re.compile(f"[{_UNSPACED}]")
_PIECE = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")  # a character of such a script, a word, a sign


class Glossary:
    """Terms and their translations.

    Args:
        terms: a dictionary from terms of the source to their translations, or a list of such pairs.

    Attributes:
        terms: a tuple of pairs of texts.

    Raises:
        TypeError, ValueError: for other values, empty terms, and a term with two translations.

    Example:
        >>> Glossary({"house": "demeure"}).found("The House is small.")
        [('house', 'demeure')]
    """

    def __init__(self, terms: typing.Any) -> None:
        pairs = list(terms.items()) if isinstance(terms, collections.abc.Mapping) else terms
        if isinstance(pairs, str) or not isinstance(pairs, collections.abc.Iterable):
            raise TypeError(f"Expected a dictionary of terms and their translations, got {terms!r:.80}.")
        known: dict[str, str] = {}
        for pair in pairs:
            if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(each, str) for each in pair):
                raise TypeError(f"Expected a term and its translation, two texts, got {pair!r:.80}.")
            term, translation = (" ".join(each.split()) for each in pair)
            if not term or not translation:
                raise ValueError(f"Expected a term and its translation, got {pair!r:.80} with nothing on one side.")
            if known.setdefault(term, translation) != translation:
                raise ValueError(
                    f"Expected one translation of each term, got {known[term]!r} and {translation!r} for {term!r}."
                )
        if not known:
            raise ValueError("Expected at least one term in a glossary, got none. Leave the glossary out.")
        self.terms: tuple[Term, ...] = tuple(known.items())
        # Terms by their first word or sign, the longest first; those with capitals before those in small letters.
        self._by_piece: dict[str, list[tuple[re.Pattern[str], Term]]] = {}
        for pair in sorted(self.terms, key=lambda each: (-len(each[0]), each[0] == each[0].lower(), each)):
            first = _PIECE.match(_plain(pair[0]))
            if first is not None:
                self._by_piece.setdefault(first.group().casefold(), []).append((_as_pattern(pair[0]), pair))

    def __repr__(self) -> str:
        return f"Glossary({dict(self.terms)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Glossary) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.terms)

    @classmethod
    def of(cls, value: typing.Any) -> "Glossary":
        """A glossary as it is; one from its terms."""
        return value if isinstance(value, Glossary) else cls(value)

    def found(self, text: str) -> list[Term]:
        """Return the terms that a text has, each once, in their order in the text."""
        text, end, terms = _plain(text), 0, dict[Term, None]()
        for piece in _PIECE.finditer(text):
            if piece.start() < end:
                continue
            for pattern, term in self._by_piece.get(piece.group().casefold(), ()):
                match = pattern.match(text, piece.start())
                if match is not None and not any(_is_inside(text, place) for place in match.span()):
                    terms[term], end = None, match.end()
                    break
        return list(terms)

    def missing(self, text: str, translation: str) -> list[Term]:
        """Return the terms of a text whose translations do not occur in its translation. The case does not count, nor
        an ending: "maisons" has "maison"."""
        made = _plain(translation).casefold()
        return [pair for pair in self.found(text) if not _has(made, pair[1].casefold())]


def _plain(text: str) -> str:
    """A text in which equal characters are written alike: composed, and with straight apostrophes."""
    return unicodedata.normalize("NFC", text).replace("’", "'")


def _as_pattern(term: str) -> re.Pattern[str]:
    """The regular expression of a term, without regard to the words around it."""
    words = r"\s+".join(re.escape(word) for word in _plain(term).split())
    return re.compile(words, re.IGNORECASE if term == term.lower() else 0)


def _has(text: str, term: str) -> bool:
    """Whether a term, or a longer word that begins with it, stands in a text. Both are without capitals."""
    return any(not _is_inside(text, match.start()) for match in _as_pattern(term).finditer(text))


def _is_inside(text: str, place: int) -> bool:
    """Whether the characters on both sides of a place are of one word, if its script writes words apart."""
    return 0 < place < len(text) and all(map(_is_spaced, text[place - 1 : place + 1]))


def _is_spaced(character: str) -> bool:
    return character.isalnum() and _UNSPACED_ONE.match(character) is None


def described(missing: collections.abc.Iterable[Term]) -> str:
    """The first few of some terms, for a message."""
    return listed([f"{term!r} as {wanted!r}" for term, wanted in missing], 5)
