"""A folder without `tokenizer.json`: whose class its files are, and the engine that they make."""

import functools
import pathlib

import tokenizers

from keras_transformers.files.reading import read_bytes, read_object
from keras_transformers.tokenizers.convert.added_tokens import Spelled, add_tokens, special_tokens
from keras_transformers.tokenizers.convert.classes import CLASSES, TokenizerClass
from keras_transformers.tokenizers.convert.numbered_pieces import NumberedPieces, PieceSplitter
from keras_transformers.tokenizers.convert.pipelines import Options
from keras_transformers.tokenizers.convert.readers import built, paths_of
from keras_transformers.tokenizers.convert.sentencepiece_model import read_sentencepiece
from keras_transformers.tokenizers.convert.word_piece import jieba


def convert(folder: pathlib.Path, config: Options, rules: TokenizerClass) -> tokenizers.Tokenizer:
    """Make an engine of a folder that has no `tokenizer.json`.

    Args:
        folder: with the files that one of `CLASSES` is read from.
        config: the content of `tokenizer_config.json`; empty if there is none.
        rules: of the class that `class_of` or `class_by_files` found.

    Raises:
        FileNotFoundError: if none of the files is there, or one of two.
        ValueError: for a broken file, and special or added tokens that do not fit the vocabulary.

    Example:
    ```python
    folder = pathlib.Path("bert")  # vocab.txt and config.json
    engine = convert(folder, {}, class_of(folder, {}))
    ```
    """
    return _converted(folder, config, rules, paths_of(folder, rules.files))


def _converted(
    folder: pathlib.Path, config: Options, rules: TokenizerClass, paths: list[pathlib.Path]
) -> tokenizers.Tokenizer:
    special = special_tokens(folder, config, rules)
    written = Spelled({role: token.content for role, token in special.items()})
    engine, marked = rules.read(paths, config, written)
    add_tokens(engine, folder, config, special, marked)
    engine.post_processor = rules.wrap(engine, config, written)
    return engine


def numbered_pieces(
    folder: pathlib.Path, config: Options, rules: TokenizerClass, engine: tokenizers.Tokenizer
) -> tuple[tuple[NumberedPieces, NumberedPieces], dict[str, bytes]]:
    """The vocabularies of a source and a target, for a class with `split_by`, and the files that they are read from.

    Args:
        folder, config, rules: as for `convert`.
        engine: made of them by `convert`.

    Raises:
        FileNotFoundError, ValueError: as `convert`, and a ValueError for a vocabulary of another model.
    """
    names, engines = list(rules.files), [engine, engine]
    if config.get("separate_vocabs"):
        names.append("target_vocab.json")
        paths = paths_of(folder, (*rules.split_by, names[-1]))
        engines[1] = _converted(folder, config, rules, paths)
    sides = []
    for name, vocabulary, each in zip(rules.split_by, ("vocab.json", names[-1]), engines, strict=True):
        path = folder / name
        model = read_sentencepiece(path)
        known = each.get_vocab()
        pieces = [piece for piece, _ in model.pieces if piece not in model.textless]
        missing = [piece for piece in pieces if piece not in known]
        if 2 * len(missing) > len(pieces):
            raise ValueError(
                f"Expected in {folder / vocabulary} the pieces of {path}, got a vocabulary that lacks {len(missing)} "
                f"of {len(pieces)}, such as {missing[0]!r}. Fetch the two of one model."
            )
        sides.append(NumberedPieces(built([path], functools.partial(PieceSplitter, model)), each))
    return (sides[0], sides[1]), {name: read_bytes(folder / name) for name in names}


def class_of(folder: pathlib.Path, config: Options) -> TokenizerClass | None:
    """The class that `tokenizer_config.json` (here `config`) or else `config.json` names; None for none or another.

    A `model_type` says little if a model was trained with a tokenizer of another class: it counts for nothing if the
    folder has the files of another class, and none of its own.

    Args:
        folder: where `config.json` may lie.
        config: the content of `tokenizer_config.json`; empty if there is none.
    """
    model = read_object(folder / "config.json", missing={})
    name = str(config.get("tokenizer_class") or model.get("tokenizer_class") or "").removesuffix("Fast")
    model_type = None if name else model.get("model_type")
    found = next((rules for rules in CLASSES if name in rules.names or model_type in rules.model_types), None)
    return None if found and not name and _has_files_of_another(folder, found) else found


def _has_files_of_another(folder: pathlib.Path, rules: TokenizerClass) -> bool:
    others = [each for each in CLASSES if each.files and all(any(folder.glob(pattern)) for pattern in each.files)]
    return bool(others) and not any(any(folder.glob(pattern)) for pattern in ("tokenizer.json", *rules.files))


def class_by_files(folder: pathlib.Path, config: Options) -> TokenizerClass:
    """The class of a folder's files, if none is named: the class whose special tokens are all among the pieces.

    Raises:
        FileNotFoundError: if there are no files of any class.
        ValueError: for the files of a named class that is not known, and those that do not tell: a SentencePiece model
            does not say how a class numbers its pieces.
    """
    fitting = [rules for rules in CLASSES if rules.files and all(any(folder.glob(name)) for name in rules.files)]
    if not fitting:
        raise FileNotFoundError(
            f"Expected a tokenizer's file at {folder / 'tokenizer.json'}, got nothing there, nor vocab.txt, vocab.json "
            "with merges.txt, or one *.model. Check the folder, or fetch it again."
        )
    named = config.get("tokenizer_class")
    # a class that splits words by jieba is refused, by its name alone
    fitting = [rules for rules in fitting if rules.read is not jieba]
    for rules in [] if named or fitting[0].files == ("*.model",) else fitting:
        engine, _ = rules.read(paths_of(folder, rules.files), config, rules.special)
        if all(engine.token_to_id(token) is not None for token in rules.special.values()):
            return rules
    known = ", ".join(name for rules in CLASSES for name in rules.names)
    raise ValueError(
        f"Expected the tokenizer in {folder} to name its class, one of {known}, got {named!r}. Write tokenizer_class "
        "in its tokenizer_config.json (or model_type in config.json), or save it as tokenizer.json with transformers."
    )
