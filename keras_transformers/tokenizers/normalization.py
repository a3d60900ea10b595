"""Normalization of a text before it is split into pieces: one spelling for text that reads alike.

    in the text                                      "nmt_nfc" makes it        "nmt_nfkc" makes it
    no-break, thin, wide and other spaces            a space                   a space
    tabs, line ends                                  a space                   a space
    spaces in a row; spaces at both ends             one; none                 one; none
    zero-width spaces, direction marks, U+FEFF       nothing                   a space
    soft hyphens, other controls                     nothing                   most of them stay
    joiners (U+200C, U+200D)                         nothing, or themselves    a space, itself
    "e" with U+0301                                  "é"                       "é"
    "①" "ﬁ" "Ａ" "™"                                 themselves                "1" "fi" "A" "TM"

"nmt_nfc" is gentle: each visible character stays as it is, and a reader sees no difference but in spaces. A joiner
stays if it shapes the text for a reader: in emoji, and in scripts whose letters are joined, such as Persian and Hindi.

"nmt_nfkc" is the default of SentencePiece, which most published translation models were trained with. It agrees with
SentencePiece 0.2 on each code point but those that Unicode has added since version 10. Marks behind one letter come in
Unicode's canonical order here; SentencePiece keeps the written order.

Both are steps of the engine, written to `tokenizer.json`, so that transformers makes the same ids.

Source: https://github.com/google/sentencepiece/blob/master/doc/normalization.md; forms NFC and NFKC: Unicode Standard
Annex 15.
"""

import json
from typing import Any

import tokenizers
from tokenizers import Regex, normalizers

SPACES_IN_A_ROW = " {2,}"
SPACES_AT_ENDS = r"\A +| +\z"
# Behind these, and at the start of a text, a joiner joins nothing. The inside of a class of a regular expression.
UNJOINED = (
    r"\p{Latin}\p{Greek}\p{Cyrillic}\p{Armenian}\p{Georgian}\p{Hebrew}\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}"
    r"\p{P}\p{N}\p{Z}\x{300}-\x{36f}\x{200c}\x{200d}"
)
JOINERS = rf"(?<![^{UNJOINED}])[\x{{200c}}\x{{200d}}]"
_FULLWIDTH_TILDE, _STANDS_FOR_IT = "\uff5e", "\U0010fffe"  # SentencePiece keeps it; the other is no character

# In order, replacements (a pattern and its replacement) or the name of a Unicode form.
_STEPS: dict[str, tuple[tuple[str, str] | str, ...]] = {
    "nmt_nfc": (
        (r"[\x09-\x0d\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]", " "),
        (
            r"[\x00-\x08\x0e-\x1b\x7f\x{80}-\x{84}\x{86}-\x{9f}\x{ad}\x{34f}\x{61c}\x{200b}\x{200e}\x{200f}"
            r"\x{202a}-\x{202e}\x{2060}-\x{2064}\x{2066}-\x{206f}\x{feff}\x{fff9}-\x{fffb}]",
            "",
        ),
        (JOINERS, ""),
        "NFC",
        (SPACES_IN_A_ROW, " "),
        (SPACES_AT_ENDS, ""),
    ),
    "nmt_nfkc": (
        (
            r"[\x09\x0a\x0c\x0d\x{61c}\x{1680}\x{200b}\x{200c}\x{200e}\x{200f}\x{2028}\x{2029}\x{2581}\x{feff}\x{fffd}]",
            " ",
        ),
        (r"[\x01-\x08\x0b\x0e-\x1f\x7f\x{8f}\x{9f}]", ""),
        (_FULLWIDTH_TILDE, _STANDS_FOR_IT),
        "NFKC",
        (_STANDS_FOR_IT, _FULLWIDTH_TILDE),
        (SPACES_IN_A_ROW, " "),
        (SPACES_AT_ENDS, ""),
    ),
}
NORMALIZATIONS = tuple(_STEPS)


def steps_of(normalization: str | None, spaces_at_ends: bool = False) -> list[normalizers.Normalizer]:
    """The steps of a normalization, for an engine.

    Args:
        normalization: "nmt_nfc", "nmt_nfkc", or None for none.
        spaces_at_ends: whether spaces at both ends of a text stay.

    Raises:
        ValueError: for another name.
    """
    if normalization is None:
        return []
    if normalization not in NORMALIZATIONS:
        names = ", ".join(map(repr, NORMALIZATIONS))
        raise ValueError(f"Expected normalization to be None or one of {names}, got {normalization!r}.")
    return [
        getattr(normalizers, step)() if isinstance(step, str) else normalizers.Replace(Regex(step[0]), step[1])
        for step in _STEPS[normalization]
        if not (spaces_at_ends and step[0] == SPACES_AT_ENDS)
    ]


def keep_spaces_at_ends(engine: tokenizers.Tokenizer) -> None:
    """Let an engine with one of these normalizations keep spaces at both ends of a text.

    An engine parts a text at its added tokens and normalizes each part, so that the spaces around such a token are at
    ends.
    """
    parts = parts_of(engine)
    kept = [part for part, description in parts if description.get("pattern") != {"Regex": SPACES_AT_ENDS}]
    if len(kept) < len(parts):
        engine.normalizer = normalizers.Sequence(kept)


def parts_of(engine: tokenizers.Tokenizer) -> list[tuple[normalizers.Normalizer, dict[str, Any]]]:
    """The steps of an engine's normalizer, each with its description in `tokenizer.json`."""
    description = json.loads(engine.to_str())["normalizer"]
    if description is None:
        return []
    if description["type"] != "Sequence":
        return [(engine.normalizer, description)]
    return [(engine.normalizer[place], step) for place, step in enumerate(description["normalizers"])]
