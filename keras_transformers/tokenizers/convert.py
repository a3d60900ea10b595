"""Tokenizers in the older formats, made into the engine's: `vocab.txt`, `vocab.json` with `merges.txt`, and `*.model`.

Such files hold pieces and no rules. The rules (casing, accents, what is put around a text) belong to a class, which
`tokenizer_config.json` or `config.json` names: one record of `CLASSES` for each. What comes out agrees with
transformers' own tokenizers, token by token; that is how it is tested.

    class                     files                   pieces                        around a text, and two
    BERT, DistilBERT, ELECTRA vocab.txt               WordPiece                     [CLS] A [SEP]   B [SEP]
    MPNet                     vocab.txt               WordPiece                     <s> A </s>      </s> B </s>
    RoBERTa, BART             vocab.json, merges.txt  BPE of bytes                  <s> A </s>      </s> B </s>
    GPT-2, OPT                vocab.json, merges.txt  BPE of bytes                  A               B
    XLM-RoBERTa, CamemBERT    *.model                 Unigram, ids moved            <s> A </s>      </s> B </s>
    ALBERT                    *.model                 Unigram                       [CLS] A [SEP]   B [SEP]
    T5                        *.model                 Unigram, then extra ids       A </s>          B </s>
    mBART                     *.model                 Unigram, ids moved, languages A </s> en_XX    B, in front of </s>
    mBART-50                  *.model                 Unigram, ids moved, languages en_XX A </s>    B, in front of </s>
    NLLB                      *.model                 BPE, ids moved, languages     eng_Latn A </s> B, in front of </s>
    M2M100                    *.model, vocab.json     SentencePiece, then languages __en__ A </s>   B, in front of </s>
    Marian                    *.spm, vocab.json       SentencePiece, one a side     A </s>          B, in front of </s>
    Pegasus                   *.model                 Unigram, ids moved by 103     A </s>          B, in front of </s>
    ByT5                      none                    bytes, then extra ids         A </s>          B </s>
    Llama                     *.model                 BPE, and bytes                A               B
    GPT-NeoX, Qwen, CodeGen   vocab.json, merges.txt  BPE of bytes                  A               B

GPT-2 and the last two rows put start and end tokens around a text where `add_bos_token` and `add_eos_token` say so.
Languages are in `languages.py`. M2M100's and Marian's pieces are numbered by `vocab.json`, and split as in `pieces.py`.

Source: the tokenizers of transformers 5.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors

from keras_transformers.data.language_names import known_language
from keras_transformers.files.reading import read_bytes, read_object, read_text
from keras_transformers.tokenizers import pipelines
from keras_transformers.tokenizers.languages import (
    M2M100,
    MARIAN,
    MBART,
    MBART50,
    NLLB,
    NO_LANGUAGES,
    WMT21,
    LanguageRules,
)
from keras_transformers.tokenizers.pieces import NumberedPieces, PieceSplitter
from keras_transformers.tokenizers.sentencepiece_model import SentencePieceModel, merges_of, read_sentencepiece

# Hugging Face's names of the special tokens.
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

_Special = Mapping[str, str]  # role → how the token is written
_Options = dict[str, Any]  # tokenizer_config.json
_Engine = tuple[tokenizers.Tokenizer, list[AddedToken]]
_Read = Callable[[list[pathlib.Path], _Options, _Special], _Engine]


class Spelled(dict[str, str]):
    """How special tokens are written, by their roles; one that a class needs and a folder takes away is an error."""

    def __missing__(self, role: str) -> str:
        raise ValueError(
            f"Expected {role} of a class that does not do without, got null. Name it in tokenizer_config.json."
        )


@dataclasses.dataclass(frozen=True)
class TokenizerClass:
    """The rules of one class of tokenizers.

    Attributes:
        names: what `tokenizer_class` calls it, without "Fast".
        model_types: the `model_type`s of `config.json` that use it.
        files: the files that it is read from.
        read: makes the engine, of those files, the options and the special tokens, and lists the further pieces that
            the files set apart from text.
        wrap: makes what puts special tokens around a text, of the engine, the options and the special tokens.
        special: the special tokens, by Hugging Face's names, that the folder's own files may replace.
        mask_takes_space: whether a mask token includes the space in front of it.
        languages: how it writes languages.
        split_by: the SentencePiece models that split a source and a target, where `vocab.json` numbers their pieces.
        pipeline: what it does to a text, whatever `tokenizer.json` says; None where that file is not read.
    """

    names: tuple[str, ...]
    model_types: tuple[str, ...]
    files: tuple[str, ...]
    read: "_Read"
    wrap: Callable[[tokenizers.Tokenizer, _Options, _Special], processors.PostProcessor]
    special: _Special
    mask_takes_space: bool = False
    languages: LanguageRules = NO_LANGUAGES
    split_by: tuple[str, ...] = ()
    pipeline: pipelines.MakePipeline | None = None


def convert(folder: pathlib.Path, config: _Options, rules: TokenizerClass) -> tokenizers.Tokenizer:
    """Make an engine of a folder that has no `tokenizer.json`.

    Args:
        folder: with the files that one of `CLASSES` is read from.
        config: what `tokenizer_config.json` holds; empty where there is none.
        rules: what `class_of` or `class_by_files` found.

    Raises:
        FileNotFoundError: when none of the files is there, or one of two.
        ValueError: for a broken file, and special or added tokens that do not fit the vocabulary.

    Example:
    ```python
    folder = pathlib.Path("bert")  # vocab.txt and config.json
    engine = convert(folder, {}, class_of(folder, {}))
    ```
    """
    return _converted(folder, config, rules, _paths(folder, rules.files))


def _converted(
    folder: pathlib.Path, config: _Options, rules: TokenizerClass, paths: list[pathlib.Path]
) -> tokenizers.Tokenizer:
    special = {role: token for role, token in special_tokens(folder, config, rules).items() if token is not None}
    written = Spelled({role: token.content for role, token in special.items()})
    engine, marked = rules.read(paths, config, written)
    _add_tokens(engine, folder, config, special, marked)
    engine.post_processor = rules.wrap(engine, config, written)
    return engine


def numbered_pieces(
    folder: pathlib.Path, config: _Options, rules: TokenizerClass, engine: tokenizers.Tokenizer
) -> tuple[tuple[NumberedPieces, NumberedPieces], dict[str, bytes]]:
    """What splits and numbers a source and a target, for a class with `split_by`, and the files that it is read from.

    Args:
        folder, config, rules: as for `convert`.
        engine: what `convert` made of them.

    Raises:
        FileNotFoundError, ValueError: as `convert`, and a ValueError for a vocabulary of another model.
    """
    names, engines = list(rules.files), [engine, engine]
    if config.get("separate_vocabs"):
        names.append("target_vocab.json")
        paths = _paths(folder, (*rules.split_by, names[-1]))
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
        sides.append(NumberedPieces(_built([path], functools.partial(PieceSplitter, model)), each))
    return (sides[0], sides[1]), {name: read_bytes(folder / name) for name in names}


def class_of(folder: pathlib.Path, config: _Options) -> TokenizerClass | None:
    """The class that `tokenizer_config.json` (here `config`) or else `config.json` names; None for none or another.

    A `model_type` says little where a model was trained with a tokenizer of another class: it counts for nothing where
    the folder has the files of another class, and none of its own.

    Args:
        folder: where `config.json` may lie.
        config: what `tokenizer_config.json` holds; empty where there is none.
    """
    model = read_object(folder / "config.json", missing={})
    name = str(config.get("tokenizer_class") or model.get("tokenizer_class") or "").removesuffix("Fast")
    model_type = None if name else model.get("model_type")
    found = next((rules for rules in CLASSES if name in rules.names or model_type in rules.model_types), None)
    return None if found and not name and _has_files_of_another(folder, found) else found


def _has_files_of_another(folder: pathlib.Path, rules: TokenizerClass) -> bool:
    others = [each for each in CLASSES if each.files and all(any(folder.glob(pattern)) for pattern in each.files)]
    return bool(others) and not any(any(folder.glob(pattern)) for pattern in ("tokenizer.json", *rules.files))


def class_by_files(folder: pathlib.Path, config: _Options) -> TokenizerClass:
    """The class that a folder's files are of, where none is named: its special tokens are all among their pieces.

    Raises:
        FileNotFoundError: when there are no files of any class.
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
    for rules in [] if named or fitting[0].files == ("*.model",) else fitting:
        engine, _ = rules.read(_paths(folder, rules.files), config, rules.special)
        if all(engine.token_to_id(token) is not None for token in rules.special.values()):
            return rules
    known = ", ".join(name for rules in CLASSES for name in rules.names)
    raise ValueError(
        f"Expected the tokenizer in {folder} to name its class, one of {known}, got {named!r}. Write tokenizer_class "
        "in its tokenizer_config.json (or model_type in config.json), or save it as tokenizer.json with transformers."
    )


