"""A `tokenizer.json` and the other files of its folder: which of them counts if they disagree.

Transformers reads them so, and so do we. If another file changes the tokens of a text, a warning says it.

    question                                the answer is taken from
    how a text is split into pieces         the class and its options in tokenizer_config.json, if the class makes its
                                            own pipeline (`classes.CLASSES`); else tokenizer.json
    which tokens stand around a text        the class, for BERT, RoBERTa, T5, …; else tokenizer.json, not
                                            add_bos_token and add_eos_token; none if that says nothing
    added tokens and their rules            added_tokens_decoder, else added_tokens.json, over tokenizer.json
    special tokens                          special_tokens_map.json over tokenizer_config.json, unless that has
                                            added_tokens_decoder

Source: `AutoTokenizer` and `TokenizersBackend` of transformers 5.
"""

import pathlib
import warnings
from collections.abc import Iterable
from typing import Any

import tokenizers
from tokenizers import AddedToken, models, processors

from keras_transformers.callers import outside
from keras_transformers.files.reading import read_object
from keras_transformers.tokenizers.convert.added_tokens import (
    Spelled,
    extra_tokens,
    listed_tokens,
    named_token,
    special_tokens,
)
from keras_transformers.tokenizers.convert.classes import CLASSES, TokenizerClass
from keras_transformers.tokenizers.convert.options import CONFIG_FILE
from keras_transformers.tokenizers.convert.pipelines import Pipeline, characters_of, state
from keras_transformers.tokenizers.engine import PARTS, guarded, parts_of
from keras_transformers.tokenizers.special_tokens import ROLES

# A `tokenizer.json` of these counts as it is, whatever class is named: their files are known to name a wrong one.
AS_IT_IS = ("mistral", "mixtral", "modernbert", "olmo2", "olmo3", "phi3", "umt5", "xlm-roberta-xl")
# model_type → the class that transformers makes if no file names one. Others take tokenizer.json as it is.
REGISTERED = {
    model_type: rules.names[0]
    for rules in CLASSES
    for model_type in rules.model_types
    if model_type not in ("llama", *AS_IT_IS)
}
# Their files are known to name a wrong class; the registered one counts.
MISNAMED = ("qwen2",)
# Classes that put their own tokens around a text (GPT-NeoX: none); others leave that to tokenizer.json.
_WRAPPING = (
    *(
        "BartTokenizer",
        "BertTokenizer",
        "BigBirdTokenizer",
        "CamembertTokenizer",
        "DistilBertTokenizer",
        "ElectraTokenizer",
    ),
    *("DebertaTokenizer", "DebertaV2Tokenizer", "MobileBertTokenizer"),
    *("MBart50Tokenizer", "MBartTokenizer", "MPNetTokenizer", "NllbTokenizer", "PegasusTokenizer"),
    *(
        "GPTNeoXTokenizer",
        "RemBertTokenizer",
        "RobertaTokenizer",
        "T5Tokenizer",
        "XLMRobertaTokenizer",
        "XLNetTokenizer",
    ),
)
_TELLING = (
    "Paris in France, Zoë's naïve İstanbul cafés.",
    " two  spaces\tand\nlines ",
    "東京 in 2024, 1234.5!",
    "ﬁ ½ ① Ａ e\u0301 ``x''",
    "don't I'm they'll",
)


def class_in_transformers(folder: pathlib.Path, config: dict[str, Any], values: dict[str, Any]) -> str | None:
    """The class that transformers makes of a folder with a `tokenizer.json`; None if it takes that file as it is.

    Args:
        folder: where `config.json` may lie.
        config: the content of `tokenizer_config.json`.
        values: the content of `tokenizer.json`.
    """
    model = read_object(folder / "config.json", missing={})
    declared = str(config.get("tokenizer_class") or model.get("tokenizer_class") or "").removesuffix("Fast")
    model_type = model.get("model_type") if isinstance(model.get("model_type"), str) else None
    registered = REGISTERED.get(str(model_type))
    if "auto_map" in config or not declared:
        return None if "auto_map" in config else registered
    if model_type in AS_IT_IS or (
        declared == "LlamaTokenizer" and model_type not in MISNAMED and _is_byte_level(values)
    ):
        return None
    return registered if model_type in MISNAMED and declared != registered else declared


