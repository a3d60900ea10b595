"""`tokenizer_config.json`, read with an error that names the expected form of each value."""

import pathlib
from typing import Any

from keras_transformers.files.reading import read_object, shown

CONFIG_FILE = "tokenizer_config.json"
_SWITCHES = (
    *("add_bos_token", "add_eos_token", "add_prefix_space", "clean_up_tokenization_spaces", "do_lower_case"),
    *("keep_accents", "legacy", "separate_vocabs", "split_by_punct", "split_special_tokens", "strip_accents"),
    *("tokenize_chinese_chars", "trim_offsets"),
)
_NUMBERS = ("max_len", "model_max_length")
_COUNTS = ("extra_ids", "offset")
_MOST = 10_000  # the engine adds each by itself
_TEXTS = (
    *("language_codes", "mask_token_sent", "source_lang", "src_lang", "target_lang", "tgt_lang"),
    "tokenizer_class",
)
_LISTS = ("additional_special_tokens", "extra_special_tokens")
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(_SWITCHES, ((bool,), "true, false or null")),
    **dict.fromkeys(_NUMBERS, ((int, float), "a number")),
    **dict.fromkeys(_TEXTS, ((str,), "a string")),
    **dict.fromkeys(_LISTS, ((list, dict), "a list of tokens")),
    "added_tokens_decoder": ((dict,), "an object of ids and tokens"),
}


def read_options(folder: pathlib.Path) -> dict[str, Any]:
    """The content of `tokenizer_config.json`; empty if it is not there.

    Raises:
        ValueError: for a broken file, and for values of another kind than expected; all are listed.
    """
    path = folder / CONFIG_FILE
    options = read_object(path, missing={})
    wrong = [
        f"{name} to be {expected}, got {options[name]!r:.80}"
        for name, (kinds, expected) in _KINDS.items()
        if options.get(name) is not None and not _is_of(options[name], kinds)
    ]
    wrong += [
        f"{name} to be a whole number from 0 to {_MOST:,}, got {shown(options[name])}"
        for name in _COUNTS
        if type(options.get(name, 0)) is not int or not 0 <= options.get(name, 0) <= _MOST
    ]
    if wrong:
        raise ValueError(f"Expected in {path} {'; '.join(wrong)}. Mend the file.")
    return options


def _is_of(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
