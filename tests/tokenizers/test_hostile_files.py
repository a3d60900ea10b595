"""Tokenizers by strangers: broken or hostile files give a `ValueError` that says what was expected, or a tokenizer."""

import base64
import copy
import json
import random

import pytest

from keras_transformers.tokenizers import Tokenizer
from tests.tokenizers import folders
from tests.tokenizers.test_tokenizer import SENTENCES

# no tensor is touched; that files differ is said in other tests
pytestmark = [pytest.mark.one_backend, pytest.mark.filterwarnings("default:The tokenizer files in")]

UNKNOWN = {
    "id": 0,
    "content": "<unk>",
    **dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False),
    "special": True,
}
BPE = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [UNKNOWN],
    "normalizer": None,
    "pre_tokenizer": None,
    "post_processor": None,
    "decoder": None,
    "model": {
        "type": "BPE",
        "unk_token": "<unk>",
        "vocab": {"<unk>": 0, "a": 1, "b": 2, "ab": 3, " ": 4, "c": 5},
        "merges": [["a", "b"]],
    },
}
UNIGRAM = BPE | {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0], ["b", -2.0]]}}
WORD_PIECE = BPE | {
    "model": {
        "type": "WordPiece",
        "unk_token": "<unk>",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {"<unk>": 0, "a": 1, "##b": 2},
    }
}
CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}


def of_model(base, **values):
    return base | {"model": base["model"] | values}


def replace(pattern, content="x"):
    return {"type": "Replace", "pattern": pattern, "content": content}


def split(pattern):
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def precompiled(table):
    return {"type": "Precompiled", "precompiled_charsmap": table}


