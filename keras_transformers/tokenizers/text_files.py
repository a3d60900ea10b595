"""The text and JSON files of a tokenizer's folder, read with errors that say what was expected."""

import json
import pathlib
from typing import Any


def read_text(path: pathlib.Path) -> str:
    """A tokenizer's file, as text.

    Raises:
        FileNotFoundError: when it is not there.
        ValueError: when it is not in UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a tokenizer's file at {path}, got nothing there. Check the folder, or fetch it again."
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(
            f"Expected UTF-8 text in {path}, got a broken or truncated file. Fetch or save it again."
        ) from None


def read_object(path: pathlib.Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object in a file; `missing` where there is no file, unless that is None.

    Raises:
        FileNotFoundError, ValueError: as `read_text`, and a ValueError for what is no JSON object.
    """
    if missing is not None and not path.is_file():
        return missing
    text = read_text(path)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"Expected JSON in {path}, got a broken or truncated file ({error}). Fetch or save it again."
        ) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or lists nested as deep
        raise ValueError(f"Expected JSON that a program can hold in {path}, got: {error}. Fetch it again.") from None
    if not isinstance(value, dict):
        raise ValueError(f"Expected a JSON object in {path}, got {type(value).__name__}. Fetch or save it again.")
    return value
