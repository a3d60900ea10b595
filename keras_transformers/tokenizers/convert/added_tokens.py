"""The special and the added tokens that a folder states beside its vocabulary."""

import pathlib
from typing import Any

import tokenizers
from tokenizers import AddedToken

from keras_transformers.files.reading import read_object
from keras_transformers.tokenizers.convert.classes import TokenizerClass
from keras_transformers.tokenizers.convert.pipelines import Options
from keras_transformers.tokenizers.special_tokens import ROLES


class Spelled(dict[str, str]):
    """How special tokens are written, by role. Asking for a role that the folder took away is an error."""

    def __missing__(self, role: str) -> str:
        raise ValueError(
            f"Expected {role} of a class that does not do without, got null. Name it in tokenizer_config.json."
        )


def special_tokens(folder: pathlib.Path, config: Options, rules: TokenizerClass | None) -> dict[str, AddedToken]:
    """The special tokens by the names in `tokenizer_config.json`, such as "pad_token".

    Those of `special_tokens_map.json` go before those of `tokenizer_config.json` (unless that lists all added tokens),
    and these before those of the class.

    Raises:
        ValueError: for a broken file, and for a token that is neither a string nor an object that holds one.
    """
    special: dict[str, AddedToken | None] = {}
    if rules is not None:
        special = {role: AddedToken(token, special=True) for role, token in rules.special.items()}
        if rules.mask_takes_space:
            special["mask_token"] = AddedToken(rules.special["mask_token"], lstrip=True, special=True)
    sources = [(folder / "tokenizer_config.json", config)]
    if "added_tokens_decoder" not in config:
        path = folder / "special_tokens_map.json"
        sources.append((path, read_object(path, missing={})))
    for path, values in sources:
        special |= {role: named_token(values[role], role, path) for role in ROLES if role in values}
    return {role: token for role, token in special.items() if token is not None}


def add_tokens(
    engine: tokenizers.Tokenizer,
    folder: pathlib.Path,
    config: Options,
    special: dict[str, AddedToken],
    marked: list[AddedToken],
) -> None:
    """Tell the engine which pieces are special, and add the tokens that the folder lists beside the vocabulary.

    `marked` are the pieces that the files of the vocabulary set apart from text.
    """
    extra = extra_tokens(folder, config) or marked
    listed = listed_tokens(folder, config, {token.content for token in [*special.values(), *extra]})
    engine.add_tokens(list(listed.values()))  # at once: the engine prepares all of them anew each time
    for i, token in listed.items():
        if (got := engine.token_to_id(token.content)) != i:
            raise ValueError(
                f"Expected the added token {token.content!r} in {folder} to have id {i}, got {got} after the "
                "vocabulary. Fetch the folder's files again."
            )
    # A class's own token that the vocabulary lacks does not exist. `Tokenizer` refuses one that the folder names.
    named = [token for token in special.values() if engine.token_to_id(token.content) is not None]
    known = {token.content for token in engine.get_added_tokens_decoder().values()}  # whose rules stay
    new: dict[str, AddedToken] = {}
    for token in named + extra:
        if token.content not in known:
            new.setdefault(token.content, token)
    engine.add_tokens(list(new.values()))


def extra_tokens(folder: pathlib.Path, config: Options) -> list[AddedToken]:
    """The special tokens without a role: those of `tokenizer_config.json`, and of `special_tokens_map.json` unless that
    lists all added tokens.

    Args:
        folder, config: as for `special_tokens`.

    Raises:
        ValueError: for a token that is neither a string nor an object that holds one.
    """
    path = folder / "tokenizer_config.json"
    stated = _listed(config.get("extra_special_tokens") or config.get("additional_special_tokens"), path)
    if "added_tokens_decoder" not in config:
        path = folder / "special_tokens_map.json"
        values = read_object(path, missing={})
        # By its older name it adds nothing to a list.
        stated += _listed(
            values.get("extra_special_tokens") or (not stated and values.get("additional_special_tokens")), path
        )
    return list({token.content: token for token in stated}.values())


def _listed(value: Any, path: pathlib.Path) -> list[AddedToken]:
    listed = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    tokens = [named_token(each, "an extra special token", path) for each in listed]
    return [token for token in tokens if token is not None]


def listed_tokens(folder: pathlib.Path, config: Options, special: set[str]) -> dict[int, AddedToken]:
    """The tokens that the folder lists beside the vocabulary, by id.

    Args:
        folder: where `added_tokens.json` may lie.
        config: the content of `tokenizer_config.json`; its `added_tokens_decoder` goes before that file.
        special: the special tokens, as they are written.

    Raises:
        ValueError: for a list that is broken.
    """
    listed = "added_tokens_decoder" in config
    path = folder / ("tokenizer_config.json" if listed else "added_tokens.json")
    tokens = config["added_tokens_decoder"] if listed else read_object(path, missing={})
    try:
        if listed:
            added = [(int(i), AddedToken(**token)) for i, token in tokens.items()]
        else:
            added = [
                (int(i), AddedToken(token, normalized=token not in special, special=token in special))
                for token, i in tokens.items()
            ]
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"Expected added tokens with their ids in {path}, got {error}. Mend the file.") from None
    return dict(sorted(added, key=lambda item: item[0]))


def named_token(value: Any, role: str, path: pathlib.Path) -> AddedToken | None:
    """A token of a string, or of an object with its rules, as Hugging Face writes them; None for None.

    Raises:
        ValueError: for another value, with its role and its file.
    """
    if value is None or isinstance(value, AddedToken):
        return value
    rules = value if isinstance(value, dict) else {"content": value}
    content = rules.get("content")
    if not isinstance(content, str) or not content or any("\ud800" <= character <= "\udfff" for character in content):
        raise ValueError(f"Expected a token as {role} in {path}, got {value!r:.200}. Mend the file.")
    flags = {name: bool(rules[name]) for name in ("lstrip", "rstrip", "single_word", "normalized") if name in rules}
    return AddedToken(rules["content"], special=True, **flags)