def processor(single, tokens=()):
    pair = [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": dict(tokens)}


ENGINES = {
    "an empty pattern": (BPE | {"normalizer": replace({"String": ""})}, "Expected Replace .* got an empty one"),
    "an empty expression": (BPE | {"normalizer": replace({"Regex": ""})}, "Expected Replace .* got an empty one"),
    "an empty pattern inside": (
        BPE | {"normalizer": {"type": "Sequence", "normalizers": [replace({"String": ""})]}},
        "Expected Replace .* got an empty one",
    ),
    "an empty pattern to decode": (BPE | {"decoder": replace({"String": ""})}, "Expected Replace .* got an empty one"),
    "a broken expression": (BPE | {"normalizer": replace({"Regex": "("})}, "Oniguruma error"),
    "a table that does not parse": (BPE | {"normalizer": precompiled("AAAA")}, "Expected a table of characters"),
    "an empty table": (BPE | {"normalizer": precompiled("")}, "Expected a table of characters"),
    "no table": (BPE | {"normalizer": precompiled(None)}, "Expected a table of characters"),
    "a table of other letters": (BPE | {"normalizer": precompiled("!!")}, "Expected a table of characters"),
    "a table that leads out of itself": (
        BPE | {"normalizer": precompiled(base64.b64encode(b"\x04\0\0\0\xff\xff\xff\xffab\0").decode())},
        "got an error of the engine",
    ),
    "replacements that grow": (
        BPE | {"normalizer": {"type": "Sequence", "normalizers": [replace({"String": "a"}, "a" * 10)] * 9}},
        "makes at most 1000 characters of one, got one that makes up to 1000000000",
    ),
    "a long prefix": (BPE | {"normalizer": {"type": "Prepend", "prepend": "a" * 10**6}}, "makes up to 1000001"),
    "a special token that is not there": (
        BPE | {"post_processor": processor([{"SpecialToken": {"id": "[CLS]", "type_id": 0}}])},
        "got an error of the engine",
    ),
    "a second text in a template of one": (
        BPE | {"post_processor": processor([{"Sequence": {"id": "B", "type_id": 0}}])},
        "got an error of the engine",
    ),
    "pieces of no characters": (
        BPE | {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
        "chunk size must be non-zero",
    ),
    "merges with a prefix": (of_model(BPE, continuing_subword_prefix="##"), "got an error of the engine"),
    "merges of nothing": (of_model(BPE, merges=[["z", "y"]]), "Token `z` out of vocabulary"),
    "a dropout of two": (of_model(BPE, dropout=2.0), "Dropout should be"),
    "no pieces": (of_model(UNIGRAM, vocab=[]), "EmptyVocabulary"),
    "an unknown piece that is not there": (of_model(UNIGRAM, unk_id=9), "UnkIdNotInVocabulary"),
    "no model": ({key: value for key, value in BPE.items() if key != "model"}, "Model missing"),
    "another model": (of_model(BPE, type="GPT"), "Expected a tokenizer in "),
    "nothing": ({}, "Model missing"),
}


def write(folder, engine, config=None):
    (folder / "tokenizer.json").write_text(engine if isinstance(engine, str) else json.dumps(engine))
    (folder / "tokenizer_config.json").write_text(json.dumps(CONFIG | (config or {})))
    return folder


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_that_would_do_harm_is_refused(name, tmp_path):
    engine, message = ENGINES[name]
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(write(tmp_path, engine))


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ('{"model": ' + "[" * 100_000 + "]" * 100_000 + "}", "Expected JSON that a program can hold in "),
        ('{"model": ' + "9" * 6000 + "}", "Expected JSON that a program can hold in "),
        ('{"model": ', "Expected JSON in .*, got Expecting value at line 1"),
        ("[]", "Expected a JSON object .* in .*, got a list"),
        ('{"normalizer": NaN, "model": 1}', "got NaN, which is no finite number"),
    ],
)
def test_json_that_is_none(engine, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(write(tmp_path, engine))


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        (BPE | {"normalizer": replace({"Regex": "(a+)+$"})}, "a" * 40 + "b"),
        (BPE | {"pre_tokenizer": split({"Regex": "(a+)+$"})}, "a" * 40 + "b"),
        (of_model(WORD_PIECE, unk_token="none"), "z"),
    ],
)
def test_where_the_engine_gives_up_on_a_text_it_is_an_error(engine, text, tmp_path):
    tokenizer = Tokenizer.load(write(tmp_path, engine))
    assert tokenizer.encode(["ab"])
    for call in (
        lambda: tokenizer.encode([text]),
        lambda: tokenizer.encode([text], parse_special=True),
        lambda: tokenizer.encode_with_offsets([text]),
        lambda: tokenizer.encode_words([[text]]),
        lambda: tokenizer.tokens(text),
    ):
        with pytest.raises(
            ValueError, match="Expected the tokenizer's engine to take this, got an error of the engine"
        ):
            call()
    assert tokenizer.encode(["ab"])