def special_tokens(
    folder: pathlib.Path, config: _Options, rules: TokenizerClass | None
) -> dict[str, "AddedToken | None"]:
    """The special tokens by Hugging Face's names: those of `special_tokens_map.json` before those of
    `tokenizer_config.json` (unless that lists all added tokens) before those of the class.

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
    return special


def _paths(folder: pathlib.Path, patterns: tuple[str, ...]) -> list[pathlib.Path]:
    paths = []
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if not found:
            raise FileNotFoundError(
                f"Expected a tokenizer's file at {folder / pattern}, got nothing there. Check the folder, or fetch it "
                "again."
            )
        if len(found) > 1:
            raise ValueError(
                f"Expected one {pattern} in {folder}, got {', '.join(path.name for path in found)}. Leave the "
                "tokenizer's own."
            )
        paths += found
    return paths


def _add_tokens(
    engine: tokenizers.Tokenizer,
    folder: pathlib.Path,
    config: _Options,
    special: dict[str, AddedToken],
    marked: list[AddedToken],
) -> None:
    """Tell the engine which pieces are special, and add the tokens that the folder lists beside the vocabulary."""
    extra = extra_tokens(folder, config) or marked
    listed = listed_tokens(folder, config, {token.content for token in [*special.values(), *extra]})
    engine.add_tokens(list(listed.values()))  # at once: the engine prepares all of them anew each time
    for i, token in listed.items():
        if (got := engine.token_to_id(token.content)) != i:
            raise ValueError(
                f"Expected the added token {token.content!r} in {folder} to have id {i}, got {got} after the "
                "vocabulary. Fetch the folder's files again."
            )
    # A class's own token that the vocabulary lacks does not exist; one that the folder names is missed by `Tokenizer`.
    named = [token for token in special.values() if engine.token_to_id(token.content) is not None]
    known = {token.content for token in engine.get_added_tokens_decoder().values()}  # whose rules stay
    new: dict[str, AddedToken] = {}
    for token in named + extra:
        if token.content not in known:
            new.setdefault(token.content, token)
    engine.add_tokens(list(new.values()))


def extra_tokens(folder: pathlib.Path, config: _Options) -> list[AddedToken]:
    """The special tokens without a role: those of `tokenizer_config.json`, and of `special_tokens_map.json` unless that
    lists all added tokens.

    Args:
        folder, config: as for `special_tokens`.

    Raises:
        ValueError: for a token that is none.
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


