"""`tokenizer.json`, the engine's file, read as a stranger's: what would harm is refused before the engine sees it.

The engine is written in Rust. Where it gives up, it raises plain `Exception`, or `PanicException`, which is none:
`guarded` makes `ValueError` of both.
"""

import base64
import binascii
import contextlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import tokenizers

from keras_transformers.files.reading import read_object, read_text

_MOST_GROWTH = 1000  # characters that the normalizer may make of one
PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


@contextlib.contextmanager
def guarded(what: str = "the tokenizer's engine to take this") -> Iterator[None]:
    """Raise `ValueError` where the engine gives up inside.

    Args:
        what: what was expected, for the message.

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
        FileNotFoundError: when it is not there.
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
    """The id that an engine's own model gives for what it does not know; None if it has none."""
    if isinstance(engine.model, tokenizers.models.Unigram):
        return json.loads(engine.model.__getstate__()).get("unk_id")
    token = engine.model.unk_token
    return None if token is None else engine.model.token_to_id(token)


def parts_of(value: Any) -> Iterator[dict[str, Any]]:
    """A part, and those that it consists of."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            if isinstance(each, list):
                for inner in each:
                    yield from parts_of(inner)


def _check_part(part: dict[str, Any], path: pathlib.Path) -> None:
    kind, pattern = part.get("type"), part.get("pattern")
    # An empty one to split at is in use: it splits between all characters.
    if kind == "Replace" and isinstance(pattern, dict) and "" in pattern.values():
        raise ValueError(
            f"Expected {kind} in {path} to have a pattern, got an empty one, which may never end. Mend the file."
        )
    if kind == "Precompiled":
        _check_characters(part.get("precompiled_charsmap"), path)


def _check_characters(text: Any, path: pathlib.Path) -> None:
    """SentencePiece's table of characters: the size of its index, the index, and what characters become."""
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
    """How many characters a step of a normalizer makes of one, at most."""
    if part.get("type") == "Prepend":
        return 1.0 + len(str(part.get("prepend")))
    if part.get("type") != "Replace" or not isinstance(part.get("pattern"), dict):
        return 1.0
    pattern = part["pattern"].get("String")
    return max(1.0, len(str(part.get("content"))) / (len(pattern) if isinstance(pattern, str) else 1))
