"""Tokenizers of translation models, beside transformers' own: sources, targets, decoding, and what is saved."""

import gzip
import json
import pickle
import random
import re

import pytest

from keras_transformers.tokenizers import Tokenizer
from keras_transformers.tokenizers.convert.numbered_pieces import PieceSplitter
from keras_transformers.tokenizers.convert.sentencepiece_model import read_sentencepiece
from keras_transformers.tokenizers.languages import NLLB
from tests.tokenizers import folders
from tests.tokenizers.telling import telling
from tests.tokenizers.test_convert import HARD
from tests.tokenizers.test_tokenizer import SENTENCES

pytestmark = pytest.mark.one_backend  # no tensor is touched

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
sentencepiece = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")

MARIAN = {"files": ("source", "target")}
M2M100 = {"files": ("sentencepiece.bpe",), "tokenizer_class": "M2M100Tokenizer"}
# name → (how its folder is written, the options of that)
FOLDERS = {
    "marian": (folders.numbered, MARIAN),
    "marian_languages": (folders.numbered, {**MARIAN, "languages": (">>fra<<", ">>deu_Latn<<")}),
    "marian_unnumbered_pieces": (folders.numbered, {**MARIAN, "drop": 9}),
    "marian_two_vocabularies": (folders.numbered, {**MARIAN, "separate": True}),
    "m2m100": (folders.numbered, M2M100),
    "nllb": (folders.nllb, {"codes": NLLB.codes}),
    "nllb_legacy": (folders.nllb, {"codes": NLLB.codes, "legacy_behaviour": True}),
    "byt5": (folders.bytes_alone, {}),
    **{
        name: (lambda folder, texts, size, name=name: folders.write(name, folder, texts, size), {})
        for name in ("mbart", "mbart50", "pegasus", "t5", "mt5")
    },
}
RANGES = [(32, 127), (0xA0, 0x180), (0x300, 0x370), (0x900, 0x980), (0x1100, 0x1200), (0x2000, 0x2200)]
RANGES += [(0x3040, 0x3100), (0xAC00, 0xAD00), (0xFF00, 0xFFF0), (0x1F600, 0x1F650)]


def _mixed(count):
    """Scripts mixed at random: marks without a letter, letters of parts, spaces of all kinds."""
    draw = random.Random(5)
    parts = [" ", "  ", "▁", "e\u0301", "ﬁ", "ﷺ", "\u1100\u1161"]

    def part():
        return draw.choice(parts) if draw.random() < 0.2 else chr(draw.randrange(*draw.choice(RANGES)))

    return ["".join(part() for _ in range(draw.randrange(1, 40))) for _ in range(count)]


TEXTS = [*SENTENCES, *HARD, *_mixed(200)]


def _make(name, folder, texts, size):
    write, options = FOLDERS[name]
    folder.mkdir(exist_ok=True)
    write(folder, texts, size=size, **options)
    return folder


def _theirs(reference, texts, target=False):
    """What transformers makes of texts in which special tokens are text."""
    engine = getattr(reference, "backend_tokenizer", None)
    if engine is None:
        return reference(**{"text_target" if target else "text": texts}, split_special_tokens=True)["input_ids"]
    if target and hasattr(type(reference), "_switch_to_target_mode"):
        reference._switch_to_target_mode()
    engine = type(engine).from_str(engine.to_str())
    engine.encode_special_tokens = True
    if target and hasattr(type(reference), "_switch_to_input_mode"):
        reference._switch_to_input_mode()
    return [encoding.ids for encoding in engine.encode_batch(texts)]


@pytest.fixture(scope="module", params=sorted(FOLDERS))
def small(request, tmp_path_factory):
    """A folder of one class, and what transformers reads from it."""
    folder = _make(request.param, tmp_path_factory.mktemp(request.param), SENTENCES * 3, size=400)
    return folder, transformers.AutoTokenizer.from_pretrained(folder)


def test_sources_and_targets_are_theirs(small):
    folder, reference = small
    tokenizer = Tokenizer.load(folder)
    texts = [f">>fra<< {text}" for text in TEXTS] if tokenizer.language_place == "source" else TEXTS
    assert tokenizer.encode_sources(texts) == _theirs(reference, texts)
    assert tokenizer.encode_targets(TEXTS) == _theirs(reference, TEXTS, target=True)