def listed_tokens(folder: pathlib.Path, config: _Options, special: set[str]) -> dict[int, AddedToken]:
    """The tokens that the folder lists beside the vocabulary, by their ids.

    Args:
        folder: where `added_tokens.json` may lie.
        config: what `tokenizer_config.json` holds, whose `added_tokens_decoder` goes before that.
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
    """A token, from how Hugging Face writes it: a string, or an object with its rules."""
    if value is None or isinstance(value, AddedToken):
        return value
    rules = value if isinstance(value, dict) else {"content": value}
    content = rules.get("content")
    if not isinstance(content, str) or not content or any("\ud800" <= character <= "\udfff" for character in content):
        raise ValueError(f"Expected a token as {role} in {path}, got {value!r:.200}. Mend the file.")
    flags = {name: bool(rules[name]) for name in ("lstrip", "rstrip", "single_word", "normalized") if name in rules}
    return AddedToken(rules["content"], special=True, **flags)


def _built(paths: list[pathlib.Path], build: Callable[[], Any]) -> Any:
    """What `build` makes of the files; the engine raises plain `Exception`s."""
    try:
        return build()
    except Exception as error:
        raise ValueError(
            f"Expected a tokenizer in {' and '.join(map(str, paths))}, got a broken or truncated file ({error}). Fetch "
            "it again."
        ) from None


def _word_piece(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
    read_text(paths[0])
    vocabulary = _built(paths, lambda: models.WordPiece.read_file(str(paths[0])))
    engine = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=special["unk_token"]))
    pipelines.word_piece(options, special).put_on(engine)
    return engine, []


def _byte_pairs(pipeline: pipelines.MakePipeline) -> _Read:
    """A reader of BPE models of bytes, of what a class does to a text."""

    def read(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
        model = _built(paths, lambda: models.BPE(*models.BPE.read_file(*map(str, paths)), **_NO_AFFIXES))
        engine = tokenizers.Tokenizer(model)
        pipeline(options, special, b"").put_on(engine)
        return engine, []

    return read


def _no_conversion(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
    raise ValueError(
        f"Expected tokenizer.json for a {options.get('tokenizer_class')}, got older files alone. Open them with "
        "transformers, and save them."
    )


_NO_AFFIXES: dict[str, Any] = {"continuing_subword_prefix": "", "end_of_word_suffix": ""}


def _sentencepiece(paths: list[pathlib.Path], algorithm: str) -> SentencePieceModel:
    model = read_sentencepiece(paths[0])
    if model.algorithm != algorithm:
        raise ValueError(
            f"Expected a {algorithm} model in {paths[0]} for this class of tokenizers, got {model.algorithm}. Check "
            "tokenizer_class in tokenizer_config.json."
        )
    return model


def _unigram(
    pieces: Callable[[list[tuple[str, float]], _Options, _Special], list[tuple[str, float]]],
    pipeline: pipelines.MakePipeline,
) -> _Read:
    """A reader of Unigram models, of how a class numbers the pieces and what it does to a text.

    Args:
        pieces: of the model's pieces, the options and the special tokens, the pieces by their numbers.
        pipeline: the class's.
    """

    def read(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
        model = _sentencepiece(paths, "unigram")
        numbered = pieces(list(model.pieces), options, special)
        unknown = next((i for i, (piece, _) in enumerate(numbered) if piece == special["unk_token"]), None)
        if unknown is None:
            raise ValueError(
                f"Expected the unknown token {special['unk_token']!r} among the pieces in {paths[0]}, got none such. "
                "Name the model's own as unk_token in tokenizer_config.json."
            )
        engine = tokenizers.Tokenizer(models.Unigram(numbered, unk_id=unknown, byte_fallback=False))
        _built(paths, lambda: pipeline(options, special, model.character_map).put_on(engine))
        return engine, _marked(model)

    return read


def _marked(model: SentencePieceModel) -> list[AddedToken]:
    """The pieces that a SentencePiece model itself sets apart."""
    return [AddedToken(piece, special=True) for piece in model.control] + [
        AddedToken(piece, normalized=False) for piece in model.user_defined
    ]


def _fairseq_pieces(pieces, options, special, codes=()):
    # fairseq's own four come first; SentencePiece's first three are unknown, start and end.
    first = [
        special.get("bos_token", special["cls_token"]),
        *(special[role] for role in ("pad_token", "eos_token", "unk_token")),
    ]
    last = [*codes, special["mask_token"]]
    return [*((token, 0.0) for token in first), *pieces[3:], *((token, 0.0) for token in last)]


def _with_languages(rules: LanguageRules, pipeline: pipelines.MakePipeline) -> _Read:
    """A reader of mBART's models, whose languages stand behind the pieces."""
    read = _unigram(functools.partial(_fairseq_pieces, codes=rules.codes), pipeline)

    def read_with_languages(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
        engine, marked = read(paths, options, special)
        engine.add_special_tokens(list(rules.codes))
        return engine, marked

    return read_with_languages


def _nllb(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
    model = _sentencepiece(paths, "bpe")
    first = [special[role] for role in ("bos_token", "pad_token", "eos_token", "unk_token")]
    ids = {piece: i for i, piece in enumerate(dict.fromkeys([*first, *(piece for piece, _ in model.pieces)]))}
    merges = merges_of(piece for piece, _ in model.pieces)
    engine = tokenizers.Tokenizer(models.BPE(ids, merges, unk_token=special["unk_token"], fuse_unk=True))
    _built(paths, lambda: pipelines.nllb(options, special, model.character_map).put_on(engine))
    if "added_tokens_decoder" not in options:
        engine.add_special_tokens([*NLLB.codes, AddedToken(special["mask_token"], lstrip=True, special=True)])
    return engine, _marked(model)


def _numbered(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
    """The vocabulary that numbers the pieces of SentencePiece models, which stand before it in `paths`."""
    path, vocabulary = paths[-1], read_object(paths[-1])
    if sorted(vocabulary.values(), key=str) != sorted(range(len(vocabulary)), key=str):
        raise ValueError(
            f"Expected in {path} the ids 0 to {len(vocabulary) - 1}, each of one piece, got others. Fetch it again."
        )
    if special["unk_token"] not in vocabulary:
        raise ValueError(
            f"Expected the unknown token {special['unk_token']!r} in {path}, got none such. Name the vocabulary's own "
            "as unk_token in tokenizer_config.json."
        )
    engine = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=special["unk_token"]))
    engine.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return engine, []


def _m2m100(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
    engine, marked = _numbered(paths, options, special)
    rules = WMT21 if options.get("language_codes") == "wmt21" else M2M100
    engine.add_special_tokens([rules.token.format(code) for code in rules.codes])
    return engine, marked


def _marian(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
    engine, marked = _numbered(paths, options, special)
    found = MARIAN.languages(engine.get_vocab().items())
    engine.add_special_tokens([MARIAN.token.format(code.strip("<>")) for code in found])
    return engine, marked


def _pegasus(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
    # What stood for whole sentences and for words in pre-training, and 101 that never came to be used.
    sentence, unused = options.get("mask_token_sent", "<mask_1>"), range(2, options.get("offset", 103))
    extra = [*([sentence] if sentence else []), *(f"<unk_{i}>" for i in unused)]

    def pieces(pieces, options, special):
        masks = [token for token in (sentence, special.get("mask_token")) if token]
        first = [special["pad_token"], special["eos_token"], *masks]
        return [*((token, 0.0) for token in first), *((f"<unk_{i}>", -100.0) for i in unused), *pieces[2:]]

    engine, marked = _unigram(pieces, _PEGASUS)(paths, options, special)
    return engine, marked + [AddedToken(token, special=True) for token in extra]


def _byt5(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
    # How the engine writes each of the 256 bytes: itself where it can be seen, else a character from 256 on.
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    written = {byte: chr(byte) for byte in seen}
    written |= {byte: chr(256 + i) for i, byte in enumerate(byte for byte in range(256) if byte not in written)}
    pieces = [special[role] for role in ("pad_token", "eos_token", "unk_token")] + [written[i] for i in range(256)]
    engine = tokenizers.Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, []))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    engine.decoder = decoders.ByteLevel()
    return engine, [AddedToken(f"<extra_id_{i}>", special=True) for i in range(options.get("extra_ids", 125))]


def _camembert_pieces(pieces, options, special):
    first = [("<s>NOTUSED", 0.0), (special["pad_token"], 0.0), ("</s>NOTUSED", 0.0), (special["unk_token"], 0.0)]
    return [*first, ("<unk>NOTUSED", -100.0), *pieces[1:], (special["mask_token"], 0.0)]


def _t5(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
    extra = [f"<extra_id_{i}>" for i in reversed(range(options.get("extra_ids", 100)))]
    read = _unigram(lambda pieces, *_: [*pieces, *((piece, 0.0) for piece in extra)], _WORDS)
    engine, marked = read(paths, options, special)
    return engine, marked + [AddedToken(piece, special=True) for piece in extra]


def _llama(paths: list[pathlib.Path], options: _Options, special: _Special) -> _Engine:
    model = _sentencepiece(paths, "bpe")
    ids = {piece: i for i, (piece, _) in enumerate(model.pieces)}
    engine = tokenizers.Tokenizer(models.BPE(ids, merges_of(list(ids)), fuse_unk=True, byte_fallback=True))
    pipelines.spaces(options, special).put_on(engine)
    return engine, _marked(model)


def _around(single: str, pair: str) -> Callable[[tokenizers.Tokenizer, _Options, _Special], processors.PostProcessor]:
    """What puts special tokens around, of templates like "cls_token:0 $A:0 sep_token:0"."""

    def wrap(engine: tokenizers.Tokenizer, options: _Options, special: _Special) -> processors.PostProcessor:
        roles = sorted({part.split(":")[0] for part in f"{single} {pair}".split()} - {"$A", "$B"})
        ids = _ids(engine, special, roles)

        def filled(template: str) -> list[str]:
            parts = (part.split(":") for part in template.split())
            return [f"{special.get(name, name)}:{segment}" for name, segment in parts]

        return processors.TemplateProcessing(
            single=filled(single), pair=filled(pair), special_tokens=[(special[role], ids[role]) for role in roles]
        )

    return wrap


def _around_like_roberta(
    engine: tokenizers.Tokenizer, options: _Options, special: _Special
) -> processors.PostProcessor:
    ids = _ids(engine, special, ["sep_token", "cls_token"])
    return processors.RobertaProcessing(
        (special["sep_token"], ids["sep_token"]),
        (special["cls_token"], ids["cls_token"]),
        options.get("trim_offsets", True),
        options.get("add_prefix_space", False),
    )


def _around_language(
    rules: LanguageRules,
) -> Callable[[tokenizers.Tokenizer, _Options, _Special], processors.PostProcessor]:
    """What puts end token and source language around a text, or around two in a row."""

    def wrap(engine: tokenizers.Tokenizer, options: _Options, special: _Special) -> processors.PostProcessor:
        own = rules.chosen(options)
        added = engine.get_added_tokens_decoder().items()
        known = own.languages((token.content, i) for i, token in added)
        code = known_language("src_lang in tokenizer_config.json", options.get("src_lang") or own.default, known)
        token = own.token.format(code)
        parts = {"language": "language:0", "text": "$A:0", "end": "eos_token:0"}
        single = " ".join(parts[part] for part in own.source)
        around = _around(single, single.replace("$A:0", "$A:0 $B:0"))
        return around(engine, options, {**special, "language": token})

    return wrap


def around_as_asked(engine: tokenizers.Tokenizer, options: _Options, special: _Special) -> processors.PostProcessor:
    """What puts the start token in front of a text, and the end token behind it, where `options` ask for them by
    `add_bos_token` and `add_eos_token`, and `special` has them."""
    start = "bos_token:{0} " if options.get("add_bos_token") and "bos_token" in special else ""
    end = " eos_token:{0}" if options.get("add_eos_token") and "eos_token" in special else ""
    first, second = ((start + text + end).format(i) for i, text in enumerate(("$A:{0}", "$B:{0}")))
    return _around(first, f"{first} {second}")(engine, options, special)


def _ids(engine: tokenizers.Tokenizer, special: _Special, roles: list[str]) -> dict[str, int]:
    ids = {role: engine.token_to_id(special[role]) for role in roles if role in special}
    missing = ", ".join(f"{role}={special.get(role)!r}" for role in roles if ids.get(role) is None)
    if missing:
        raise ValueError(
            f"Expected the special tokens that this class of tokenizers puts around a text in the vocabulary, got "
            f"{missing}, which it lacks. Name the vocabulary's own in tokenizer_config.json, or mend the vocabulary."
        )
    return {role: i for role, i in ids.items() if i is not None}


_SQUARE = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_ANGLE = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
_ALBERT = {**_SQUARE, "bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "<unk>", "pad_token": "<pad>"}
_END_OF_TEXT = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")

_SEGMENTS = _around("cls_token:0 $A:0 sep_token:0", "cls_token:0 $A:0 sep_token:0 $B:1 sep_token:1")
_TWO_ENDS = _around("bos_token:0 $A:0 eos_token:0", "bos_token:0 $A:0 eos_token:0 eos_token:0 $B:0 eos_token:0")
_ENDS = _around("$A:0 eos_token:0", "$A:0 eos_token:0 $B:0 eos_token:0")

_END = _around("$A:0 eos_token:0", "$A:0 $B:0 eos_token:0")

_WORDS = pipelines.unigram()
_PREFIXED = pipelines.unigram(may_lack_prefix=True)
_ALBERT_WORDS = pipelines.unigram(pipelines.albert_steps, may_lack_prefix=True)
_PEGASUS = pipelines.unigram(splits_at_any_space=False, without_characters=pipelines.ONE_LINE)
_MBART = pipelines.unigram(maps_characters=False)
_MBART50 = pipelines.unigram(splits_at_any_space=False)

_BPE = ("vocab.json", "merges.txt")
_THREE = {role: _ANGLE[role] for role in ("eos_token", "unk_token", "pad_token")}

CLASSES = (
    TokenizerClass(
        names=("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"),
        model_types=("bert", "distilbert", "electra"),
        files=("vocab.txt",),
        read=_word_piece,
        pipeline=pipelines.word_piece,
        wrap=_SEGMENTS,
        special=_SQUARE,
    ),
    TokenizerClass(
        names=("MPNetTokenizer",),
        model_types=("mpnet",),
        files=("vocab.txt",),
        read=_word_piece,
        pipeline=pipelines.word_piece,
        wrap=_around_like_roberta,
        special={**_ANGLE, "unk_token": "[UNK]"},
        mask_takes_space=True,
    ),
    TokenizerClass(
        names=("RobertaTokenizer", "BartTokenizer"),
        model_types=("roberta", "bart"),
        files=_BPE,
        read=_byte_pairs(pipelines.byte_level),
        pipeline=pipelines.byte_level,
        wrap=_around_like_roberta,
        special=_ANGLE,
    ),
    TokenizerClass(
        names=("GPT2Tokenizer",),
        model_types=("gpt2", "opt", "gptj", "phi"),
        files=_BPE,
        read=_byte_pairs(pipelines.byte_level),
        pipeline=pipelines.byte_level,
        wrap=around_as_asked,
        special=_END_OF_TEXT,
    ),
    TokenizerClass(
        names=("XLMRobertaTokenizer",),
        model_types=("xlm-roberta",),
        files=("*.model",),
        read=_unigram(_fairseq_pieces, _PREFIXED),
        pipeline=_PREFIXED,
        wrap=_TWO_ENDS,
        special=_ANGLE,
    ),
    TokenizerClass(
        names=("CamembertTokenizer",),
        model_types=("camembert",),
        files=("*.model",),
        read=_unigram(_camembert_pieces, _PREFIXED),
        pipeline=_PREFIXED,
        wrap=_TWO_ENDS,
        special=_ANGLE,
        mask_takes_space=True,
    ),
    TokenizerClass(
        names=("AlbertTokenizer",),
        model_types=("albert",),
        files=("*.model",),
        read=_unigram(lambda pieces, options, special: pieces, _ALBERT_WORDS),
        pipeline=_ALBERT_WORDS,
        wrap=_SEGMENTS,
        special=_ALBERT,
    ),
    TokenizerClass(
        names=("T5Tokenizer", "MT5Tokenizer"),
        model_types=("t5", "mt5", "umt5"),
        files=("*.model",),
        read=_t5,
        pipeline=_WORDS,
        wrap=_ENDS,
        special=_THREE,
    ),
    TokenizerClass(
        names=("ByT5Tokenizer",),
        model_types=(),
        files=(),
        read=_byt5,
        wrap=_ENDS,
        special=_THREE,
    ),
    TokenizerClass(
        names=("PegasusTokenizer",),
        model_types=("pegasus",),
        files=("*.model",),
        read=_pegasus,
        pipeline=_PEGASUS,
        wrap=_END,
        special={**_THREE, "mask_token": "<mask_2>"},
    ),
    TokenizerClass(
        names=("MBartTokenizer",),
        model_types=("mbart",),
        files=("*.model",),
        read=_with_languages(MBART, _MBART),
        pipeline=_MBART,
        wrap=_around_language(MBART),
        special=_ANGLE,
        mask_takes_space=True,
        languages=MBART,
    ),
    TokenizerClass(
        names=("MBart50Tokenizer",),
        model_types=(),
        files=("*.model",),
        read=_with_languages(MBART50, _MBART50),
        pipeline=_MBART50,
        wrap=_around_language(MBART50),
        special={role: token for role, token in _ANGLE.items() if role != "bos_token"},
        mask_takes_space=True,
        languages=MBART50,
    ),
    TokenizerClass(
        names=("NllbTokenizer",),
        model_types=(),
        files=("*.model",),
        read=_nllb,
        pipeline=pipelines.nllb,
        wrap=_around_language(NLLB),
        special=_ANGLE,
        mask_takes_space=True,
        languages=NLLB,
    ),
    TokenizerClass(
        names=("M2M100Tokenizer",),
        model_types=("m2m_100",),
        files=("sentencepiece.bpe.model", "vocab.json"),
        read=_m2m100,
        wrap=_around_language(M2M100),
        special={role: _ANGLE[role] for role in ("bos_token", "eos_token", "sep_token", "pad_token", "unk_token")},
        languages=M2M100,
        split_by=("sentencepiece.bpe.model", "sentencepiece.bpe.model"),
    ),
    TokenizerClass(
        names=("MarianTokenizer",),
        model_types=("marian",),
        files=("source.spm", "target.spm", "vocab.json"),
        read=_marian,
        wrap=_END,
        special=_THREE,
        languages=MARIAN,
        split_by=("source.spm", "target.spm"),
    ),
    TokenizerClass(
        names=("LlamaTokenizer",),
        model_types=("llama",),
        files=("*.model",),
        read=_llama,
        pipeline=pipelines.spaces,
        wrap=around_as_asked,
        special={role: _ANGLE[role] for role in ("bos_token", "eos_token", "unk_token")},
    ),
    TokenizerClass(
        names=("CodeGenTokenizer",),
        model_types=(),
        files=_BPE,
        read=_byte_pairs(pipelines.byte_level),
        pipeline=pipelines.byte_level,
        wrap=around_as_asked,
        special=_END_OF_TEXT,
    ),
    TokenizerClass(
        names=("GPTNeoXTokenizer",),
        model_types=("gpt_neox",),
        files=_BPE,
        read=_byte_pairs(pipelines.gpt_neox),
        pipeline=pipelines.gpt_neox,
        wrap=around_as_asked,
        special={**_END_OF_TEXT, "pad_token": "<|padding|>"},
    ),
    TokenizerClass(
        names=("Qwen2Tokenizer",),
        model_types=("qwen2", "qwen3", "qwen3_moe"),
        files=_BPE,
        read=_byte_pairs(pipelines.qwen),
        pipeline=pipelines.qwen,
        wrap=around_as_asked,
        special=dict.fromkeys(("eos_token", "unk_token", "pad_token"), "<|endoftext|>"),
    ),
    TokenizerClass(
        names=("GemmaTokenizer",),
        model_types=("gemma", "gemma2", "gemma3_text"),
        files=(),
        read=_no_conversion,
        pipeline=pipelines.gemma,
        wrap=around_as_asked,
        special={
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "mask_token": "<mask>",
        },
    ),
    TokenizerClass(
        names=("CodeLlamaTokenizer",),
        model_types=(),
        files=(),
        read=_no_conversion,
        pipeline=pipelines.code_llama,
        wrap=around_as_asked,
        special={role: _ANGLE[role] for role in ("bos_token", "eos_token", "unk_token")},
    ),
)