def _is_byte_level(values: dict[str, Any]) -> bool:
    """Whether a `tokenizer.json` reads or writes bytes, as that of Llama 3 does and a `LlamaTokenizer` does not."""
    return any(part.get("type") == "ByteLevel" for name in PARTS for part in parts_of(values.get(name)))


def passed_over(folder: pathlib.Path, rules: TokenizerClass | None) -> bool:
    """Whether a folder's `tokenizer.json` does not count: Marian and M2M100 read their own files if they are there."""
    return rules is not None and bool(rules.split_by) and all((folder / name).is_file() for name in rules.files)


def rules_named(name: str | None) -> TokenizerClass | None:
    """The class of that name, if it makes its own pipeline."""
    return next((rules for rules in CLASSES if name in rules.names and rules.pipeline), None)


def agreed(
    folder: pathlib.Path, config: dict[str, Any], engine: tokenizers.Tokenizer, values: dict[str, Any]
) -> tokenizers.Tokenizer:
    """An engine as the files of its folder together mean it; `engine` itself if they agree.

    Args:
        folder: with `tokenizer.json`.
        config: the content of `tokenizer_config.json`.
        engine: made of `tokenizer.json`.
        values: the content of `tokenizer.json`.

    Raises:
        ValueError: if they contradict each other so that no tokenizer follows.
    """
    _compare_special(folder, config)
    name = class_in_transformers(folder, config, values)
    rules = rules_named(name)
    special = special_tokens(folder, config, rules)
    contents = Spelled({role: token.content for role, token in special.items()})
    pipeline = _pipeline(name, rules, config, contents, engine, folder)
    written = engine.get_added_tokens_decoder()
    tokens = listed_tokens(folder, config, set(contents.values()))
    if "added_tokens_decoder" not in config:
        tokens |= written
    if engine.post_processor is None and not config.get("split_special_tokens"):  # which ours have: a task knows
        engine.post_processor = _nothing()
    own = _own_processor(name, rules, engine, config, contents)
    unigram = pipeline is not None and _other_unigram(values, contents)
    differs = (
        unigram
        or _other_tokens(engine, tokens, special, folder, config)
        or state(own) != state(engine.post_processor)
        or (pipeline is not None and (pipeline.differences(engine) or written.keys() - tokens.keys()))
    )
    if not differs:
        _warn_of_ends(engine, special, folder, config)
        return engine
    changed = _copied(engine, pipeline, _unigram(values, contents) if unigram else None)
    _put_tokens(changed, tokens, special, folder, config)
    changed.post_processor = own
    _warn_of_difference(engine, changed, folder, None if pipeline is None else str(name))
    _warn_of_ends(changed, special, folder, config)
    return changed


def _pipeline(
    name: str | None,
    rules: TokenizerClass | None,
    config: dict[str, Any],
    contents: dict[str, str],
    engine: tokenizers.Tokenizer,
    folder: pathlib.Path,
) -> Pipeline | None:
    """The pipeline that the class makes, or None if it takes that of `tokenizer.json`."""
    if rules is None or rules.pipeline is None:
        return None
    pipeline = rules.pipeline(config, contents, characters_of(engine))
    _check_kind(str(name), pipeline, engine, folder)
    return pipeline


