"""The content of the files of a tokenizer: a folder of ours, of Hugging Face or of KerasHub, or a GGUF file."""

import dataclasses
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

import tokenizers

from keras_transformers.callers import outside
from keras_transformers.files import marian_folder
from keras_transformers.files.gguf import GGUF, GGUFFile
from keras_transformers.files.git_lfs import refuse_pointers
from keras_transformers.files.reading import is_plain, read_bytes
from keras_transformers.tokenizers.chat.templates import template_files
from keras_transformers.tokenizers.convert import marian_folders
from keras_transformers.tokenizers.convert.added_tokens import special_tokens
from keras_transformers.tokenizers.convert.agreement import agreed, class_in_transformers, passed_over, rules_named
from keras_transformers.tokenizers.convert.classes import TokenizerClass
from keras_transformers.tokenizers.convert.folders import class_by_files, class_of, convert, numbered_pieces
from keras_transformers.tokenizers.convert.gguf import read_gguf
from keras_transformers.tokenizers.convert.keras_hub import read_keras_hub
from keras_transformers.tokenizers.convert.numbered_pieces import NumberedPieces
from keras_transformers.tokenizers.convert.options import read_options
from keras_transformers.tokenizers.engine import read_engine
from keras_transformers.tokenizers.languages import NO_LANGUAGES, LanguageRules
from keras_transformers.tokenizers.saving import TARGET_FILE
from keras_transformers.tokenizers.special_tokens import SpecialTokens


@dataclasses.dataclass(frozen=True)
class Loaded:
    """The content of the files of a tokenizer.

    Attributes:
        engine: of `tokenizer.json`, or made of older files.
        special_tokens: how they are written.
        options: `tokenizer_config.json`.
        content: `tokenizer.json`, byte by byte; None if there is none.
        rules: of the languages, if the class has any; None if they show in the special tokens.
        sides: split and number a source and a target, if the engine splits no text; or None.
        side_files: the files of these, by name.
        template_files: those with chat templates, by name.
        target: the engine of the second vocabulary and its file, or None.
    """

    engine: tokenizers.Tokenizer
    special_tokens: SpecialTokens
    options: dict[str, Any]
    content: bytes | None = None
    rules: LanguageRules | None = None
    sides: tuple[NumberedPieces, NumberedPieces] | None = None
    side_files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    template_files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    target: tuple[tokenizers.Tokenizer, bytes] | None = None


def load(folder: pathlib.Path) -> Loaded:
    """Read a folder, or a GGUF file. The errors are those of `Tokenizer.load`.

    A folder has `tokenizer.json`, with its special tokens in `tokenizer_config.json` or `special_tokens_map.json`.
    Without it, the older formats are converted by the rules of the class that `tokenizer_config.json` or `config.json`
    names: see `convert.classes.CLASSES`. In a preset of KerasHub, `tokenizer.json` names a class: see
    `convert/keras_hub.py`. The metadata of a GGUF file describe a tokenizer: see `convert/gguf.py`. A folder of Marian
    has SentencePiece models, and one such `.spm` file is both of its vocabularies: see `convert/marian_folders.py`.
    """
    refuse_pointers(folder)
    if folder.suffix == GGUF:
        engine, options = read_gguf(GGUFFile(folder))
        return Loaded(engine, SpecialTokens.of_roles(options), _named(None, options))
    if folder.suffix == marian_folder.SENTENCEPIECE and is_plain(folder):
        alone = marian_folder.MarianFolder(folder, folder, (folder, folder))
        with marian_folders.written(marian_folders.as_marian_tokenizer(alone)) as converted:
            return load(pathlib.Path(converted))
    if marian_folder.is_marian(folder):
        with marian_folders.written(marian_folders.as_marian_tokenizer(marian_folder.find(folder))) as converted:
            return load(pathlib.Path(converted))
    options = read_options(folder)
    rules, path = class_of(folder, options), folder / "tokenizer.json"
    keras_hub = read_keras_hub(path)
    if keras_hub is not None:
        folder, options, rules = keras_hub
        path = folder / path.name  # which is not there
    if is_plain(path) and not _passed_over(path, rules):
        engine, values = read_engine(path)
        loaded = Loaded(
            agreed(folder, options, engine, values), SpecialTokens(), _named(rules, options), content=read_bytes(path)
        )
        named = rules_named(class_in_transformers(folder, options, values))
    else:
        named = rules = rules or class_by_files(folder, options)
        engine = convert(folder, options, rules)
        loaded = Loaded(engine, SpecialTokens(), _named(rules, options))
        if rules.split_by:
            sides, side_files = numbered_pieces(folder, options, rules, engine)
            loaded = dataclasses.replace(loaded, sides=sides, side_files=side_files)
    target = folder / TARGET_FILE
    return dataclasses.replace(
        loaded,
        special_tokens=_special_tokens(folder, options, named, loaded.engine),
        rules=rules.languages.chosen(options) if rules and rules.languages is not NO_LANGUAGES else None,
        template_files=template_files(folder, options),
        target=(read_engine(target)[0], read_bytes(target)) if is_plain(target) else None,
    )


def _named(rules: TokenizerClass | None, options: dict[str, Any]) -> dict[str, Any]:
    """The options, with the class that is read if they name none."""
    return {"tokenizer_class": rules.names[0] if rules else "PreTrainedTokenizerFast"} | options


def _passed_over(path: pathlib.Path, rules: TokenizerClass | None) -> bool:
    """Whether `tokenizer.json` does not count, which is said."""
    if rules is None or not passed_over(path.parent, rules):
        return False
    warnings.warn(
        f"{path} is passed over: {rules.names[0]} reads the SentencePiece models beside it, as in transformers.",
        stacklevel=outside(),
    )
    return True


def _special_tokens(
    folder: pathlib.Path, options: dict[str, Any], rules: TokenizerClass | None, engine: tokenizers.Tokenizer
) -> SpecialTokens:
    """A class's own tokens count if the vocabulary has them; those that the folder states must be there."""
    special = {
        role: token
        for role, token in special_tokens(folder, options, rules).items()
        if token is not None and engine.token_to_id(token.content) is not None
    } | special_tokens(folder, options, None)
    return SpecialTokens.of_roles({role: token and token.content for role, token in special.items()})
