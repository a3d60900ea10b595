"""A tokenizer inside a task's configuration, as the text of its files, so that copies of a model keep it."""

import base64
import pathlib
import tempfile

from keras_transformers.tokenizers.tokenizer import Tokenizer


def to_config(tokenizer: Tokenizer | None) -> dict[str, str] | None:
    """The files of a tokenizer in base64, by name; None without a tokenizer."""
    if tokenizer is None:
        return None
    return {name: base64.b64encode(content).decode("ascii") for name, content in tokenizer.files().items()}


def from_config(files: dict[str, str] | None) -> Tokenizer | None:
    """The tokenizer of such files: the inverse of `to_config`.

    Raises:
        ValueError: for names that lead out of a folder, and for files that are not a tokenizer.
    """
    if files is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch).resolve()
        for name, content in files.items():
            path = (root / name).resolve()
            if not path.is_relative_to(root) or path == root:
                raise ValueError(
                    f"Expected names of files of a tokenizer, got {name!r}, which leads out of its folder."
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(content))
        return Tokenizer.load(root)
