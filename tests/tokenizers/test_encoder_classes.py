"""Tokenizers of single families of encoders."""

import shutil

import pytest

from keras_transformers.tokenizers import Tokenizer
from tests.tokenizers import folders
from tests.tokenizers.test_tokenizer import SENTENCES

# no tensor is touched; that files differ is said in other tests
pytestmark = [pytest.mark.one_backend, pytest.mark.filterwarnings("default:The tokenizer files in")]

TOKENS = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO", ".", "-", "<null_1>", "<mask>"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("esm")
    (folder / "vocab.txt").write_text("\n".join(TOKENS))
    (folder / "config.json").write_text('{"model_type": "esm"}')
    return folder


def test_letters_are_tokens(folder):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    ours, theirs = Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    texts = ["MKTAYIAKQR", "MK <mask> ?T<mask>j", "  ab A.-B\nC", "?", ""]
    expected = [theirs(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert ours.encode(texts, parse_special=True) == expected
    (around,) = theirs(["A"])["input_ids"]
    assert [part if part != "A" else ours.encode(["A"])[0][0] for part, _ in ours.template.single] == around
    assert (ours.padding_id, ours.mask_id, ours.class_id, ours.end_id) == (1, 32, 0, 2)


def test_jieba_is_refused_by_name(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    (tmp_path / "config.json").write_text('{"model_type": "roformer"}')
    with pytest.raises(ValueError, match="got a RoFormerTokenizer, which finds Chinese words with jieba"):
        Tokenizer.load(tmp_path)


def test_rembert_from_its_pieces_and_from_tokenizer_json(tmp_path):
    """transformers 5 puts tokens around a text only if there is a tokenizer.json. The model knows texts with them."""
    pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    (tmp_path / "config.json").write_text('{"model_type": "rembert"}')
    pieces = {**folders.ALBERT, "unk_id": 2, "eos_id": 1}
    folders.sentence_pieces(tmp_path, SENTENCES * 3, "sentencepiece", 400, **pieces)
    ours, theirs = Tokenizer.load(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [*SENTENCES, "``two''  spaces, Zoë", "a [MASK] b"]
    assert ours.encode(texts, parse_special=True) == [
        theirs(text, add_special_tokens=False)["input_ids"] for text in texts
    ]
    theirs.save_pretrained(tmp_path / "saved")
    shutil.copy(tmp_path / "config.json", tmp_path / "saved")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    (text,) = ours.encode(texts[:1])
    around = [theirs.cls_token_id, *text, theirs.sep_token_id]
    assert theirs(texts[0])["input_ids"] == around
    for loaded in (ours, Tokenizer.load(tmp_path / "saved")):
        assert loaded.template.single == ours.template.single
        assert [part for part, _ in loaded.template.single] == [around[0], "A", around[-1]]
