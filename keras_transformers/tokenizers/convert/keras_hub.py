"""Tokenizers of KerasHub's presets: `tokenizer.json` with a class and its options, and the pieces in
`assets/tokenizer`.

    class                  pieces                        read as transformers' class
    BertTokenizer          vocabulary.txt                BertTokenizer
    DistilBertTokenizer    vocabulary.txt                DistilBertTokenizer
    RobertaTokenizer       vocabulary.json, merges.txt   RobertaTokenizer
    XLMRobertaTokenizer    vocabulary.spm                XLMRobertaTokenizer
    DebertaV3Tokenizer     vocabulary.spm                DebertaV2Tokenizer
    AlbertTokenizer        vocabulary.spm                AlbertTokenizer
    FNetTokenizer          vocabulary.spm                FNetTokenizer
    ElectraTokenizer       vocabulary.txt                ElectraTokenizer
    RoformerV2Tokenizer    vocabulary.txt                BertTokenizer
    ESMTokenizer           vocabulary.txt                EsmTokenizer

Ids agree with KerasHub on ordinary text. They differ on some text, as the rules of the models' authors are kept: with
`lowercase`, KerasHub folds case too ("ß" becomes "ss"); it splits runs of spaces at other places before byte pairs are
merged; and it leaves control characters in.

Source: keras_hub/src/tokenizers and keras_hub/src/models/*/*_tokenizer.py of KerasHub 0.32.
"""

import dataclasses
import pathlib
from typing import Any

from keras_transformers.files.reading import parse, read_text
from keras_transformers.tokenizers.convert.classes import CLASSES, TokenizerClass

_FOLDER = pathlib.PurePath("assets", "tokenizer")
_FILES = {
    "BertTokenizer": ("vocabulary.txt",),
    "DistilBertTokenizer": ("vocabulary.txt",),
    "RobertaTokenizer": ("vocabulary.json", "merges.txt"),
    "XLMRobertaTokenizer": ("vocabulary.spm",),
    "DebertaV3Tokenizer": ("vocabulary.spm",),
    "AlbertTokenizer": ("vocabulary.spm",),
    "FNetTokenizer": ("vocabulary.spm",),
    "ElectraTokenizer": ("vocabulary.txt",),
    "RoformerV2Tokenizer": ("vocabulary.txt",),
    "ESMTokenizer": ("vocabulary.txt",),
}
_ALSO_CALLED = {
    "DebertaV3Tokenizer": "DebertaV2Tokenizer",
    "RoformerV2Tokenizer": "BertTokenizer",
    "ESMTokenizer": "EsmTokenizer",
}
# The options of a class that KerasHub leaves to the pieces: only their own table changes characters.
_IMPLIED = {
    **dict.fromkeys(("AlbertTokenizer", "FNetTokenizer"), {"do_lower_case": False, "keep_accents": True}),
    **dict.fromkeys(("RobertaTokenizer", "XLMRobertaTokenizer", "DebertaV3Tokenizer", "ESMTokenizer"), {}),
}
# The options of KerasHub, by their Hugging Face names; and options with the one value that is supported.
_OPTIONS = {
    "lowercase": "do_lower_case",
    "strip_accents": "strip_accents",
    "split_on_cjk": "tokenize_chinese_chars",
    "oov_token": "unk_token",
    "add_prefix_space": "add_prefix_space",
}
_EXPECTED = {
    "split": True,
    "suffix_indicator": "##",
    "special_tokens": None,
    "sequence_length": None,
    "add_bos": False,
    "add_eos": False,
}
# The pieces are in files of their own; special tokens are always whole, and always text in a text.
_INERT = {
    *("name", "trainable", "dtype", "config_file", "vocabulary", "merges", "proto"),
    *("unsplittable_tokens", "special_tokens_in_strings"),
}


def is_keras_hub(values: dict[str, Any]) -> bool:
    """Whether the content of a file is from KerasHub: it names a Python class, as Keras writes it."""
    return isinstance(values.get("registered_name") or values.get("class_name"), str)


def class_name(values: dict[str, Any]) -> str:
    """The class that such a file names, without its package. It is never imported."""
    return str(values.get("registered_name") or values.get("class_name")).rpartition(">")[2]


def read_keras_hub(path: pathlib.Path) -> tuple[pathlib.Path, dict[str, Any], TokenizerClass] | None:
    """The pieces of a KerasHub tokenizer: their folder, and how they are read.

    Args:
        path: `tokenizer.json` in a preset's folder.

    Returns:
        The arguments of `folders.convert`: the folder of the pieces, options by their Hugging Face names, and the rules
        of a class. None if there is no such file, or another library wrote it.

    Raises:
        ValueError: for a class that is not known, and for options that are unknown or not supported; all are listed.
    """
    values = _read(path)
    if values is None:
        return None
    name, problems = class_name(values), []
    if name not in _FILES:
        raise ValueError(
            f"Expected one of KerasHub's tokenizers {', '.join(_FILES)} in {path}, got {name!r}. Load it with KerasHub."
        )
    given = values.get("config")
    given = given if isinstance(given, dict) else {}
    options = dict(_IMPLIED.get(name, {"do_lower_case": False, "strip_accents": False}))
    for key, value in given.items():
        if key in _EXPECTED:
            if value != _EXPECTED[key]:
                problems.append(f"{key}: only {_EXPECTED[key]!r} is supported, got {value!r}")
        elif key in _OPTIONS:
            wanted = str if key == "oov_token" else bool
            if not isinstance(value, wanted):
                problems.append(f"{key}: expected {wanted.__name__}, got {value!r}")
            options[_OPTIONS[key]] = value
        elif key not in _INERT:
            problems.append(f"unknown option {key!r}")
    if problems:
        raise ValueError(f"The tokenizer in {path} is not one that can be read here: {'; '.join(problems)}.")
    rules = next(rules for rules in CLASSES if _ALSO_CALLED.get(name, name) in rules.names)
    rules = dataclasses.replace(rules, names=(name,), files=_FILES[name])
    return path.parent / _FOLDER, options, rules


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    """The content of the file if it is from KerasHub, else None. `Tokenizer.load` refuses a broken file."""
    try:
        content = read_text(path)
        values = parse(content, path) if '"class_name"' in content else None  # others are long
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) and is_keras_hub(values) else None