def test_every_language_is_put_where_theirs_is(small):
    folder, reference = small
    tokenizer = Tokenizer.load(folder)
    if tokenizer.language_place == "source":
        for code in tokenizer.languages:
            expected = _theirs(reference, [f"{code} The boats."])
            assert tokenizer.encode_sources(["The boats."], target_language=code) == expected
        return
    reference = transformers.AutoTokenizer.from_pretrained(folder)  # one to change
    for code in list(tokenizer.languages)[::7]:
        reference.src_lang = reference.tgt_lang = code
        assert tokenizer.encode_sources(["The boats."], code) == _theirs(reference, ["The boats."])
        assert tokenizer.encode_targets(["The boats."], code) == _theirs(reference, ["The boats."], target=True)


def test_targets_are_decoded_as_theirs_are(small):
    folder, reference = small
    tokenizer = Tokenizer.load(folder)
    encoded = tokenizer.encode_targets(TEXTS)
    if "m2m100" in folder.name:  # whose languages are no special tokens to transformers 5
        encoded = [ids[1:] for ids in encoded]
    if "two_vocabularies" in folder.name:  # transformers leaves out the target's piece that has the source's padding id
        encoded = [[i for i in ids if i != tokenizer.padding_id] for ids in encoded]
    assert tokenizer.decode(encoded) == [reference.decode(ids, skip_special_tokens=True) for ids in encoded]