def test_where_the_engine_gives_up_on_ids_it_is_an_error(tmp_path):
    decoder = {"type": "Strip", "content": "c", "start": 10**9, "stop": 10**9}
    tokenizer = Tokenizer.load(write(tmp_path, BPE | {"decoder": decoder}, {"split_special_tokens": True}))
    with pytest.raises(ValueError, match="got an error of the engine: index out of bounds"):
        tokenizer.decode([5, 5, 5])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"do_lower_case": "True"}, "do_lower_case to be true, false or null, got 'True'"),
        ({"strip_accents": 1}, "strip_accents to be true, false or null, got 1"),
        ({"model_max_length": "512"}, "model_max_length to be a number, got '512'"),
        ({"model_max_length": True}, "model_max_length to be a number, got True"),
        ({"tokenizer_class": ["BertTokenizer"]}, "tokenizer_class to be a string, got"),
        ({"added_tokens_decoder": []}, r"added_tokens_decoder to be an object of ids and tokens, got \[\]"),
        ({"added_tokens_decoder": {"x": UNKNOWN}}, "Expected added tokens with their ids in .*, got"),
        ({"added_tokens_decoder": {"9": "<pad>"}}, "Expected added tokens with their ids in .*, got"),
        ({"added_tokens_decoder": {"9": {"content": "\ud800"}}}, "got a lone surrogate"),
        ({"extra_special_tokens": 3}, "extra_special_tokens to be a list of tokens, got 3"),
        ({"extra_special_tokens": [3]}, "Expected a token as an extra special token in .*, got 3"),
        ({"pad_token": "\ud800"}, "Expected JSON that a program can hold in .*, got a lone surrogate"),
        ({"pad_token": ""}, "Expected a token as pad_token in .*, got ''"),
        ({"pad_token": 3}, "Expected a token as pad_token in .*, got 3"),
        ({"pad_token": {"content": None}}, "Expected a token as pad_token in .*, got"),
        ({"pad_token": "<none>"}, "Expected every special token in the vocabulary, got padding_token='<none>'"),
        ({"chat_template": 3}, "Expected chat_template to be a string"),
        ({"src_lang": 3}, "src_lang to be a string, got 3"),
    ],
)
def test_options_of_another_kind_are_refused(config, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Tokenizer.load(write(tmp_path, BPE, config))


def test_older_names_and_odd_but_harmless_options(tmp_path):
    assert Tokenizer.load(write(tmp_path, BPE, {"max_len": 77})).max_length == 77
    assert Tokenizer.load(write(tmp_path, BPE, {"model_max_length": 1e30})).max_length is None
    assert Tokenizer.load(write(tmp_path, BPE, {"do_lower_case": None})).max_length is None


def mutated(value, draw):
    """A value of plain data, with one thing changed."""
    value = copy.deepcopy(value)
    odd = [None, True, -1, 0, 10**19, 1.5, "", "x", "\ud800", [], {}, [[]], {"type": "Sequence"}, [None], "a" * 3000]
    place, keys = value, None
    for _ in range(draw.randrange(1, 5)):
        inner = list(place) if isinstance(place, dict) else range(len(place)) if isinstance(place, list) else []
        if not inner:
            break
        keys = place, draw.choice(list(inner))
        place = keys[0][keys[1]]
    if keys is None or draw.random() < 0.1:
        return draw.choice(odd)
    if draw.random() < 0.2 and isinstance(keys[0], dict):
        keys[0].pop(keys[1])
    else:
        keys[0][keys[1]] = draw.choice(odd)
    return value


FOLDERS = ("bert", "roberta", "t5", "llama", "mbart")


@pytest.mark.parametrize("name", FOLDERS)
def test_mutated_files_are_refused_or_read(name, tmp_path_factory):
    pytest.importorskip("sentencepiece")
    source = folders.write(name, tmp_path_factory.mktemp(name), SENTENCES, size=400)
    original = Tokenizer.load(source)
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    whole = json.loads(original.files()["tokenizer.json"])
    config = json.loads(original.files()["tokenizer_config.json"]) | {"unk_token": original.unknown_token}
    for seed in range(60):
        draw, folder = random.Random(seed), tmp_path_factory.mktemp("mutated")
        if seed % 3 == 0:  # the engine's file
            write(folder, json.dumps(mutated(whole, draw)), config)
        elif seed % 3 == 1:  # the options beside it
            write(folder, whole)
            (folder / "tokenizer_config.json").write_text(json.dumps(mutated(config, draw)))
        else:  # a bit of an older file, or its end
            for file, content in files.items():
                changed = bytearray(content)
                if draw.random() < 0.7:
                    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
                else:
                    changed = changed[: draw.randrange(len(changed))]
                (folder / file).write_bytes(bytes(changed))
        try:
            tokenizer = Tokenizer.load(folder)
            tokenizer.decode(tokenizer.encode(SENTENCES[:3] + ["", "東京 \0 é"]))
            tokenizer.template  # noqa: B018
            tokenizer.files()
        except (ValueError, FileNotFoundError) as error:
            assert str(error).startswith(("Expected ", "The ")), (seed, error)
