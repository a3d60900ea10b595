"""One spelling for what reads alike: beside SentencePiece and transformers, and in the embedded translator."""

import io
import itertools
import pathlib
import random
import unicodedata

import numpy as np
import pytest
from tokenizers import normalizers

from keras_transformers.files.lines import read_lines
from keras_transformers.tokenizers import Tokenizer
from keras_transformers.tokenizers.normalization import NORMALIZATIONS, steps_of
from keras_transformers.tokenizers.vocabulary import copy_of

pytestmark = pytest.mark.one_backend  # no tensor is touched

ROOT = pathlib.Path(__file__).resolve().parents[2]
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
# Compatibility characters that Unicode has added since version 10, which the engine knows.
NEWER = (
    {0x32FF, 0x1F16C, 0xAB69, *range(0xA7F1, 0xA7F5), *range(0x1FBF0, 0x1FBFA)}
    | {*range(0x10781, 0x107BB), *range(0x1CCD6, 0x1CCFA), *range(0x1E030, 0x1E06E)}
)  # fmt: skip
SENTENCES = ["The house is small.", "I don't know where she lives.", "Où est l'été ? Dans l'œuf, à côté."] * 3
SPACES = "".join(character for character in map(chr, CODE_POINTS) if character.isspace() and character != " ")
UNSEEN = (
    "\0\x01\x1b\x7f\x80\x9f\u00ad\u034f\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\ufff9"
)


def blocks():
    """All code points, 256 at a time: to look at each alone takes five times as long."""
    return (CODE_POINTS[start : start + 256] for start in range(0, len(CODE_POINTS), 256))


def between(code_points):
    """Each code point between two letters, where no other is its neighbour."""
    return "".join(f"a{chr(c)}b" for c in code_points)


def normal(name):
    return normalizers.Sequence(steps_of(name)).normalize_str


def test_nmt_nfkc_is_sentencepieces():
    """On each code point, and on strings of those that meet."""
    spm = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=40, hard_vocab_limit=False, minloglevel=2,
        normalization_rule_name="nmt_nfkc", add_dummy_prefix=False,
    )  # fmt: skip
    reference = spm.SentencePieceProcessor(model_proto=model.getvalue())
    ours = normal("nmt_nfkc")
    theirs = lambda text: reference.normalize(text).replace("▁", " ")  # noqa: E731
    apart = lambda text: ours(text) != theirs(text)  # noqa: E731
    different = {c for block in blocks() if apart(between(block)) for c in block if apart(between([c]))}
    # a mark that is two; the placeholder of a step, which is no character
    assert different - NEWER == {0x344, 0x10FFFE}
    chance = random.Random(0)
    alphabet = (
        "ab é e\u0301\u0300\u0323\u0327\u00a0\u200b\u200c\u200d\u3000\t\n\u00ad\u212b\ufeff\u2581\ufffdﬁＡ①½ｶﾞ"
        "가\u1100\u1161\u11a8はﾞ™क\u093cﷺ～ "
    )
    for _ in range(3000):
        text = "".join(chance.choices(alphabet, k=chance.randrange(1, 12)))
        # equal but for the order of marks behind one letter
        assert unicodedata.normalize("NFC", ours(text)) == unicodedata.normalize("NFC", theirs(text)), ascii(text)


def test_nmt_nfc_touches_nothing_that_is_seen():
    """Each code point stays, or is written as Unicode composes it; spaces are one, and what is removed has no shape."""
    ours, removed, spaces = normal("nmt_nfc"), "", ""
    changed = [block for block in blocks() if ours(between(block)) != between(block)]
    for character in map(chr, itertools.chain(*changed)):
        found = ours(f"a{character}b")
        if found == "ab":
            removed += character
        elif found == "a b":
            spaces += character
        else:
            # Characters newer than Python's Unicode stay as they are.
            assert found in (f"a{character}b", unicodedata.normalize("NFC", f"a{character}b")), hex(ord(character))
    assert set(spaces) == {" ", *SPACES} and set(UNSEEN) <= set(removed)
    assert {unicodedata.category(character) for character in removed} <= {"Cc", "Cf", "Mn"}
    assert [c for c in removed if unicodedata.category(c) == "Mn"] == ["\u034f"]  # which has no shape


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  two  spaces,\r\nand \u00a0 lines\n", "two spaces, and lines"),
        ("\ufeffThe \u200bhou\u00adse is\0 small\u2060.\u200d", "The house is small."),
        ("e\u0301te\u0301, n\u0303", "été, ñ"),
        ("ab\u200dc \u200c\u200dd 1\u200c2 字\u200d字", "abc d 12 字字"),
        ("👩\u200d🚀 ❤\ufe0f می\u200cخواهم क्\u200dष", "👩\u200d🚀 ❤\ufe0f می\u200cخواهم क्\u200dष"),
        ("ＦＵＬＬ width, ﬁ ligature, ①, ™, ～ ▁ \ufffd", "ＦＵＬＬ width, ﬁ ligature, ①, ™, ～ ▁ \ufffd"),
        ("\u00a0\u200b", ""),
    ],
)
def test_nmt_nfc(text, expected):
    assert normal("nmt_nfc")(text) == expected


