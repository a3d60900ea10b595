"""The engine, its file `tokenizer.json`, and its errors.

The file may be a stranger's: content that would harm is refused before the engine sees it.

The engine is written in Rust. If it gives up, it raises plain `Exception`, or `PanicException`, which is none:
`guarded` makes `ValueError` of both.
"""

import base64
import binascii
import contextlib
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import tokenizers

from keras_transformers.files.reading import read_object, read_text
from keras_transformers.tokenizers.packing import Template

_MOST_GROWTH = 1000  # characters that the normalizer may make of one
PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


@contextlib.contextmanager
def guarded(what: str = "the tokenizer's engine to take this") -> Iterator[None]:
    """Raise `ValueError` if the engine gives up inside.

    Args:
        what: the expectation, for the message.

    Example:
        >>> with guarded("a text"):
        ...     engine.encode(text)
    """
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        raise ValueError(
            f"Expected {what}, got an error of the engine: {str(error)[:500]}. Is tokenizer.json broken? Fetch or save "
            "the tokenizer again."
        ) from None


def read_engine(path: pathlib.Path) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The engine that a file holds, and the file as plain data.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: for a broken file, and for one that would make the engine end the program, or never end.
    """
    values = read_object(path)
    for name in PARTS:
        for part in parts_of(values.get(name)):
            _check_part(part, path)
    growth = 1.0
    for part in parts_of(values.get("normalizer")):
        growth *= _growth(part)
    if growth > _MOST_GROWTH:
        raise ValueError(
            f"Expected a normalizer in {path} that makes at most {_MOST_GROWTH} characters of one, got one that makes "
            f"up to {growth:.0f}. Do not trust where it comes from."
        )
    with guarded(f"a tokenizer in {path}"):
        engine = tokenizers.Tokenizer.from_str(read_text(path))
        with contextlib.suppress(Exception):  # a piece that is unknown is no broken file; a panic passes
            engine.decode_batch([engine.encode("a", "b").ids, engine.encode("a").ids])
    return engine, values


def unknown_id_of(engine: tokenizers.Tokenizer) -> int | None:
    """The id that an engine's own model gives for unknown text; None if it has none."""
    if isinstance(engine.model, tokenizers.models.Unigram):
        return json.loads(engine.model.__getstate__()).get("unk_id")
    token = engine.model.unk_token
    return None if token is None else engine.model.token_to_id(token)


def json_of(
    engine: tokenizers.Tokenizer, truncation: dict[str, Any] | None = None, padding: dict[str, Any] | None = None
) -> str:
    """The text of a `tokenizer.json`.

    Args:
        engine: whose file it is; it stays as it is.
        truncation, padding: settings of the engine that the file gets, too.
    """
    if truncation or padding:
        engine = tokenizers.Tokenizer.from_str(engine.to_str())
    if truncation:
        engine.enable_truncation(**truncation)
    if padding:
        engine.enable_padding(**padding)
    return engine.to_str(pretty=True)


def template_of(
    engine: tokenizers.Tokenizer,
    encode: Callable[[list[str]], list[list[int]]],
    start_id: int | None,
    end_id: int | None,
) -> Template:
    """How one text, or a pair, is wrapped for the model, read off what an engine makes of a short text.

    Args:
        engine: puts special tokens around a text; start and end stand there if it has no rule.
        encode: gives the ids of texts, without special tokens.
        start_id, end_id: the ids of these tokens, or None.

    Raises:
        ValueError: for an engine without a single piece that text can give.
    """
    if engine.post_processor is None:
        start, end = (() if i is None else (i,) for i in (start_id, end_id))
        first, second = tuple((part, 0) for part in (*start, "A", *end)), tuple((part, 1) for part in ("B", *end))
        return Template(single=first, pair=first + second)
    candidates = itertools.chain("a0.", engine.get_vocab())
    text = next((text for text in candidates if any(encode([text]))), None)
    if text is None:
        raise ValueError(
            "Expected a vocabulary with some piece of text, got special tokens alone. Train or load the tokenizer "
            "that belongs to the model."
        )
    encoded = engine.encode(text, add_special_tokens=False)
    return Template(single=_wrapped(engine.post_process(encoded)), pair=_wrapped(engine.post_process(encoded, encoded)))


def _wrapped(encoding: tokenizers.Encoding) -> tuple[tuple[int | str, int], ...]:
    """The parts of a template: each special token, and each text as one."""
    parts: list[tuple[int | str, int]] = []
    for i, segment, special, text in zip(
        encoding.ids, encoding.type_ids, encoding.special_tokens_mask, encoding.sequence_ids, strict=True
    ):
        # In some pairs the engine numbers the second text alone.
        part = (i if special else "B" if text == 1 else "A", segment)
        if special or part not in parts:
            parts.append(part)
    return tuple(parts)


def parts_of(value: Any) -> Iterator[dict[str, Any]]:
    """A part of a `tokenizer.json`, and the parts that it consists of."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            if isinstance(each, list):
                for inner in each:
                    yield from parts_of(inner)


def _check_part(part: dict[str, Any], path: pathlib.Path) -> None:
    kind, pattern = part.get("type"), part.get("pattern")
    # Splitting at an empty pattern is in use: it splits between all characters.
    if kind == "Replace" and isinstance(pattern, dict) and "" in pattern.values():
        raise ValueError(
            f"Expected {kind} in {path} to have a pattern, got an empty one, which may never end. Mend the file."
        )
    if kind == "Precompiled":
        _check_characters(part.get("precompiled_charsmap"), path)


def _check_characters(text: Any, path: pathlib.Path) -> None:
    """Check SentencePiece's table of characters: the size of its index, the index, and the replacements."""
    try:
        table = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        table = b""
    size = int.from_bytes(table[:4], "little")
    if not table or not size or size % 4 or size > len(table) - 4:
        raise ValueError(
            f"Expected a table of characters of SentencePiece's as precompiled_charsmap in {path}, got {text!r:.80}. "
            "Fetch the file again."
        )


def _growth(part: dict[str, Any]) -> float:
    """The most characters that a step of a normalizer makes of one."""
    if part.get("type") == "Prepend":
        return 1.0 + len(str(part.get("prepend")))
    if part.get("type") != "Replace" or not isinstance(part.get("pattern"), dict):
        return 1.0
    pattern = part["pattern"].get("String")
    return max(1.0, len(str(part.get("content"))) / (len(pattern) if isinstance(pattern, str) else 1))
