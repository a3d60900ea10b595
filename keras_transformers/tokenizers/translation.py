"""Texts as a translation model reads and writes them.

The first four functions are methods of `Tokenizer`.
"""

import copy
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from keras_transformers.data.language_names import known_language, language_error
from keras_transformers.tokenizers.languages import NO_LANGUAGES
from keras_transformers.tokenizers.parts import Parts
from keras_transformers.tokenizers.vocabulary import checked_texts

Made = TypeVar("Made", bound=Parts)


def encode_sources(
    self: Parts,
    texts: Sequence[str],
    source_language: str | None = None,
    *,
    target_language: str | None = None,
    max_length: int | None = None,
    parse_special: bool = False,
) -> list[list[int]]:
    """Texts as the encoder of a translation model reads them: with the end token, and with the language if the model
    reads it there.

    Args:
        texts: a list of strings. An empty one gives the tokens around it alone.
        source_language: their language, one of `languages`; by default `self.source_language`.
        target_language: the language to translate into, if `language_place` is "source"; by default
            `self.target_language`, or the language that a text itself starts with: ">>fra<< Good morning."
        max_length: most ids of a row; a text that is too long loses its last.
        parse_special: as for `encode`.

    Returns:
        One list of ids for each text, as transformers' tokenizer of the model makes them.

    Raises:
        TypeError, ValueError: as `encode` does, and a ValueError for a language that is unknown, or that the model
            does not read here, and for a `max_length` without room.

    Example:
    ```python
    tokenizer = Tokenizer.load("nllb-200-distilled-600M")
    tokenizer.encode_sources(["Good morning."], "eng_Latn")  # eng_Latn, the text, </s>
    ```
    """
    name, other = "source_language", target_language
    texts, language = checked_texts(texts), source_language
    if self.language_place == "source":
        name, language, other = "target_language", target_language, source_language
    elif other is not None:
        raise ValueError(f"Expected no target_language, got {other!r}: this tokenizer puts none in a source.")
    if name == "target_language" and other is not None:
        raise ValueError(f"Expected no source_language, got {other!r}: the model is told the target's alone.")
    default = _language(self, name, language)
    languages = [default] * len(texts)
    if self.language_place == "source" and default is None:
        stated = [next((code for code in self.languages if text.startswith(code)), "") for text in texts]
        texts = [text[len(code) :] for text, code in zip(texts, stated, strict=True)]
        languages = [self.languages.get(code) for code in stated]
    return wrapped(self.encode(texts, parse_special), languages, parts_around(self, "source"), max_length)


def encode_targets(
    self: Parts, texts: Sequence[str], target_language: str | None = None, *, max_length: int | None = None
) -> list[list[int]]:
    """Texts as the decoder of a translation model is to write them: its labels.

    Args:
        texts, max_length: as for `encode_sources`.
        target_language: their language, one of `languages`; by default `self.target_language`.

    Returns:
        One list of ids for each text, as transformers' tokenizer of the model makes them for `text_target`.

    Raises:
        TypeError, ValueError: as `encode_sources` does, and a ValueError if the language has to be told and is not.
    """
    language = _language(self, "target_language", target_language)
    if language is None and "language" in self._languages.rules.target and self.languages:
        raise language_error("target_language", None, self.languages)
    encoded = self._sides[1].encode(checked_texts(texts))
    return wrapped(encoded, [language] * len(encoded), parts_around(self, "target"), max_length)