def _copied(
    engine: tokenizers.Tokenizer, pipeline: Pipeline | None, model: models.Unigram | None
) -> tokenizers.Tokenizer:
    """A copy of an engine, with the parts of a pipeline and with another model if they are given."""
    copy = tokenizers.Tokenizer.from_str(engine.to_str())
    if pipeline is not None:
        copy = tokenizers.Tokenizer(copy.model if model is None else model)
        pipeline.put_on(copy)
    if engine.truncation:
        copy.enable_truncation(**engine.truncation)
    if engine.padding:
        copy.enable_padding(**engine.padding)
    return copy


def _own_processor(
    name: str | None,
    rules: TokenizerClass | None,
    engine: tokenizers.Tokenizer,
    config: dict[str, Any],
    contents: dict[str, str],
) -> processors.PostProcessor | None:
    """The post-processor that counts."""
    if rules is not None and name in _WRAPPING:
        return _nothing() if name == "GPTNeoXTokenizer" else rules.wrap(engine, config, contents)
    return engine.post_processor


def _nothing() -> processors.PostProcessor:
    return processors.TemplateProcessing(single="$A:0", pair="$A:0 $B:1", special_tokens=[])


def _check_kind(name: str, pipeline: Pipeline, engine: tokenizers.Tokenizer, folder: pathlib.Path) -> None:
    kind = type(engine.model).__name__
    if kind != pipeline.model:
        raise ValueError(
            f"Expected a {pipeline.model} model in {folder / 'tokenizer.json'} for a {name}, got {kind}. If "
            f'tokenizer.json is right, write "tokenizer_class": "PreTrainedTokenizerFast" in {CONFIG_FILE}.'
        )


def _other_unigram(values: dict[str, Any], contents: dict[str, str]) -> bool:
    """Whether a Unigram model has another unknown piece than the class, or writes unknown text as bytes."""
    model = values["model"]
    if model.get("type") != "Unigram" or "unk_token" not in contents:
        return False
    unknown = model.get("unk_id")
    piece = model["vocab"][unknown][0] if isinstance(unknown, int) else None
    return piece != contents["unk_token"] or bool(model.get("byte_fallback"))


def _unigram(values: dict[str, Any], contents: dict[str, str]) -> models.Unigram:
    pieces = [(piece, score) for piece, score in values["model"]["vocab"]]
    unknown = next((i for i, (piece, _) in enumerate(pieces) if piece == contents["unk_token"]), None)
    with guarded("a Unigram model with its unknown piece"):
        return models.Unigram(pieces, unknown, False)


def _other_tokens(
    engine: tokenizers.Tokenizer,
    tokens: dict[int, AddedToken],
    special: dict[str, AddedToken],
    folder: pathlib.Path,
    config: dict[str, Any],
) -> bool:
    """Whether the folder's files name tokens that the engine lacks, or has with other rules."""
    written = {repr(token) for token in engine.get_added_tokens_decoder().values()}
    known = {token.content for token in [*engine.get_added_tokens_decoder().values(), *tokens.values()]}
    named = [token for token in special.values() if engine.token_to_id(token.content) is not None]
    further = {token.content for token in [*named, *extra_tokens(folder, config)]}
    return any(repr(token) not in written for token in tokens.values()) or bool(further - known)


def _put_tokens(
    engine: tokenizers.Tokenizer,
    tokens: dict[int, AddedToken],
    special: dict[str, AddedToken],
    folder: pathlib.Path,
    config: dict[str, Any],
) -> None:
    """Give an engine the added tokens of the folder's files."""
    contents = {token.content for token in special.values()}
    elsewhere = {}
    for i, token in sorted(tokens.items()):
        before = engine.token_to_id(token.content)
        token.special = token.special or token.content in contents
        engine.add_tokens([token])
        got = engine.token_to_id(token.content)
        if before is None and got != i:
            raise ValueError(
                f"Expected the added token {token.content!r} in {folder} to have id {i}, got {got} after the "
                "vocabulary. Fetch the folder's files again."
            )
        if got != i:
            elsewhere[token.content] = (i, got)
    if elsewhere:
        listed = ", ".join(f"{token!r} {i} and {got}" for token, (i, got) in elsewhere.items())
        warnings.warn(
            f"Added tokens in {folder} have two ids each, of which tokenizer.json's, the second, counts, as in "
            f"transformers 5: {listed}.",
            stacklevel=outside(),
        )
    known = {token.content for token in engine.get_added_tokens_decoder().values()}  # whose rules stay
    # A class's own token that the vocabulary lacks does not exist; one that the folder names is missed by `Tokenizer`.
    named = [token for token in special.values() if engine.token_to_id(token.content) is not None]
    for token in [*named, *extra_tokens(folder, config)]:
        if token.content not in known:
            engine.add_tokens([token])
            known.add(token.content)


