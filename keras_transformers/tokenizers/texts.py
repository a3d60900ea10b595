"""Texts on their way to a tokenizer: checked, or read from files."""

import os
import pathlib
from collections.abc import Iterator
from typing import Any

from keras_transformers.data.sources import SINGLE, Form, Source, as_text, choose
from keras_transformers.files.lines import LineFile, decoded_lines

# Longer texts are learnt from in parts: BPE's and WordPiece's training time grows with the square of a word's length
# (80,000 letters without a space took 2.3 s, four times what 40,000 took).
_LONGEST_TRAINING_TEXT = 1000


class TrainingTexts:
    """Texts out of strings and files, in order, remembering whether there was anything to learn from."""

    def __init__(self, files_or_texts: Any):
        if isinstance(files_or_texts, os.PathLike):
            files_or_texts = [files_or_texts]
        if isinstance(files_or_texts, (str, bytes)):
            raise TypeError(
                f"Expected paths, or an iterable of texts, got one {type(files_or_texts).__name__}. "
                "Put a text in a list; give a file as pathlib.Path."
            )
        self.source = Source(files_or_texts, form=Form(labelled=False))
        self.found_any = False

    def _items(self) -> Iterator[Any]:
        for block in self.source.blocks():
            columns = {"": block.inputs} if isinstance(block.inputs, list) else choose(block.inputs, SINGLE)
            yield from next(iter(columns.values()))

    def __iter__(self) -> Iterator[str]:
        for index, item in enumerate(self._items()):
            if isinstance(item, os.PathLike):
                for line in _lines(pathlib.Path(item)):
                    yield from self._parts(line)
                continue
            text = as_text(item, f"text {index}")
            # A vocabulary learnt from the names of files, in place of their text, would go unnoticed.
            if index == 0 and len(text) < 1000 and "\0" not in text and os.path.isfile(text):
                raise ValueError(
                    f"Expected texts, or files as pathlib.Path, got a string that names a file: {text!r}. Give "
                    f"pathlib.Path({text!r})."
                )
            yield from self._parts(text)

    def _parts(self, text: str) -> Iterator[str]:
        self.found_any = self.found_any or not (text.isspace() or not text)
        for start in range(0, len(text), _LONGEST_TRAINING_TEXT):
            yield text[start : start + _LONGEST_TRAINING_TEXT]


def _lines(path: pathlib.Path) -> Iterator[str]:
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file of text at {path}, got nothing there. Check the path.")
    with LineFile(path) as file:
        yield from decoded_lines(file, path)


def has_letter(text: str) -> bool:
    """Whether a text holds a letter of any script: what does not, such as "12:30" or "…", is no language."""
    return any(map(str.isalpha, text))