def with_target(self: Made, target: Made) -> Made:
    """A tokenizer of two vocabularies: a translation model reads this one and writes the other.

    `encode` and `encode_sources` use this one, `encode_targets` and `decode` the other.

    Args:
        target: a `Tokenizer` with the same special tokens by the same ids, as `train` makes them.

    Returns:
        A new `Tokenizer`, of copies.

    Raises:
        ValueError: for other special tokens, and for tokenizers of two vocabularies or of languages that a target
            is told.

    Example:
    ```python
    tokenizer = Tokenizer.train(english, vocabulary_size=8000).with_target(Tokenizer.train(finnish))
    config = kt.models.transformer(
        tokenizer.vocabulary_size,
        target_vocabulary_size=tokenizer.target_vocabulary_size,
        shared_embeddings=False,
    )
    ```
    """
    for each in (self, target):
        if each._sides != (each._vocabulary, each._vocabulary):
            raise ValueError("Expected two tokenizers of one vocabulary each, got one of two. Give its parts.")
    if target.languages or self.language_place not in (None, "source"):
        raise ValueError(
            "Expected languages that the source alone is told, if there are two vocabularies, got some for the "
            "target. Train one vocabulary of both languages."
        )
    ids = [
        {name: (token, each.engine.token_to_id(token)) for name, token in each.special_tokens.named().items()}
        for each in (self, target)
    ]
    if ids[0] != ids[1]:
        raise ValueError(
            f"Expected the same special tokens, by the same ids, on both sides, got {ids[0]} and {ids[1]}. Train "
            "the two with the same ones."
        )
    both = copy.deepcopy(self)
    both._write(copy.deepcopy(target))
    return both


def spelled_special(self: Parts, texts: Iterable[str]) -> list[str]:
    """The special tokens that texts spell, which `encode` reads as text unless `parse_special` is set.

    A language that a translation model reads in its source is none of them.

    Args:
        texts: strings.
    """
    read = set(self.languages) if self.language_place == "source" else set()
    spellings = [self.engine.id_to_token(i) or "" for i in sorted(self.control_ids)]
    tokens = [token for token in dict.fromkeys(spellings) if token.strip() and token not in read]
    pattern = re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")
    return list(dict.fromkeys(match for text in texts for match in pattern.findall(text)))


def parts_around(tokenizer: Parts, side: str) -> list[Any]:
    """The parts of a "source" or a "target": ids, "text" and "language"."""
    end = [tokenizer._ids["end_token"]] if "end_token" in tokenizer._ids else []
    rules = tokenizer._languages.rules
    if rules is NO_LANGUAGES and tokenizer.engine.post_processor is not None:
        parts = [part for part, _ in tokenizer.template.single]
        ends = {tokenizer._ids.get("end_token"), tokenizer._ids.get("separator_token")}
        if ends & set(parts):  # otherwise the engine's rule is no translator's
            return ["text" if part == "A" else part for part in parts]
    return [each for part in getattr(rules, side) for each in (end if part == "end" else [part])]


def _language(tokenizer: Parts, name: str, language: str | None) -> int | None:
    """The id of the language in the argument `name`; the id of the default language for None."""
    code = getattr(tokenizer, name) if language is None else known_language(name, language, tokenizer.languages)
    return None if code is None else tokenizer.languages[code]


def wrapped(
    rows: Sequence[list[int]], languages: Sequence[int | None], parts: Sequence[Any], max_length: int | None
) -> list[list[int]]:
    """Texts as ids with the tokens around them.

    Args:
        rows: a list of ids for each text.
        languages: the id of each text's language, or None for no token.
        parts: in order, ids and "text", "language".
        max_length: most ids of a row; a text that is too long loses its last. None for no limit.

    Raises:
        ValueError: for a `max_length` without room for the tokens around a text.
    """
    at, out = list(parts).index("text"), []
    for ids, language in zip(rows, languages, strict=True):
        known = {"language": [] if language is None else [language]}
        before, after = (
            [i for part in side for i in known.get(part, [part])] for side in (parts[:at], parts[at + 1 :])
        )
        room = len(ids) if max_length is None else max_length - len(before) - len(after)
        if room < 0:
            raise ValueError(
                f"Expected max_length of at least {len(before) + len(after)}, for the tokens around a text, got "
                f"{max_length}. Give a larger one."
            )
        out.append([*before, *ids[:room], *after])
    return out