def test_saved_folders_are_theirs_too(small, tmp_path):
    folder, reference = small
    tokenizer = Tokenizer.load(folder)
    tokenizer.save(tmp_path)
    again, theirs = Tokenizer.load(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert type(theirs) is type(reference)
    assert again.files() == tokenizer.files()
    assert (again.languages, again.source_language) == (tokenizer.languages, tokenizer.source_language)
    texts = SENTENCES + HARD
    for target, encode in ((False, Tokenizer.encode_sources), (True, Tokenizer.encode_targets)):
        assert encode(again, texts) == encode(tokenizer, texts) == _theirs(theirs, texts, target)


def test_what_transformers_saves_is_loaded(small, tmp_path):
    folder, reference = small
    reference.save_pretrained(tmp_path)
    saved, tokenizer = Tokenizer.load(tmp_path), Tokenizer.load(folder)
    assert (saved.languages, saved.language_place) == (tokenizer.languages, tokenizer.language_place)
    texts = SENTENCES + HARD
    assert saved.encode_sources(texts) == tokenizer.encode_sources(texts)
    assert saved.encode_targets(texts) == tokenizer.encode_targets(texts)


@pytest.mark.parametrize("name", sorted(FOLDERS))
def test_multi30k_is_encoded_alike(name, data_folder, tmp_path):
    sides = []
    for language in ("en", "de"):
        lines = []
        for part in ("val", "test_2017_flickr"):
            path = data_folder / "multi30k" / f"{part}.{language}.gz"
            if not path.is_file():
                pytest.skip(f"no {path}")
            lines += gzip.open(path, "rt", encoding="utf-8").read().splitlines()
        sides.append(telling(lines))
    folder = _make(name, tmp_path, sides[0][::2] + sides[1][::2], size=1000)
    tokenizer, reference = Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.encode_sources(sides[0]) == _theirs(reference, sides[0])
    assert tokenizer.encode_targets(sides[1]) == _theirs(reference, sides[1], target=True)


@pytest.mark.parametrize("algorithm", ["unigram", "bpe"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"normalization_rule_name": "nmt_nfkc_cf"},
        {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
        {"byte_fallback": True, "add_dummy_prefix": False},
        {"user_defined_symbols": "<user>,the", "split_by_whitespace": False},
    ],
    ids=str,
)
def test_pieces_are_those_of_sentencepiece(algorithm, options, tmp_path):
    folders.sentence_pieces(tmp_path, SENTENCES * 3, "x", 600, model_type=algorithm, **options)
    path = tmp_path / "x.model"
    model, splitter = (
        sentencepiece.SentencePieceProcessor(model_file=str(path)),
        PieceSplitter(read_sentencepiece(path)),
    )
    texts = [*TEXTS, "</s><s> <unk>", "a <user> the other", "▁▁ x▁"]
    expected = [model.encode(text, out_type=str) for text in texts]
    assert splitter.split(texts) == expected
    with_spans = splitter.split_with_spans(texts)
    assert [pieces for pieces, _ in with_spans] == expected


def test_spans_of_numbered_pieces(tmp_path):
    tokenizer = Tokenizer.load(_make("marian", tmp_path, SENTENCES * 3, size=400))
    text = "  ﬁne  boats,\u00a0a\u0301 x "
    (ids,), (spans,) = tokenizer.encode_with_offsets([text])
    assert [ids] == tokenizer.encode([text])
    covered = {i for start, end in spans for i in range(start, end)}
    assert {i for i, c in enumerate(text) if not c.isspace()} <= covered
    assert spans[0][0] == 2
    assert spans[-1].tolist() == [text.index("x"), text.index("x") + 1]
    words = tokenizer.encode_words([["The", "boats", ""]])
    assert words.token_ids == [[i for ids in tokenizer.encode(["The", "boats"]) for i in ids]]
    assert set(words.words[0]) == {0, 1}


def test_special_and_added_tokens_of_numbered_pieces(tmp_path):
    tokenizer = Tokenizer.load(_make("m2m100", tmp_path / "a", SENTENCES * 3, size=400))
    assert tokenizer.end_id not in tokenizer.encode(["The </s> boats"])[0]
    parsed = tokenizer.encode(["The </s>boats __fr__"], parse_special=True)[0]
    assert tokenizer.end_id in parsed
    assert parsed[-1] == tokenizer.languages["fr"]
    size = tokenizer.vocabulary_size
    assert tokenizer.add_tokens(["<new>", "zzz"]) == 2
    tokenizer.save(tmp_path / "b")
    again = Tokenizer.load(tmp_path / "b")
    for each in (tokenizer, again):
        assert [i for i in each.encode(["a<new> boats zzz"])[0] if i >= size] == [size, size + 1]
    assert len(again.languages) == 100
    assert "".join(again.tokens("The boats")) == " The boats"
    copied = pickle.loads(pickle.dumps(again))
    copied.add_tokens(["qqq"])
    assert copied.encode(["qqq"])[0][-1] == copied.vocabulary_size - 1
    with pytest.raises(ValueError, match="WordLevel"):
        Tokenizer.load(tmp_path / "a").in_graph()


def _drop(folder, name, keep):
    """Replace a vocabulary by a part of it."""
    vocabulary = json.loads((folder / name).read_text("utf-8"))
    (folder / name).write_text(json.dumps(keep(vocabulary)), "utf-8")


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        (
            "marian",
            lambda folder: _drop(folder, "vocab.json", lambda v: dict(list(v.items())[:40])),
            "vocab.json the pieces of",
        ),
        (
            "m2m100",
            lambda folder: _drop(folder, "vocab.json", lambda v: dict(list(v.items())[:40])),
            "Fetch the two of one model.",
        ),
        (
            "marian",
            lambda folder: _drop(folder, "vocab.json", lambda v: {**v, "</s>": 7}),
            "each of one piece, got others.",
        ),
        (
            "marian",
            lambda folder: _drop(
                folder, "vocab.json", lambda v: {"<none>" if k == "<unk>" else k: i for k, i in v.items()}
            ),
            "Expected the unknown token '<unk>' in ",
        ),
        (
            "marian",
            lambda folder: (folder / "target.spm").write_bytes((folder / "target.spm").read_bytes()[:3000]),
            "target.spm, got a",
        ),
        ("marian", lambda folder: (folder / "vocab.json").write_text("{"), "vocab.json, got Expecting property name"),
        ("marian_two_vocabularies", lambda folder: (folder / "target_vocab.json").unlink(), "target_vocab.json, got n"),
        ("marian", lambda folder: (folder / "source.spm").unlink(), "source.spm, got nothing there."),
        ("nllb", lambda folder: _drop(folder, "tokenizer_config.json", lambda c: {**c, "src_lang": "en"}), "got 'en'."),
        (
            "mbart",
            lambda folder: _drop(folder, "tokenizer_config.json", lambda c: {**c, "src_lang": "en"}),
            "Expected src_lang in tokenizer_config.json to be one of the 25 languages",
        ),
    ],
)
def test_what_does_not_fit_is_refused(name, spoil, message, tmp_path):
    spoil(_make(name, tmp_path, SENTENCES * 3, size=400))
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        Tokenizer.load(tmp_path)


def test_languages_follow_the_pieces_where_nothing_lists_them(tmp_path):
    folder = _make("nllb", tmp_path, SENTENCES * 3, size=400)
    listed = Tokenizer.load(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "NllbTokenizer"}))
    tokenizer = Tokenizer.load(folder)
    assert tokenizer.languages == listed.languages
    assert tokenizer.mask_id == listed.mask_id


def test_bytes_that_are_no_text(tmp_path):
    tokenizer = Tokenizer.load(_make("byt5", tmp_path, SENTENCES, size=0))
    assert tokenizer.encode(["é\0"]) == [[0xC3 + 3, 0xA9 + 3, 3]]
    assert tokenizer.decode([0xC3 + 3, 97 + 3, 1]) == "\ufffda"
    assert tokenizer.vocabulary_size == 384