@pytest.fixture(scope="module", params=NORMALIZATIONS)
def tokenizer(request):
    return Tokenizer.train(SENTENCES, vocabulary_size=330, normalization=request.param, mask_token=None)


HARD = [
    " the\thouse\u00a0 is\u200b small. ",
    "e\u0301te\u0301",
    "a\0b\x85c",
    "\ufeff",
    "ﬁ ①",
    "👩\u200d🚀",
    "x" * 50 + "\u3000y",
]


def test_what_is_normalised_comes_back_normalised(tokenizer):
    once = tokenizer.decode(tokenizer.encode(HARD))
    assert once == [tokenizer.engine.normalizer.normalize_str(text) for text in HARD]
    assert tokenizer.decode(tokenizer.encode(once)) == once


def test_transformers_gives_the_same_ids(tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = SENTENCES + HARD
    assert theirs(texts, add_special_tokens=False)["input_ids"] == tokenizer.encode(texts)
    assert Tokenizer.load(tmp_path).encode(texts) == tokenizer.encode(texts)


def test_spans_are_of_the_text_as_it_was_given(tokenizer):
    text = " The\u00a0 house\u200b is e\u0301te\u0301. "
    (ids,), (spans,) = tokenizer.encode_with_offsets([text])
    assert ids == tokenizer.encode([text])[0] and np.all(spans[1:, 0] >= spans[:-1, 0])
    words = {text[start:end].strip("\u00a0\u200b ") for start, end in spans}
    assert "house" in words and "is" in words


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_every_kind_is_normalised(kind):
    options = {"kind": kind, "vocabulary_size": 330, "normalization": "nmt_nfc", "lowercase": True}
    tokenizer = Tokenizer.train(SENTENCES, **options)
    dirty = "\ufeffThe\u00a0hou\u00adse\u200b is SMALL\u2060."
    assert tokenizer.encode([dirty]) == tokenizer.encode(["the house is small."])


def test_spaces_around_added_and_masked_tokens_stay():
    """The engine parts a text at such tokens: the spaces beside them stand at ends."""
    tokenizer = Tokenizer.train(SENTENCES, vocabulary_size=330, normalization="nmt_nfc")
    assert tokenizer.encode([" a "]) == tokenizer.encode(["a"])
    tokenizer.add_tokens(["[URL]"])
    text = "where is [URL] now"
    assert tokenizer.decode(tokenizer.encode([text])) == [text]
    masked = Tokenizer.train(SENTENCES, vocabulary_size=330, normalization="nmt_nfc", mask_token="<mask>")
    (ids,) = masked.encode(["a <mask> b"], parse_special=True)
    assert masked.decode(ids) == "a  b"


def test_an_unknown_normalization():
    with pytest.raises(
        ValueError, match=r"Expected normalization to be None or one of 'nmt_nfc', 'nmt_nfkc', got 'nfc'"
    ):
        Tokenizer.train(SENTENCES, normalization="nfc")


# --- the embedded translator


@pytest.fixture(scope="module")
def embedded():
    return Tokenizer.load(ROOT / "presets" / "english-french")


def dirty(text, chance):
    """A text as it may come: other spaces, and what is not seen between any two characters."""
    text = unicodedata.normalize(chance.choice(["NFC", "NFD"]), text)
    text = "".join(
        chance.choice(SPACES) * chance.randrange(1, 3) if c == " " and chance.random() < 0.5 else c for c in text
    )
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(text) + 1)
        text = text[:place] + chance.choice(UNSEEN) + text[place:]
    return chance.choice(["", "\ufeff", " ", "\u200b"]) + text + chance.choice(["", "\r", "\n", " ", "\u00a0"])


def test_the_embedded_translator_reads_dirty_text_as_clean(embedded):
    sentences = ["The house is small.", "I don't know where she lives.", "Zoë ate a crème brûlée in Orléans."]
    chance = random.Random(0)
    for sentence in sentences:
        variants = {dirty(sentence, chance) for _ in range(200)}
        assert len(variants) > 150
        for variant, ids in zip(variants, embedded.encode(list(variants)), strict=True):
            assert ids == embedded.encode([sentence])[0], ascii(variant)


def test_clean_text_has_the_ids_that_the_embedded_translator_learnt(embedded, data_folder):
    files = [data_folder / "tatoeba-en-fr" / f"test-v2021-08-07.{side}.gz" for side in ("eng", "fra")]
    if not all(file.is_file() for file in files):
        pytest.skip("Tatoeba's test set is not among the data sets")
    plain = Tokenizer(copy_of(embedded.engine))
    plain.engine.normalizer = None
    lines = [line for file in files for line in read_lines(file)]
    changed = [
        line for line, one, two in zip(lines, embedded.encode(lines), plain.encode(lines), strict=True) if one != two
    ]
    assert [line for line in changed if unicodedata.is_normalized("NFC", line)] == [] and len(changed) == 1
