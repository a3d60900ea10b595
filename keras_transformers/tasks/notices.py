"""What is said while a model writes, each in one warning to the caller outside of this library: settings that change
nothing, texts that were cut, tokens that are unknown.

A warning names the texts that it is about as their caller knows them: "index 3", or "line 4" of a file.
"""

import itertools
import warnings

import numpy as np

from keras_transformers.callers import outside
from keras_transformers.tokenizers.texts import has_letter

SHOWN = 10  # texts, or pieces of text, that a warning lists
# What has an effect on sampling alone, and on a beam search alone, with the values that have none anyway.
_FOR_SAMPLING = {"temperature": (1.0,), "top_k": (None, 0, 1), "top_p": (None, 1.0), "min_p": (None, 0.0)}
_FOR_BEAMS = {"length_penalty": (1.0,), "early_stopping": (False,), "renormalize_logits": (False,)}
_LIMITS = {"max_new_tokens", "max_length"}


def unused(config, given, scored=False):
    """Settings that were given and change nothing.

    Args:
        config: the `GenerationConfig` that they were made part of.
        given: a dictionary of settings by name.
        scored: whether scores are returned, which a length penalty is part of.

    Returns: two dictionaries: those that need sampling, those that need beams.
    """

    def of(names):
        return {name: given[name] for name, inert in names.items() if name in given and given[name] not in inert}

    sampling = {} if config.do_sample else of(_FOR_SAMPLING)
    beams = {} if config.num_beams > 1 else of(_FOR_BEAMS)
    if scored or config.log_probabilities:
        beams.pop("length_penalty", None)
    return sampling, beams


def tell_unused(config, given, scored=False):
    """Warn of settings that were given and change nothing. Arguments as of `unused`."""
    sampling, beams = unused(config, given, scored)
    if sampling:
        warnings.warn(
            f"{_settings(sampling)} changes nothing without sampling: the likeliest token is taken each time. Add "
            "do_sample=True, or leave it out.",
            stacklevel=outside(),
        )
    if beams:
        warnings.warn(
            f"{_settings(beams)} changes nothing with num_beams=1. Raise num_beams, or leave it out.",
            stacklevel=outside(),
        )


def names_a_limit(given):
    """Whether a call says itself how long a text may get."""
    return any(given.get(name) is not None for name in _LIMITS)


def tell_cut(cut, total, names, longest, what):
    """Warn of results that were cut before their end.

    Args:
        cut: for each cut text its index, and how many tokens it has.
        total: how many texts there are.
        names: a list of what to call each text, or None.
        longest: the most tokens that the model has positions for, or None.
        what: what the results are, such as "translations".
    """
    if not cut:
        return
    most = max(cut.values())
    advice = "Raise max_new_tokens."
    if longest is not None and most + 1 >= longest:  # the token that a decoder starts from takes a position
        advice = "The model has positions for no more."
        if what == "translations":
            advice = "The model has positions for no more; translate_document takes long texts in pieces."
    warnings.warn(
        f"{len(cut)} of {total} {what} were cut at the limit of {most} tokens, before they ended: "
        f"{_listed(sorted(cut), names)}. {advice}",
        stacklevel=outside(),
    )


def tell_long(rows, total, names, longest):
    """Warn of texts that are longer than a model reads.

    Args:
        rows: their indices.
        total, names, longest: as of `tell_cut`.
    """
    warnings.warn(
        f"{len(rows)} of {total} texts are longer than the {longest} tokens that this model reads; the rest of each is "
        f"left out: {_listed(rows, names)}.",
        stacklevel=outside(),
    )


def tell_unknown(tokenizer, texts, sources, parse_special=False):
    """Warn of what is unknown to the tokenizer of texts, of which `sources` are the ids."""
    unknown = tokenizer.unknown_id
    rows = [row for row, ids in enumerate(sources) if unknown is not None and unknown in ids]
    if not rows:
        return
    count = sum(sources[row].count(unknown) for row in rows)
    encoded = tokenizer.encode_with_offsets([texts[row] for row in rows], parse_special)
    pieces = {}
    for row, ids, spans in zip(rows, *encoded, strict=True):
        pieces |= dict.fromkeys(texts[row][a:b].strip() for i, (a, b) in zip(ids, spans, strict=True) if i == unknown)
    shown = ", ".join(repr(piece) for piece in itertools.islice(filter(None, pieces), SHOWN))
    more = ", …" if len(pieces) > SHOWN else ""
    warnings.warn(
        f"{count} tokens in {len(rows)} of {len(sources)} texts are unknown to this model, which cannot translate "
        f"them: {shown}{more}.",
        stacklevel=outside(),
    )


def tell_spelled(tokenizer, texts):
    """Warn of special tokens that texts spell, which are read as text."""
    spelled = tokenizer.spelled_special(texts)
    if spelled:
        shown, more = ", ".join(map(repr, spelled[:5])), ", …" if len(spelled) > 5 else ""
        warnings.warn(
            f"Special tokens that a text spells are read as text: {shown}{more}. Give parse_special=True to have "
            "them read as tokens, as a prompt of apply_chat_template needs it.",
            stacklevel=outside(),
        )


def tell_letterless(texts):
    """Warn where half or more of the sources that a model learns from hold no letter: `translate` would keep them."""
    texts = [text for text in texts if text.strip()]
    count = sum(not has_letter(text) for text in texts)
    if texts and 2 * count >= len(texts):
        warnings.warn(
            f"{count} of {len(texts)} sources that were looked at hold no letter. translate answers such a text by "
            "itself: ask it with keep_letterless=False.",
            stacklevel=outside(),
        )


def tell_empty(lengths, empty):
    """Warn of pairs to learn from that have nothing on one side.

    Args:
        lengths: int `[N, 2]`, the tokens of each pair's sides.
        empty: how many of them an empty text has, of a source and a target.
    """
    count = int((lengths <= np.array(empty)).any(axis=1).sum())
    if count:
        warnings.warn(
            f"{count} of {len(lengths)} pairs to learn from have nothing on one side: a model learns from them to say "
            "nothing, or to invent. Leave them out.",
            stacklevel=outside(),
        )


def _settings(values):
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _listed(rows, names):
    """Texts by their names, the first few of them."""
    shown = ", ".join(str(row) if names is None else names[row] for row in rows[:SHOWN])
    return ("index " if names is None else "") + shown + (", …" if len(rows) > SHOWN else "")
