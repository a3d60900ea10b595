"""Warnings of generative models, raised at the user's line: settings without effect, cut texts, unknown tokens.

A warning uses the caller's names for texts: "index 3", or "line 4" of a file.
"""

import itertools
import typing
import warnings
from collections.abc import Sequence

import numpy as np

from keras_transformers.callers import outside
from keras_transformers.data.pairs import Pairs
from keras_transformers.generation.beam_search import IMPOSSIBLE
from keras_transformers.generation.decoding import Generated
from keras_transformers.tokenizers.languages import has_letter
from keras_transformers.tokenizers.tokenizer import Tokenizer

LOOKED_AT = 200  # training sources that are checked for letters
SHOWN = 10  # texts, or pieces of text, that a warning lists


def warn_of_unused(sampling: dict[str, typing.Any], beams: dict[str, typing.Any]) -> None:
    """Warn of given settings without effect: see `generation.settings.without_effect`."""
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


def warn_of_cut(cut: dict[int, int], total: int, names: Sequence[str] | None, longest: int | None, what: str) -> None:
    """Warn of results that were cut before their end.

    Args:
        cut: the number of tokens of each cut text, by its index.
        total: the number of texts.
        names: a list of names of the texts, or None.
        longest: the number of positions of the model, or None.
        what: a name for the results, such as "translations".
    """
    most = max(cut.values())
    advice = "Raise max_new_tokens."
    if longest is not None and most + 1 >= longest:  # the start token of a decoder takes a position
        advice = "The model has positions for no more."
        if what == "translations":
            advice = "The model has positions for no more; translate_document takes long texts in pieces."
    warnings.warn(
        f"{len(cut)} of {total} {what} were cut at the limit of {most} tokens, before they ended: "
        f"{_listed(sorted(cut), names)}. {advice}",
        stacklevel=outside(),
    )


def warn_of_long(rows: Sequence[int], total: int, names: Sequence[str] | None, longest: int | None) -> None:
    """Warn of texts that are longer than a model reads, if there are any.

    Args:
        rows: the indices of these texts.
        total, names, longest: as for `warn_of_cut`.
    """
    if not rows:
        return
    warnings.warn(
        f"{len(rows)} of {total} texts are longer than the {longest} tokens that this model reads; the rest of each is "
        f"left out: {_listed(rows, names)}.",
        stacklevel=outside(),
    )


def warn_of_unknown(
    tokenizer: Tokenizer,
    rows: Sequence[int],
    texts: Sequence[str],
    sources: Sequence[Sequence[int | None]],
    parse_special: bool = False,
) -> None:
    """Warn of texts with unknown tokens.

    Args:
        tokenizer: a `Tokenizer`.
        rows: the indices of these texts.
        texts, sources: all texts, and the ids of each.
        parse_special: how the texts were read.
    """
    unknown = tokenizer.unknown_id
    count = sum(sources[row].count(unknown) for row in rows)
    encoded = tokenizer.encode_with_offsets([texts[row] for row in rows], parse_special)
    pieces: dict[str, None] = {}
    for row, ids, spans in zip(rows, *encoded, strict=True):
        pieces |= dict.fromkeys(texts[row][a:b].strip() for i, (a, b) in zip(ids, spans, strict=True) if i == unknown)
    shown = ", ".join(repr(piece) for piece in itertools.islice(filter(None, pieces), SHOWN))
    more = ", …" if len(pieces) > SHOWN else ""
    warnings.warn(
        f"{count} tokens in {len(rows)} of {len(sources)} texts are unknown to this model, which cannot translate "
        f"them: {shown}{more}.",
        stacklevel=outside(),
    )


def warn_of_spelled(spelled: Sequence[str]) -> None:
    """Warn that special tokens spelled in texts are read as text."""
    shown, more = ", ".join(map(repr, spelled[:5])), ", …" if len(spelled) > 5 else ""
    warnings.warn(
        f"Special tokens that a text spells are read as text: {shown}{more}. Give parse_special=True to have "
        "them read as tokens, as a prompt of apply_chat_template needs it.",
        stacklevel=outside(),
    )


def warn_of_pairs(tokenizer: Tokenizer, pairs: Pairs) -> None:
    """Warn of training pairs that teach unwanted behaviour: empty sides, and sources without letters.

    Args:
        tokenizer: a `Tokenizer`.
        pairs: a `data.pairs.Pairs`.
    """
    warn_of_empty(pairs.lengths, [len(tokenizer.encode_sources([""])[0]), len(tokenizer.encode_targets([""])[0])])
    if tokenizer.target is None and len(pairs):
        ids, offsets = pairs.sources
        first = [ids[begin:end] for begin, end in itertools.pairwise(offsets[: LOOKED_AT + 1])]
        warn_of_letterless(tokenizer.decode(first))


def warn_of_letterless(texts: Sequence[str]) -> None:
    """Warn if half or more of the training sources hold no letter: `translate` would return them unchanged."""
    texts = [text for text in texts if text.strip()]
    count = sum(not has_letter(text) for text in texts)
    if texts and 2 * count >= len(texts):
        warnings.warn(
            f"{count} of {len(texts)} sources that were looked at hold no letter. translate answers such a text by "
            "itself: ask it with keep_letterless=False.",
            stacklevel=outside(),
        )


def warn_of_empty(lengths: np.ndarray, empty: Sequence[int]) -> None:
    """Warn of training pairs with an empty side.

    Args:
        lengths: int `[N, 2]`, the number of tokens of both sides of each pair.
        empty: the number of tokens of an empty source and of an empty target.
    """
    count = int((lengths <= np.array(empty)).any(axis=1).sum())
    if count:
        warnings.warn(
            f"{count} of {len(lengths)} pairs to learn from have nothing on one side: a model learns from them to say "
            "nothing, or to invent. Leave them out.",
            stacklevel=outside(),
        )


def without_failures(generated: Generated) -> Generated:
    """Empty the results that lack a forced word, and warn with their number."""
    failed = np.asarray(generated.scores) < IMPOSSIBLE / 2
    if failed.any():
        warnings.warn(
            f"{int(failed.sum())} of {len(failed)} results could not be made with the words that have to occur. "
            "Raise num_beams, or ask for fewer words.",
            stacklevel=outside(),
        )
        generated.lengths[failed] = 0
    return generated


def _settings(values: dict[str, typing.Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _listed(rows: Sequence[int], names: Sequence[str] | None) -> str:
    """The names of the first few texts, joined."""
    shown = ", ".join(str(row) if names is None else names[row] for row in rows[:SHOWN])
    return ("index " if names is None else "") + shown + (", …" if len(rows) > SHOWN else "")
