"""Translations with the terms of a glossary.

texts ─ terms of each ─► in the prompt, or as forced words ─► missing ones: again without them, and counted
"""

import typing
import warnings
from collections.abc import Sequence

from keras_transformers.callers import outside
from keras_transformers.data.glossary import Glossary, Term, described
from keras_transformers.data.pairs import SOURCES
from keras_transformers.data.sources import Texts, texts_of
from keras_transformers.generation.settings import NEW_TOKENS
from keras_transformers.tasks.translation import words_of_each
from keras_transformers.tokenizers.tokenizer import Tokenizer


def translate_with_terms(model: typing.Any, texts: Texts, glossary: Glossary, request: typing.Any) -> typing.Any:
    """Translate texts, and state or force the terms that each of them has.

    Args:
        model: has `_translate`, `takes_terms` and `generation_config`.
        texts: a string, or a container of strings.
        glossary: a `Glossary`.
        request: a `translating.Request`.

    Returns: as `model.translate`.

    Raises:
        ValueError: for terms that have to be forced without a beam search.

    Warns:
        UserWarning: if translations lack terms, with their number.
    """
    texts, single = texts_of(texts, inputs=SOURCES)
    terms = [glossary.found(text) for text in texts]
    if model.takes_terms:
        results = _lists(model._translate(texts, request._replace(terms=terms)), request.return_scores)
    elif not any(terms):
        results = _lists(model._translate(texts, request), request.return_scores)
    else:
        results = _forced(model, texts, terms, request)
    report(model, glossary, texts, results[0], request.names)
    made, scores = (column[0] if single else column for column in results)
    return (made, scores) if request.return_scores else made


def _lists(results: typing.Any, scored: bool) -> tuple[list[typing.Any], list[typing.Any]]:
    """Translations, and their scores or as many times None."""
    return results if scored else (results, [None] * len(results))


def _forced(
    model: typing.Any, texts: list[str], terms: Sequence[Sequence[Term]], request: typing.Any
) -> tuple[list[typing.Any], list[typing.Any]]:
    """Translate with forced words. A text whose words found no place is translated again without the terms."""
    config = model.generation_config(**request.generation)
    if config.num_beams == 1:
        raise ValueError(
            "Expected num_beams of 2 or more with a glossary, whose terms this model takes as forced words, got "
            "num_beams=1. Give more beams than a text has terms, such as num_beams=8."
        )
    own = words_of_each(request.forced_words, len(texts))
    room = (config.max_new_tokens or config.max_length or NEW_TOKENS) - 2  # for an end, and a token of the language
    words = [_that_fit(model.tokenizer, *each, room) for each in zip(own, terms, strict=True)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\d+ of \d+ results could not be made with the words")
        made, scores = _lists(model._translate(texts, request._replace(forced_words=words)), request.return_scores)
    failed = [number for number, each in enumerate(made) if terms[number] and not _first(each)]
    if failed:
        rest: dict[str, typing.Any] = {"forced_words": [own[number] for number in failed], "progress": None}
        for name in ("prefix", "names"):
            value = getattr(request, name)
            rest[name] = value if value is None or isinstance(value, str) else [value[number] for number in failed]
        again = model._translate([texts[number] for number in failed], request._replace(**rest))
        for number, text, score in zip(failed, *_lists(again, request.return_scores), strict=True):
            made[number], scores[number] = text, score
    empty = sum(not text for translations in made if not isinstance(translations, str) for text in translations[1:])
    if empty:
        warnings.warn(
            f"{empty} further translations of the num_return_sequences are empty: they had no place for the terms of "
            "the glossary. Raise num_beams.",
            stacklevel=outside(),
        )
    return made, scores


def _that_fit(tokenizer: Tokenizer, words: list[str], terms: Sequence[Term], room: int) -> list[str]:
    """The words, and the translations of as many terms as there is room for, in tokens."""
    chosen, counts = list(words), [len(ids) for ids in tokenizer.encode([f"a {word}" for word in words])]
    for _, wanted in terms:
        counts += [len(ids) for ids in tokenizer.encode([f"a {wanted}"])]
        if sum(counts) > room:
            break
        chosen.append(wanted)
    return chosen


def _first(translations: typing.Any) -> str:
    return translations if isinstance(translations, str) else translations[0]


def report(
    model: typing.Any,
    glossary: Glossary,
    texts: Sequence[str],
    translations: Sequence[typing.Any],
    names: Sequence[str] | None,
) -> None:
    """Warn of terms that the translations lack."""
    lost = {
        number: missing
        for number, (text, made) in enumerate(zip(texts, translations, strict=True))
        if (missing := glossary.missing(text, _first(made)))
    }
    if not lost:
        return
    places = [names[number] if names else f"index {number}" for number in lost]
    advice = "The model did not follow its prompt." if model.takes_terms else "More beams find a place for more terms."
    every = dict.fromkeys(term for missing in lost.values() for term in missing)
    warnings.warn(
        f"{sum(map(len, lost.values()))} terms of the glossary are missing in {len(lost)} of {len(texts)} translations "
        f"({', '.join(places[:5])}{', …' if len(places) > 5 else ''}): {described(every)}. {advice}",
        stacklevel=outside(),
    )
