"""The readers of files of pieces share this: how they are called, their files, and the error for broken ones."""

import pathlib
from collections.abc import Callable
from typing import Any

import tokenizers
from tokenizers import AddedToken

from keras_transformers.tokenizers.convert.pipelines import Options, Special

# An engine, and the pieces that the files themselves set apart from text.
Engine = tuple[tokenizers.Tokenizer, list[AddedToken]]
# Called with the files, tokenizer_config.json and the special tokens.
Read = Callable[[list[pathlib.Path], Options, Special], Engine]


def paths_of(folder: pathlib.Path, patterns: tuple[str, ...]) -> list[pathlib.Path]:
    """The one file for each pattern.

    Raises:
        FileNotFoundError: for a pattern without a file.
        ValueError: for a pattern with several.
    """
    paths: list[pathlib.Path] = []
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if not found:
            raise FileNotFoundError(
                f"Expected a tokenizer's file at {folder / pattern}, got nothing there. Check the folder, or fetch it "
                "again."
            )
        if len(found) > 1:
            raise ValueError(
                f"Expected one {pattern} in {folder}, got {', '.join(path.name for path in found)}. Keep "
                "the file of the tokenizer only."
            )
        paths += found
    return paths


def built(paths: list[pathlib.Path], build: Callable[[], Any]) -> Any:
    """The result of `build()`, or a `ValueError` that names the files: the engine raises plain `Exception`."""
    try:
        return build()
    except Exception as error:
        raise ValueError(
            f"Expected a tokenizer in {' and '.join(map(str, paths))}, got a broken or truncated file ({error}). Fetch "
            "it again."
        ) from None
