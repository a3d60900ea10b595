"""Source and target languages: how each kind of translation model receives them.

tokenizer.language_place   source's language         target's language
"forced"                   a token in the source     the first token of the translation
"start"                    a token in the source     the token that the decoder starts from
"source"                   not needed                a token in the source
None                       words before the source, of `task_specific_params` ("translate English to German: "); a
                           piece such as "<2fr>" (MADLAD-400); or nothing, for a model of one pair
"""

import re
import typing
from collections.abc import Mapping

from keras_transformers.data.language_names import find_language, language_error, language_of
from keras_transformers.generation.hugging_face_settings import fields_of
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.tokenizers.tokenizer import Tokenizer

_TAG, _TAGGED = "<2{}>", re.compile("<2([a-z]{2,3}(?:_[A-Za-z]+)?)>")
_PAIR = re.compile(r"translation_(.+)_to_(.+)")


class Direction(typing.NamedTuple):
    """The languages of one translation.

    source_language, target_language: codes of the tokenizer; None if the model does not need the language.
    prefix: words before each source.
    settings: changes to the model's `GenerationConfig`.
    """

    source_language: str | None
    target_language: str | None
    prefix: str
    settings: dict


def find_direction(
    tokenizer: Tokenizer,
    generation: GenerationConfig,
    task_params: Mapping[str, typing.Any],
    source_language: str | None,
    target_language: str | None,
) -> Direction:
    """The `Direction` from one language to another.

    Args:
        tokenizer: a `Tokenizer`.
        generation: the model's `GenerationConfig`, with the settings of a call.
        task_params: the `task_specific_params` of the model's `config.json`, or an empty dictionary.
        source_language, target_language: codes of the checkpoint, names, codes of two or three letters, or None.

    Raises:
        ValueError: for an unknown language, listing the known ones; if a language that the model needs is missing; and
            for any language if the model takes none.
    """
    languages, place = tokenizer.languages, tokenizer.language_place
    if place is None:
        return _by_words(tokenizer, task_params, source_language, target_language)
    source = find_language("source_language", source_language, languages) if place != "source" else None
    target = find_language("target_language", target_language, languages) or tokenizer.target_language
    given_id = {"forced": generation.forced_start_id, "start": generation.start_id}.get(place)
    if target is None and place != "source" and given_id not in languages.values():
        raise language_error("target_language", None, languages)
    settings = {"forced": "forced_start_id", "start": "start_id"}
    changes = {settings[place]: languages[target]} if place in settings and target is not None else {}
    return Direction(source, target, "", changes)


def _by_words(
    tokenizer: Tokenizer,
    task_params: Mapping[str, typing.Any],
    source_language: str | None,
    target_language: str | None,
) -> Direction:
    if source_language is None and target_language is None:
        return Direction(None, None, "", {})
    pairs = {match.groups(): params for name, params in task_params.items() if (match := _PAIR.fullmatch(name))}
    if not pairs and target_language is not None and tokenizer.engine.token_to_id(_TAG.format("en")) is not None:
        return Direction(None, None, f"{_tag(tokenizer, target_language)} ", {})
    if not pairs:
        _check_only_pair(tokenizer.language_pair, source_language, target_language)
        return Direction(None, None, "", {})
    sources = list(dict.fromkeys(source for source, _ in pairs))
    source = find_language("source_language", source_language, sources) or (sources[0] if len(sources) == 1 else None)
    targets = [target for each, target in pairs if each == source]
    target = find_language("target_language", target_language, targets)
    if source is None or target is None:
        known = ", ".join(" to ".join(pair) for pair in pairs)
        raise ValueError(
            f"Expected source_language and target_language, got {source_language!r} and {target_language!r}. The model "
            f"knows: {known}."
        )
    params = pairs[source, target]
    return Direction(None, None, params.get("prefix", ""), fields_of(params))


def _tag(tokenizer: Tokenizer, target_language: str) -> str:
    """The piece of the target language, of a vocabulary with such pieces (MADLAD-400).

    Raises:
        ValueError: for an unknown language, listing the known ones.
    """
    language = language_of(str(target_language))
    codes = (str(target_language), *(language.codes if language else ()))
    tags = (_TAG.format(code.strip("<>").removeprefix("2")) for code in codes)
    found = next((tag for tag in tags if tokenizer.engine.token_to_id(tag) is not None), None)
    if found is not None:
        return found
    known = (_TAGGED.fullmatch(piece) for piece in tokenizer.engine.get_vocab())
    raise language_error("target_language", target_language, sorted(match[1] for match in known if match))


def _check_only_pair(pair: tuple[str | None, str | None], *asked: str | None) -> None:
    """Refuse languages other than those of a model for one pair; refuse all if the model does not name its pair."""
    known = [language_of(code or "") for code in pair]
    for name, wanted, language, code in zip(("source_language", "target_language"), asked, known, pair, strict=True):
        if wanted is not None and (language is None or language_of(str(wanted)) is not language):
            what = (
                f"this model translates from {pair[0]} to {pair[1]}" if all(pair) else "this model is told no language"
            )
            raise ValueError(f"Expected no {name}, or its own{f', {code}' if code else ''}, got {wanted!r}: {what}.")
