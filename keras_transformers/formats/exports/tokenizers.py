"""The tokenizer's files beside exported graphs: a `tokenizer.json` that puts the model's special tokens around a text.

Our tokenizers add these tokens themselves, and so a file may lack the rule. Programs that read `tokenizer.json` alone
(tokenizers, transformers.js) need it.
"""

import typing
from collections.abc import Callable

import tokenizers

from keras_transformers.formats.exports.portable import portable

FILE = "tokenizer.json"
_FILES = (FILE, "target_tokenizer.json")
_PROBES = ("A man rides a bike.", "Été – 3 x", "the")


def files(tokenizer: typing.Any, encode: Callable[[str], list[int]]) -> tuple[dict[str, bytes], bool]:
    """The files of a tokenizer, and whether `tokenizer.json` gives the ids of a function from texts to ids.

    Args:
        tokenizer: a `Tokenizer`.
        encode: returns the ids that the model reads for a text.
    """
    made: dict[str, bytes] = tokenizer.files()
    if FILE not in made:
        return made, False
    made = {name: portable(content) if name in _FILES else content for name, content in made.items()}
    engine = tokenizers.Tokenizer.from_str(made[FILE].decode())
    if _same(engine, encode):
        return made, True
    try:
        engine.post_processor = _rule(engine, encode)
    except ValueError:
        return made, False
    return {**made, FILE: engine.to_str(pretty=True).encode()}, _same(engine, encode)


def _same(engine: tokenizers.Tokenizer, encode: Callable[[str], list[int]]) -> bool:
    engine.encode_special_tokens = True
    return all(engine.encode(text).ids == list(encode(text)) for text in _PROBES)


def _rule(engine: tokenizers.Tokenizer, encode: Callable[[str], list[int]]) -> typing.Any:
    """The rule that puts the tokens around a text that a function puts there."""
    text = _PROBES[0]
    whole, inner = list(encode(text)), engine.encode(text, add_special_tokens=False).ids
    starts = [n for n in range(len(whole) - len(inner) + 1) if whole[n : n + len(inner)] == inner]
    if not inner or not starts:
        raise ValueError("Expected the ids of the text among those that the model reads.")
    before, after = whole[: starts[0]], whole[starts[0] + len(inner) :]
    tokens = [(engine.id_to_token(each), each) for each in {*before, *after}]
    parts = [*map(engine.id_to_token, before), "$A", *map(engine.id_to_token, after)]
    pair = [*map(engine.id_to_token, before), "$A", "$B:1", *map(engine.id_to_token, after)]
    return tokenizers.processors.TemplateProcessing(single=parts, pair=pair, special_tokens=tokens)
