"""Tokenizers in GGUF files: the same ids as those of the models that they were made from."""

import json
import pathlib
import unicodedata

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from keras_transformers.files.gguf import NO_TOKEN, GGUFFile
from keras_transformers.tokenizers import Tokenizer
from keras_transformers.tokenizers.convert.gguf import SPLITS, read_gguf
from tests.formats import gguf_files
from tests.tokenizers import folders
from tests.tokenizers.test_tokenizer import SENTENCES

pytestmark = pytest.mark.one_backend("torch")

DIFFICULT = [
    *SENTENCES,
    "In 1984, 12345678 people paid $3.14 (or 2,71 €)…",
    "don't DON'T we'll It's the 2nd—or 3rd? C++/C#, <=> ^^ |`~",
    "  two spaces,\ttabs\t\tand \n\n lines\r\n  end  ",
    "CamelCaseWords andMore ÉTÉ été e\u0301te\u0301 naïve",
    "東京は日本の首都です。 Москва́ — столица. السلام عليكم، مرحبا",
    "🙂👩‍👩‍👧 ½ ² Ⅻ ٣",
    "",
    " ",
]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6


def write(path, **values):
    """A file of a tokenizer alone."""
    metadata = {
        f"tokenizer.{'' if name == 'chat_template' else 'ggml.'}{name}": value for name, value in values.items()
    }
    return gguf_files.write(path, "llama", metadata, {"a": np.zeros(1, "float32")})


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A vocabulary of byte pairs and its merges, learnt on difficult texts."""
    folder = tmp_path_factory.mktemp("pairs")
    folders.byte_pairs(folder, 3 * DIFFICULT, SPECIAL, 600)
    ids = json.loads((folder / "vocab.json").read_text("utf-8"))
    merges = (folder / "merges.txt").read_text("utf-8").splitlines()[1:]
    return sorted(ids, key=ids.get), merges


def byte_level(path, pairs, pre, **values):
    tokens, merges = pairs
    types = [_CONTROL if token in SPECIAL else _NORMAL for token in tokens]
    told = {"model": "gpt2", "pre": pre, "tokens": tokens, "token_type": types, "merges": merges, "eos_token_id": 2}
    return write(path, **{name: value for name, value in (told | values).items() if value is not None})


def their_tokenizer(path):
    import transformers

    # They look up the architecture, and nothing else of the model.
    return transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


# transformers splits for these as for GPT-2.
AS_GPT2 = {"smollm", "starcoder", "refact", "command-r", "falcon", "bloom", "stablelm2"}
KNOWN = [name for split in SPLITS for name in split.names]


@pytest.mark.parametrize("pre", [name for name in KNOWN if name not in AS_GPT2])
def test_bytes_are_merged_as_transformers_merges_them(pre, pairs, tmp_path):
    path = byte_level(tmp_path / "model.gguf", pairs, pre)
    ours, theirs = Tokenizer.load(path), their_tokenizer(path)
    composed = next(split for split in SPLITS if pre in split.names).composed
    for text in DIFFICULT:
        given = unicodedata.normalize("NFC", text) if composed else text  # what transformers leaves out
        assert ours.encode([text])[0] == theirs.encode(given, add_special_tokens=False), text
        assert ours.decode(ours.encode([text])[0]) == given


_BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
_BYTES_ALONE = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
# What the tokenizer.json of these models has, in the engine's own steps.
STEPS = {
    "smollm": [pre_tokenizers.Digits(individual_digits=True), _BYTES],
    "falcon": [
        pre_tokenizers.Punctuation("contiguous"),
        _BYTES,
        pre_tokenizers.Digits(),
        pre_tokenizers.Split(tokenizers.Regex("[0-9][0-9][0-9]"), "isolated"),
    ],
    "bloom": [pre_tokenizers.Split(tokenizers.Regex(r" ?[^(\s|[.,!?…。，、।۔،])]+"), "isolated"), _BYTES_ALONE],
}


@pytest.mark.parametrize("pre", STEPS)
def test_bytes_are_merged_as_the_model_s_own_engine_merges_them(pre, tmp_path):
    engine = tokenizers.Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.Sequence(STEPS[pre])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    engine.train_from_iterator(3 * DIFFICULT, trainer)
    model = json.loads(engine.to_str())["model"]
    pairs = sorted(model["vocab"], key=model["vocab"].get), [" ".join(merge) for merge in model["merges"]]
    ours = Tokenizer.load(byte_level(tmp_path / "model.gguf", pairs, pre))
    assert ours.encode(DIFFICULT) == [encoding.ids for encoding in engine.encode_batch(DIFFICULT)]


def pieces_of(pre, pairs, tmp_path, text):
    engine, _ = read_gguf(GGUFFile(byte_level(tmp_path / "model.gguf", pairs, pre)))
    return [text[start:end] for _, (start, end) in engine.pre_tokenizer.pre_tokenize_str(text)]


def test_numbers_are_split_where_the_model_has_it(pairs, tmp_path):
    text = "In 1984, 12345678 x²"
    found = {pre: pieces_of(pre, pairs, tmp_path, text) for pre in ("gpt-2", "smollm", "falcon", "llama-bpe", "qwen2")}
    assert found["gpt-2"] == ["In", " 1984", ",", " 12345678", " x", "²"]
    assert found["smollm"] == ["In", " ", *"1984", ",", " ", *"12345678", " x", "²"]
    assert found["falcon"] == ["In", " ", "198", "4", ",", " ", "123", "456", "78", " x", "²"]
    assert found["llama-bpe"] == ["In", " ", "198", "4", ",", " ", "123", "456", "78", " x", "²"]
    assert found["qwen2"] == ["In", " ", *"1984", ",", " ", *"12345678", " x", "²"]


def test_a_split_that_is_not_known_is_refused_by_name(pairs, tmp_path):
    for pre in ("default", "deepseek-llm", None):
        with pytest.raises(
            ValueError, match=rf"tokenizer.ggml.pre .* one of gpt-2, .*, got {pre!r}. Load the tokenizer"
        ):
            Tokenizer.load(byte_level(tmp_path / "model.gguf", pairs, pre))
    with pytest.raises(ValueError, match="tokenizer.ggml.model .* to be 'gpt2' or 'llama', got 'bert'"):
        Tokenizer.load(write(tmp_path / "model.gguf", model="bert"))


def test_what_contradicts_itself_is_refused(pairs, tmp_path):
    tokens, merges = pairs
    for changes, message in (
        ({"tokens": [*tokens, tokens[9]], "token_type": None}, "two tokens that are spelled the same"),
        ({"token_type": [1, 1]}, "2 types of 600 tokens"),
        ({"eos_token_id": 600}, "eos_token_id=600 of 600 tokens"),
        ({"eos_token_id": "</s>"}, "'</s>' as eos_token_id"),
        ({"merges": None}, "none as merges"),
        ({"merges": ["a b c"]}, "Expected a tokenizer"),
        ({"merges": [*merges, "<|im_end|> Ġ"]}, "Expected a tokenizer in"),
        ({"model": "llama", "scores": [0.0]}, "1 scores of 600 tokens"),
        ({"model": "llama"}, "none as scores"),
    ):
        with pytest.raises(ValueError, match=message):
            Tokenizer.load(byte_level(tmp_path / "model.gguf", pairs, "gpt-2", **changes))


def test_special_and_added_tokens_are_known(pairs, tmp_path):
    tokens, merges = pairs
    types = [_CONTROL] * 3 + [_NORMAL] * (len(tokens) - 3) + [_USER_DEFINED, _UNUSED]
    path = byte_level(
        tmp_path / "model.gguf",
        ([*tokens, "<think>", "[PAD]"], merges),
        "qwen2",
        token_type=types,
        bos_token_id=1,
        padding_token_id=0,
        unknown_token_id=0,
        add_bos_token=True,
        add_eos_token=True,
        chat_template="{{ messages }}",
    )
    ours = Tokenizer.load(path)
    assert (ours.start_id, ours.end_id, ours.padding_id, ours.unknown_id, ours.vocabulary_size) == (1, 2, 0, 0, 602)
    assert ours.template.single == ((1, 0), ("A", 0), (2, 0))
    (as_text,), (parsed,) = ours.encode(["a<|im_end|><think>"]), ours.encode(["a<|im_end|><think>"], parse_special=True)
    assert 2 not in as_text and as_text[-1] == 600 and parsed[-2:] == [2, 600]
    assert ours.decode(parsed) == "a<think>"
    ours.save(tmp_path / "saved")
    again = Tokenizer.load(tmp_path / "saved")
    assert again.encode(DIFFICULT) == ours.encode(DIFFICULT) and again.template == ours.template
    assert json.loads((tmp_path / "saved" / "tokenizer_config.json").read_bytes())["chat_template"] == "{{ messages }}"
    import transformers

    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert theirs.chat_template == "{{ messages }}"
    assert theirs.encode("a<|im_end|><think>") == [1, *parsed, 2]


def test_llama_3_begins_with_the_start_token_where_the_file_does_not_say(pairs, tmp_path):
    for pre, start in {"llama-bpe": True, "qwen2": False, "tekken": True}.items():
        ours = Tokenizer.load(byte_level(tmp_path / "model.gguf", pairs, pre, bos_token_id=0))
        assert (ours.template.single[0] == (0, 0)) == start


# SentencePiece

USER_DEFINED = ["▁▁", "▁▁▁", "<think>"]
# Runs of spaces that the user defined are found in a text before there is a space in front of it.
PLAIN = [text for text in DIFFICULT if "  " not in f" {text}"]


@pytest.fixture(scope="module")
def sentencepiece_model(tmp_path_factory):
    """A model of SentencePiece's as Llama's is: BPE, bytes for what it has not seen, spaces as they are."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("sentencepiece")
    folders.sentence_pieces(
        folder,
        3 * [text for text in DIFFICULT if text.strip()],
        "tokenizer",
        500,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=USER_DEFINED,
        character_coverage=0.98,
    )
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def from_sentencepiece(path, model, **values):
    """The file that llama.cpp's converter writes of a model."""
    ids = range(model.vocab_size())
    kinds = {_UNKNOWN: model.is_unknown, _CONTROL: model.is_control, _UNUSED: model.is_unused, _BYTE: model.is_byte}
    types = [next((kind for kind, holds in kinds.items() if holds(i)), _NORMAL) for i in ids]
    tokens = [model.id_to_piece(i) for i in ids]
    types = [
        _USER_DEFINED if token in ("▁▁", "▁▁▁", "<think>") else type for token, type in zip(tokens, types, strict=True)
    ]
    told = {"model": "llama", "tokens": tokens, "token_type": types, "scores": [model.get_score(i) for i in ids]}
    told |= {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
    return write(path, **(told | values))


def test_sentencepiece_s_own_ids_come_out(sentencepiece_model, tmp_path):
    ours = Tokenizer.load(from_sentencepiece(tmp_path / "model.gguf", sentencepiece_model))
    found = ours.encode(PLAIN)
    assert found == sentencepiece_model.encode(PLAIN)
    assert ours.decode(found) == PLAIN
    assert (ours.start_id, ours.end_id, ours.unknown_id) == (1, 2, 0)
    assert ours.template.single == ((1, 0), ("A", 0))


def test_no_space_is_put_in_front_where_the_file_says_so(sentencepiece_model, tmp_path):
    ours = Tokenizer.load(from_sentencepiece(tmp_path / "model.gguf", sentencepiece_model, add_space_prefix=False))
    assert ours.encode([f" {text}" for text in PLAIN if text]) == sentencepiece_model.encode([t for t in PLAIN if t])
    assert ours.decode(ours.encode(DIFFICULT)) == DIFFICULT
    spaces, thought = (sentencepiece_model.piece_to_id(piece) for piece in ("▁▁▁", "<think>"))
    assert spaces in ours.encode(["a   b"])[0] and ours.encode(["a<think>"])[0][-1] == thought


def test_a_file_without_a_tokenizer_says_so(tmp_path):
    path = write(tmp_path / "model.gguf")
    with pytest.raises(ValueError, match="got none as model"):
        Tokenizer.load(path)
    with pytest.raises(FileNotFoundError, match="Expected a GGUF file"):
        Tokenizer.load(pathlib.Path(tmp_path / "none.gguf"))


def test_an_id_of_minus_one_is_no_token(pairs, tmp_path):
    ids = {"padding_token_id": NO_TOKEN, "bos_token_id": NO_TOKEN}
    tokenizer = Tokenizer.load(byte_level(tmp_path / "model.gguf", pairs, "gpt-2", **ids))
    assert tokenizer.padding_id is None and tokenizer.start_id is None