def _warn_of_difference(
    engine: tokenizers.Tokenizer, changed: tokenizers.Tokenizer, folder: pathlib.Path, name: str | None
) -> None:
    """Warn if a text becomes other tokens than `tokenizer.json` makes of it."""
    special = "a ".join(token.content for token in changed.get_added_tokens_decoder().values())[:1000]
    source = f"the options of {name} in {CONFIG_FILE}" if name else CONFIG_FILE
    for text in (*_TELLING, special):
        with guarded(f"a tokenizer in {folder}"):
            first, second = (_read(each, text) for each in (engine, changed))
        if first != second:
            warnings.warn(
                f"The tokenizer files in {folder} differ: {text[:80]!r} becomes {' '.join(first[0][:12])} by "
                f"tokenizer.json, and {' '.join(second[0][:12])} by {source}, which count, as in transformers 5.",
                stacklevel=outside(),
            )
            return


def _warn_of_ends(
    engine: tokenizers.Tokenizer, special: dict[str, AddedToken], folder: pathlib.Path, config: dict[str, Any]
) -> None:
    """Warn of a start or end token that is asked for and not put around a text, or put there and not asked for."""
    _, ids, _ = _read(engine, "a")
    for option, role, end in (("add_bos_token", "bos_token", ids[:1]), ("add_eos_token", "eos_token", ids[-1:])):
        token = special.get(role)
        i = None if token is None else engine.token_to_id(token.content)
        if (
            token is not None
            and i is not None
            and ids
            and config.get(option) is not None
            and config[option] != (end == [i])
        ):
            done = "does not put it there" if config[option] else f"puts {token.content!r} there"
            warnings.warn(
                f"{CONFIG_FILE} in {folder} says {option}={config[option]}, and tokenizer.json {done}, which counts, "
                "as in transformers 5.",
                stacklevel=outside(),
            )


def _read(engine: tokenizers.Tokenizer, text: str) -> tuple[list[str], list[int], str]:
    """The tokens and ids that an engine makes of a text, and the text that it makes of the ids."""
    try:
        encoding = engine.encode(text)
    except Exception as error:  # the text has an unknown piece, and the model no unknown token
        return [str(error)], [], ""
    return encoding.tokens, encoding.ids, engine.decode(encoding.ids, skip_special_tokens=False)


def _compare_special(folder: pathlib.Path, config: dict[str, Any]) -> None:
    """Warn of special tokens that two files name differently."""
    path = folder / "special_tokens_map.json"
    stated = read_object(path, missing={})
    named: Iterable[str] = [role for role in ROLES if stated.get(role) is not None and config.get(role) is not None]
    differing = []
    for role in named:
        ours, theirs = named_token(config[role], role, folder / CONFIG_FILE), named_token(stated[role], role, path)
        if ours is not None and theirs is not None and ours.content != theirs.content:
            differing.append(f"{role} is {ours.content!r} in {CONFIG_FILE} and {theirs.content!r} in {path.name}")
    if differing:
        counts = CONFIG_FILE if "added_tokens_decoder" in config else path.name
        warnings.warn(
            f"The special tokens in {folder} differ: {'; '.join(differing)}. {counts} counts, as in transformers 5.",
            stacklevel=outside(),
        )
