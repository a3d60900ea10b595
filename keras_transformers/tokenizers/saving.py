"""The files of a tokenizer, written. `files` and `save` are methods of `Tokenizer`."""

import json
import os
import pathlib

from keras_transformers.tokenizers.engine import guarded, json_of
from keras_transformers.tokenizers.parts import Parts

TARGET_FILE = "target_tokenizer.json"  # the vocabulary that a translation model writes, if it is another


@guarded()
def files(self: Parts) -> dict[str, bytes]:
    """The files of the folder format by name, to be written with others in one atomic step.

    A `tokenizer.json` that was loaded comes back byte by byte, unless tokens were added; so do the other entries of
    `tokenizer_config.json`.
    """
    options = dict(self._options)
    if self._content is None and not self._side_files:
        options.pop("added_tokens_decoder", None)  # transformers takes those for all, and tokenizer.json has more
    for role, token in self.special_tokens.by_role().items():
        stated = options.get(role)
        if (stated.get("content") if isinstance(stated, dict) else stated) != token:
            options[role] = token
    files = dict(self._side_files) or {"tokenizer.json": _json(self)}
    if self.target is not None:
        files[TARGET_FILE] = _json(self.target)
    written = (json.dumps(options, indent=2, ensure_ascii=False) + "\n").encode()
    return files | {"tokenizer_config.json": written} | dict(self._template_files)


def save(self: Parts, folder: str | os.PathLike) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`, which `load` and transformers' `AutoTokenizer` open.

    Args:
        folder: made if it is not there.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files(self).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(content)
        os.replace(partial, path)  # a killed save leaves the old file whole


def _json(tokenizer: Parts) -> bytes:
    """The engine as it came, with the truncation and padding that are switched off here."""
    return tokenizer._content or json_of(tokenizer.engine, *tokenizer._switched_off).encode()
