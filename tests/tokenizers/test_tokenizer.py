import concurrent.futures
import copy
import json
import pathlib
import pickle
import re
import time
import zipfile

import numpy as np
import pytest
import tokenizers

from keras_transformers.tokenizers import Template, Tokenizer, pack_texts

pytestmark = pytest.mark.one_backend  # no tensor is touched

KINDS = ("bpe", "wordpiece", "unigram")
EXACT_KINDS = ("bpe", "unigram")

SENTENCES = [
    "The boats come home before the rain does.",
    "Les bateaux rentrent avant la pluie.",
    "Why did you leave the window open all night?",
    "Pourquoi as-tu laissé la fenêtre ouverte toute la nuit\u202f?",
    "My grandmother's garden is full of onions, and nobody minds.",
    "Le jardin de ma grand-mère est plein d'oignons, et ça ne gêne personne.",
    "He paid 1,250.50 euros for it; she would have paid less!",
    "Il l'a payé 1\u00a0250,50\u00a0€\u00a0; elle l'aurait eu pour moins\u00a0!",
    "«\u00a0Où vas-tu, Zoë\u00a0?\u00a0» demanda-t-il à son aînée.",
    "The old clock in the kitchen has been wrong since the spring.",
]
HARD = [
    "",
    " ",
    "   ",
    " in front",
    "behind ",
    "two  spaces,   three",
    "line\nends\r\nof\ttwo kinds\n",
    "a\0b",
    "e\u0301te\u0301 and été",
    "ＦＵＬＬ width, ﬁ ligature",
    "▁Ġ##",
    "汉字 हिन्दी עברית 👩‍🚀",
    "\ufeffmarked, \u200bunseen",
    "\U0010ffff\ufffd",
]


@pytest.fixture(scope="module", params=KINDS)
def any_tokenizer(request):
    return Tokenizer.train(SENTENCES, kind=request.param, vocabulary_size=400)


@pytest.fixture(scope="module", params=EXACT_KINDS)
def exact_tokenizer(request):
    return Tokenizer.train(SENTENCES, kind=request.param, vocabulary_size=400)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.train(SENTENCES, vocabulary_size=300)


def test_what_is_encoded_decodes_to_itself(exact_tokenizer):
    texts = SENTENCES + HARD
    assert exact_tokenizer.decode(exact_tokenizer.encode(texts)) == texts


def test_wordpiece_keeps_the_words():
    tokenizer = Tokenizer.train(SENTENCES, kind="wordpiece", vocabulary_size=400)
    assert tokenizer.decode(tokenizer.encode(["The  boats come home."])) == ["The boats come home."]
    assert tokenizer.encode(["", "  ", "\0"]) == [[], [], []]
    assert tokenizer.encode(["汉"]) == [[tokenizer.unknown_id]]
    assert tokenizer.tokens("boats 汉")[-1] == "<unk>"


def test_special_tokens_have_the_first_ids(any_tokenizer):
    assert any_tokenizer.padding_id == 0
    assert any_tokenizer.unknown_id == 1
    assert any_tokenizer.start_id == 2
    assert any_tokenizer.end_id == 3


def test_special_tokens_in_a_text_are_text(any_tokenizer):
    text = "<s> the</s><pad> rain</s>"
    (ids,) = any_tokenizer.encode([text])
    assert not {any_tokenizer.padding_id, any_tokenizer.start_id, any_tokenizer.end_id} & set(ids)
    if "WordPiece" not in repr(any_tokenizer):
        assert any_tokenizer.decode(ids) == text


def test_special_tokens_found_by_a_loaded_model_are_spelled_otherwise():
    """SentencePiece's models, as Hugging Face converts them, hold "</s>" as a piece that matches text."""
    scores = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)] + [(piece, -2.0) for piece in "▁abs</>"]
    engine = tokenizers.Tokenizer(tokenizers.models.Unigram(scores, unk_id=2))
    engine.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    engine.decoder = tokenizers.decoders.Metaspace()
    engine.encode_special_tokens = True
    assert 1 in engine.encode("a</s>b").ids  # what the engine does alone
    tokenizer = Tokenizer(engine, start_token=None)
    (ids,) = tokenizer.encode(["a</s>b"])
    assert 1 not in ids
    assert tokenizer.decode(ids) == "a</s>b"


def test_special_tokens_are_not_decoded(tokenizer):
    (ids,) = tokenizer.encode(["The rain."])
    assert tokenizer.decode([tokenizer.start_id, *ids, tokenizer.end_id, 0, 0]) == "The rain."


def test_a_special_token_may_be_missing():
    tokenizer = Tokenizer.train(SENTENCES, vocabulary_size=400, start_token=None, unknown_token=None)
    assert (tokenizer.padding_id, tokenizer.end_id) == (0, 1)
    assert tokenizer.start_id is None
    assert tokenizer.unknown_id is None
    assert tokenizer.decode(tokenizer.encode(HARD)) == HARD


def test_one_special_token_may_serve_twice(tmp_path):
    tokenizer = Tokenizer.train(SENTENCES, vocabulary_size=400, padding_token="<end>", end_token="<end>")
    assert tokenizer.padding_id == tokenizer.end_id == 0
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).padding_id == 0


def test_vocabulary_size_is_what_there_is():
    assert Tokenizer.train(SENTENCES, vocabulary_size=300).vocabulary_size == 300
    assert 260 < Tokenizer.train(SENTENCES, vocabulary_size=100_000).vocabulary_size < 1000


def test_training_is_the_same_each_time():
    first, second = (Tokenizer.train(SENTENCES, vocabulary_size=350).files() for _ in range(2))
    assert first == second


def test_train_reads_files_texts_and_iterators(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(SENTENCES), encoding="utf-8")
    expected = Tokenizer.train(SENTENCES, vocabulary_size=350).encode(SENTENCES)
    for source in (path, [path], iter(SENTENCES), tuple(SENTENCES), np.array(SENTENCES)):
        assert Tokenizer.train(source, vocabulary_size=350).encode(SENTENCES) == expected
    half = tmp_path / "half.txt"
    half.write_text("\r\n".join(SENTENCES[:5]), encoding="utf-8")
    assert Tokenizer.train([half, *SENTENCES[5:]], vocabulary_size=350).encode(SENTENCES) == expected


def test_an_error_in_the_iterator_is_passed_on():
    def texts():
        yield "one"
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        Tokenizer.train(texts())


@pytest.mark.parametrize("kind", KINDS)
def test_lowercase_keeps_accents(kind):
    tokenizer = Tokenizer.train(SENTENCES, kind=kind, vocabulary_size=400, lowercase=True)
    assert tokenizer.encode(["ÉTÉ The"]) == tokenizer.encode(["été the"])
    assert tokenizer.encode(["été"]) != tokenizer.encode(["ete"])


@pytest.mark.parametrize("unit", ["a", "é!", " ", "the rain ", "a1"])
def test_a_long_text_takes_time_in_proportion(exact_tokenizer, unit):
    """0.1 to 0.2 seconds of processor time measured. What grew with the square would take 30 for a million characters
    if it took 1.2 for these."""
    text = unit * (200_000 // len(unit))
    started = time.process_time()
    (ids,) = exact_tokenizer.encode([text])
    assert exact_tokenizer.decode(ids) == text
    assert time.process_time() - started < 1.2


@pytest.mark.parametrize("kind", KINDS)
def test_training_on_a_million_characters_without_a_space(kind):
    started = time.perf_counter()
    Tokenizer.train(["ab" * 500_000, *SENTENCES], kind=kind, vocabulary_size=400)
    assert time.perf_counter() - started < 30


def test_decode_takes_lists_and_arrays(tokenizer):
    ids = tokenizer.encode(["The rain.", "La nuit."])
    assert tokenizer.decode(ids[0]) == "The rain."
    assert tokenizer.decode(tuple(ids)) == ["The rain.", "La nuit."]
    assert tokenizer.decode(np.array(ids[0])) == "The rain."
    assert tokenizer.decode([np.array(row, dtype=np.int32) for row in ids]) == ["The rain.", "La nuit."]
    width = max(map(len, ids))
    padded = np.array([row + [0] * (width - len(row)) for row in ids])
    assert tokenizer.decode(padded) == ["The rain.", "La nuit."]


def test_nothing_to_encode_or_decode(tokenizer):
    assert tokenizer.encode([]) == []
    assert tokenizer.encode([""]) == [[]]
    assert tokenizer.decode([]) == ""
    assert tokenizer.decode([[]]) == [""]
    assert tokenizer.decode(np.zeros((0, 4), dtype=np.int32)) == []


def test_ids_that_spell_half_a_character_decode_to_a_replacement(tokenizer):
    (ids,) = tokenizer.encode(["👩"])
    assert tokenizer.decode(ids[:1]) == "\ufffd"


def test_tokens_read_like_the_text(tokenizer):
    assert "".join(tokenizer.tokens(SENTENCES[0])) == SENTENCES[0]
    (ids,) = tokenizer.encode(["the rain"])
    assert tokenizer.tokens([tokenizer.start_id, *ids, tokenizer.end_id]) == [
        "<s>",
        *tokenizer.tokens("the rain"),
        "</s>",
    ]


def test_saved_and_loaded(any_tokenizer, tmp_path):
    any_tokenizer.save(tmp_path / "new" / "folder")
    loaded = Tokenizer.load(tmp_path / "new" / "folder")
    texts = [*SENTENCES, *HARD, "</s>"]
    assert loaded.encode(texts) == any_tokenizer.encode(texts)
    assert loaded.vocabulary_size == any_tokenizer.vocabulary_size
    if "Unigram" not in repr(loaded):  # the engine reads Unigram's scores back to within their last bit
        assert loaded.files() == any_tokenizer.files()
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_copies_keep_special_tokens_as_text(tokenizer):
    for twin in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert twin.encode(["</s>"]) == tokenizer.encode(["</s>"])
        assert tokenizer.end_id not in twin.encode(["</s>"])[0]


def test_load_reads_hugging_face_ways_of_writing(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config |= {"eos_token": {"content": "</s>", "lstrip": False}, "bos_token": None, "model_max_length": 512}
    path.write_text(json.dumps(config))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.end_id == 3
    assert loaded.start_id is None
    assert json.loads(loaded.files()["tokenizer_config.json"])["model_max_length"] == 512


def test_an_engine_that_truncates_and_pads_is_stopped():
    engine = tokenizers.Tokenizer.from_str(
        Tokenizer.train(SENTENCES, vocabulary_size=300).files()["tokenizer.json"].decode()
    )
    engine.enable_truncation(2)
    engine.enable_padding(length=50)
    assert len(Tokenizer(engine).encode(["The old clock."])[0]) not in (2, 50)


def test_transformers_opens_the_folder(any_tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    any_tokenizer.save(tmp_path)
    texts = [*SENTENCES, *HARD, "special </s> as text <pad>"]
    ids = any_tokenizer.encode(texts)
    for opener in (transformers.AutoTokenizer, transformers.PreTrainedTokenizerFast):
        theirs = opener.from_pretrained(tmp_path)
        assert theirs(texts)["input_ids"] == ids
        assert [theirs.decode(row, skip_special_tokens=True) for row in ids] == any_tokenizer.decode(ids)
        assert theirs.pad_token_id == any_tokenizer.padding_id
        assert theirs.bos_token_id == any_tokenizer.start_id
        assert theirs.eos_token_id == any_tokenizer.end_id
        assert theirs.unk_token_id == any_tokenizer.unknown_id
        assert len(theirs) == any_tokenizer.vocabulary_size


@pytest.mark.parametrize("step, size", [(24, 3000), pytest.param(1, 8000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", EXACT_KINDS)
def test_tatoeba_round_trip(kind, step, size, data_folder):
    path = data_folder / "tatoeba-en-fr" / "fra-eng.zip"
    if not path.is_file():
        pytest.skip(f"no {path}")
    lines = zipfile.ZipFile(path).read("fra.txt").decode().splitlines()[::step]
    texts = [text for line in lines for text in line.split("\t")[:2]]
    started = time.perf_counter()
    tokenizer = Tokenizer.train(texts, kind=kind, vocabulary_size=size)
    assert time.perf_counter() - started < 60  # 1.4 to 4 s (BPE) and 5 to 6 s (Unigram) measured on two shared cores
    assert tokenizer.vocabulary_size == size
    ids = tokenizer.encode(texts)
    assert tokenizer.decode(ids) == texts
    assert not any(tokenizer.unknown_id in row for row in ids)


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        ("one text", TypeError, "Expected a list of strings, got one str alone. Put it in a list: encode([text])."),
        (["a", None], TypeError, "Expected text 1 to be a string, got None (NoneType). The value is missing"),
        ([b"\xff"], ValueError, "Expected text 0 in UTF-8, got b"),
        ([["a"]], TypeError, "Expected text 0 to be a string, got ['a'] (list)"),
        (["a", "b\ud83d"], ValueError, "got a lone surrogate '\\ud83d' at character 1 of text 1"),
    ],
)
def test_encode_errors(tokenizer, texts, error, message):
    with pytest.raises(error, match=re.escape(message)):
        tokenizer.encode(texts)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([5, 300], ValueError, "Expected ids from 0 to 299, got 300 at position 1 of the text at index 0"),
        ([[5], [-1]], ValueError, "got -1 at position 0 of the text at index 1. Do these ids come from another"),
        ([5.0], TypeError, "Expected a flat list of integer ids, got float64 of shape (1,) at index 0"),
        (np.zeros((1, 2, 3), dtype=np.int32), TypeError, "got int32 of shape (2, 3) at index 0"),
        (np.int32(5), TypeError, "got int32 of shape () at index 0"),
        (["5"], TypeError, "Decode ids, not scores or text."),
        (5, TypeError, "Expected token ids in a list or an array, got int. Put a single id in a list: decode([id])."),
    ],
)
def test_decode_errors(tokenizer, ids, error, message):
    assert tokenizer.vocabulary_size == 300
    with pytest.raises(error, match=re.escape(message)):
        tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ("one text", {}, TypeError, "Expected paths, or an iterable of texts, got one str. Put a text in a list"),
        (None, {}, TypeError, "generator), got None (NoneType)."),
        ([], {}, ValueError, "Expected some text to train on, got none but empty texts and spaces."),
        (["", " \n"], {"kind": "unigram"}, ValueError, "Expected some text to train on"),
        (["a", 5], {}, TypeError, "Expected text 1 to be a string, got 5 (int)."),
        (["a\udc80"], {}, ValueError, "got a lone surrogate '\\udc80' at character 1 of text 0"),
        (["a"], {"kind": "bp"}, ValueError, "Expected kind to be one of 'bpe', 'wordpiece', 'unigram', got 'bp'."),
        (["a"], {"vocabulary_size": 4}, ValueError, "an integer above the 4 special tokens, got 4."),
        (["a"], {"vocabulary_size": 1e4}, ValueError, "Expected vocabulary_size to be an integer above"),
        (["a"], {"vocabulary_size": 100}, ValueError, "Expected vocabulary_size of at least 260, for the special"),
        (["a"], {"kind": "wordpiece", "unknown_token": None}, ValueError, "Expected an unknown_token for kind='wordp"),
        (["ipad pads pad"] * 9, {"padding_token": "pad"}, ValueError, "is no word of the text, got 'pad'. Mark it off"),
        (pathlib.Path("no-such-file"), {}, FileNotFoundError, "Expected a file of text at no-such-file, got nothing"),
        ([__file__], {}, ValueError, "got a string that names a file"),
    ],
)
def test_train_errors(source, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Tokenizer.train(source, **options)


def test_a_file_not_in_utf_8(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("été".encode("latin-1"))
    with pytest.raises(ValueError, match=r"Expected UTF-8 text in .*latin\.txt, got byte 0xe9 in line 1"):
        Tokenizer.train(path)


def test_special_tokens_that_the_vocabulary_lacks():
    engine = tokenizers.Tokenizer(tokenizers.models.WordPiece({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    message = "got padding_token='<pad>', end_token='</s>', which it lacks. Give the vocabulary's own spelling, or None"
    with pytest.raises(ValueError, match=re.escape(message)):
        Tokenizer(engine, unknown_token="[UNK]", start_token=None)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_broken_folder(tokenizer, tmp_path, name):
    tokenizer.save(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"Expected .* in .*{name}, got (a broken .* file \(|.* at line)"):
            Tokenizer.load(tmp_path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=rf"Expected UTF-8 text in .*{name}, got byte 0xff at 0"):
        Tokenizer.load(tmp_path)


def test_a_config_that_is_no_object(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"Expected a JSON object .* in .*tokenizer_config\.json, got a list"):
        Tokenizer.load(tmp_path)


def test_a_config_of_another_tokenizer(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(path.read_text().replace("</s>", "[SEP]"))
    with pytest.raises(ValueError, match=re.escape("got end_token='[SEP]', which it lacks")):
        Tokenizer.load(tmp_path)


BERT = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}


@pytest.fixture(scope="module")
def masked():
    """WordPiece with the special tokens of models that fill in words."""
    words = Tokenizer.train(
        SENTENCES,
        kind="wordpiece",
        vocabulary_size=400,
        padding_token="[PAD]",
        unknown_token="[UNK]",
        start_token="[CLS]",
        end_token="[SEP]",
    )
    words.add_tokens(["[MASK]"], special=True)
    engine = tokenizers.Tokenizer.from_str(words.files()["tokenizer.json"].decode())
    return Tokenizer(
        engine,
        padding_token="[PAD]",
        unknown_token="[UNK]",
        start_token=None,
        end_token=None,
        class_token="[CLS]",
        separator_token="[SEP]",
        mask_token="[MASK]",
    )


def test_class_separator_and_mask_tokens(masked, tmp_path):
    assert (masked.class_id, masked.separator_id, masked.mask_id) == (2, 3, masked.vocabulary_size - 1)
    masked.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    for name in ("padding", "unknown", "start", "end", "class", "separator", "mask"):
        assert getattr(loaded, f"{name}_token") == getattr(masked, f"{name}_token")
        assert getattr(loaded, f"{name}_id") == getattr(masked, f"{name}_id")
    theirs = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(tmp_path)
    assert (theirs.cls_token_id, theirs.sep_token_id, theirs.mask_token_id) == (2, 3, masked.mask_id)


def test_special_tokens_are_parsed_on_request(masked):
    text = "[MASK] the [MASK]rain"
    assert masked.mask_id not in masked.encode([text])[0]
    (ids,) = masked.encode([text], parse_special=True)
    assert ids.count(masked.mask_id) == 2
    assert masked.mask_id not in masked.encode([text])[0]
    twin = pickle.loads(pickle.dumps(masked))
    assert masked._vocabulary._parsing_engine is not None and twin._vocabulary._parsing_engine is None
    assert twin.encode([text], parse_special=True) == [ids]


def test_parsing_and_not_parsing_beside_each_other_on_threads(masked):
    texts = ["[MASK] the rain [SEP]"] * 50
    plain, parsed = masked.encode(texts), masked.encode(texts, parse_special=True)
    twin = pickle.loads(pickle.dumps(masked))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for special, ids in pool.map(lambda i: (i % 2, twin.encode(texts, parse_special=bool(i % 2))), range(40)):
            assert ids == (parsed if special else plain)


@pytest.mark.filterwarnings("ignore:The tokenizer files")  # a class that the pieces were not made for
def test_what_is_loaded_and_saved_comes_back(masked, tmp_path):
    engine = tokenizers.Tokenizer.from_str(masked.files()["tokenizer.json"].decode())
    engine.enable_truncation(128)
    engine.enable_padding(length=128)
    content = json.dumps(json.loads(engine.to_str()), indent=1).encode()  # as no library of ours would write it
    config = {"tokenizer_class": "BertTokenizer", "never_split": None, "name_or_path": "x", **BERT}
    config["mask_token"] = {"content": "[MASK]", "lstrip": True}
    (tmp_path / "tokenizer.json").write_bytes(content)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer.load(tmp_path)
    assert len(tokenizer.encode(["the rain " * 200])[0]) > 128
    assert tokenizer.files()["tokenizer.json"] == content
    assert json.loads(tokenizer.files()["tokenizer_config.json"]) == config
    tokenizer.add_tokens(["<new>"])
    changed = json.loads(tokenizer.files()["tokenizer.json"])
    assert changed["truncation"]["max_length"] == 128
    assert changed["padding"]["strategy"] == {"Fixed": 128}


@pytest.mark.filterwarnings("ignore:The tokenizer files")  # a class that the pieces were not made for
def test_tokenizer_json_alone(masked, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(masked.files()["tokenizer.json"])
    assert Tokenizer.load(tmp_path).mask_id is None
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"mask_token": "[MASK]", "cls_token": "[CLS]"}))
    tokenizer = Tokenizer.load(tmp_path)
    assert (tokenizer.mask_id, tokenizer.class_id, tokenizer.padding_id) == (masked.mask_id, 2, None)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))  # whose tokens are known
    tokenizer = Tokenizer.load(tmp_path)
    assert (tokenizer.padding_id, tokenizer.separator_id, tokenizer.unknown_id) == (0, 3, 1)
    tokenizer.save(tmp_path / "again")
    assert Tokenizer.load(tmp_path / "again").mask_id == masked.mask_id


def test_a_template_for_an_engine_without_one(tokenizer):
    assert tokenizer.template == Template(
        single=((2, 0), ("A", 0), (3, 0)), pair=((2, 0), ("A", 0), (3, 0), ("B", 1), (3, 1))
    )
    neither = Tokenizer.train(SENTENCES, vocabulary_size=400, start_token=None, end_token=None)
    assert neither.template == Template(single=(("A", 0),), pair=(("A", 0), ("B", 1)))


@pytest.mark.parametrize(
    ("processor", "pair"),
    [
        (tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)), [2, "A0", 3, "B1", 3]),
        (tokenizers.processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2)), [2, "A0", 3, 3, "B0", 3]),
        (tokenizers.processors.ByteLevel(), ["A0", "B1"]),
        (
            tokenizers.processors.TemplateProcessing(
                single="$A [SEP] [CLS]:2",
                pair="$A [SEP] $B:1 [SEP]:1 [CLS]:2",
                special_tokens=[("[SEP]", 3), ("[CLS]", 2)],
            ),
            ["A0", 3, "B1", 3, 2],
        ),
    ],
)
def test_a_template_is_what_the_engine_does(masked, processor, pair):
    engine = tokenizers.Tokenizer.from_str(masked.files()["tokenizer.json"].decode())
    engine.post_processor = processor
    tokenizer = Tokenizer(
        engine, **{name: None for name in ("padding_token", "start_token", "end_token", "unknown_token")}
    )
    found = [part if isinstance(part, int) else f"{part}{segment}" for part, segment in tokenizer.template.pair]
    assert found == pair
    encoded = engine.encode("the rain", "the boats come")
    packed = pack_texts(*map(tokenizer.encode, (["the rain"], ["the boats come"])), template=tokenizer.template)
    assert packed.token_ids[0].tolist() == encoded.ids
    assert packed.segment_ids[0].tolist() == encoded.type_ids


def test_no_template_without_text():
    engine = tokenizers.Tokenizer(tokenizers.models.BPE({"<s>": 0}, []))
    engine.post_processor = tokenizers.processors.ByteLevel()
    tokenizer = Tokenizer(engine, padding_token=None, end_token=None, unknown_token=None)
    with pytest.raises(ValueError, match="Expected a vocabulary with some piece of text, got special tokens alone."):
        tokenizer.template  # noqa: B018


def test_words_and_their_pieces(masked):
    encoded = masked.encode_words([["The", "boats", "", "gêne"], []])
    assert encoded.token_ids[1] == encoded.words[1] == []
    assert encoded.words[0] == sorted(encoded.words[0])
    assert set(encoded.words[0]) == {0, 1, 3}
    assert len(encoded.words[0]) == len(encoded.token_ids[0])


def test_spans_are_the_characters_of_the_text(any_tokenizer):
    texts = ["The boats come.", "", "l'eau,  été"]
    encoded = any_tokenizer.encode_with_offsets(texts)
    assert encoded.token_ids == any_tokenizer.encode(texts)
    for text, spans in zip(texts, encoded.spans, strict=True):
        assert spans.shape[1:] == (2,)
        assert spans.dtype == np.int32
        covered = {i for start, end in spans for i in range(start, end)}
        assert {i for i, character in enumerate(text) if not character.isspace()} <= covered


def test_spelled_special_tokens_keep_their_words_and_spans():
    scores = [("</s>", 0.0), ("<unk>", 0.0)] + [(piece, -2.0) for piece in "▁abs</>"]
    engine = tokenizers.Tokenizer(tokenizers.models.Unigram(scores, unk_id=1))
    engine.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer = Tokenizer(engine, start_token=None, padding_token=None)
    encoded = tokenizer.encode_words([["a", "b</s>"]])
    assert 0 not in encoded.token_ids[0]
    assert encoded.words[0] == [0, 0, 1, 1, 1, 1, 1, 1]
    spans = tokenizer.encode_with_offsets(["b</s>a"]).spans[0]
    assert spans[-1].tolist() == [5, 6]
    assert spans[2:-1].tolist() == [[1, 5]] * 4


def test_add_tokens(masked, tmp_path):
    tokenizer, size = pickle.loads(pickle.dumps(masked)), masked.vocabulary_size
    assert tokenizer.encode(["<topic>"], parse_special=True) == tokenizer.encode(["<topic>"])
    assert tokenizer.add_tokens(["<new>", "the", "<new>"]) == 1
    assert tokenizer.vocabulary_size == size + 1
    assert tokenizer.encode(["<new> rain"])[0][0] == size
    assert tokenizer.add_tokens(["<topic>"], special=True) == 1
    assert size + 1 not in tokenizer.encode(["<topic> rain"])[0]
    assert tokenizer.encode(["<topic> rain"], parse_special=True)[0][0] == size + 1
    assert tokenizer.decode([size + 1, *tokenizer.encode(["rain"])[0]]) == "rain"
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).encode(["<new><topic>"], parse_special=True) == [[size, size + 1]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t.add_tokens("<a>"), TypeError, "Expected a list of strings, got one str alone."),
        (lambda t: t.add_tokens([3]), TypeError, "Expected text 0 to be a string, got 3 (int)."),
        (lambda t: t.add_tokens(["a", ""]), ValueError, "of at least one character, got '' at index 1. Take it out."),
        (
            lambda t: t.encode_words(["a b"]),
            TypeError,
            "a list of words, got str at index 0. Split it, or call encode_",
        ),
        (
            lambda t: t.encode_words([["a"], 3]),
            TypeError,
            "Expected every row to be a list of words, got int at index 1",
        ),
        (lambda t: t.encode_words([["a", None]]), TypeError, "Expected word 1 of row 0 to be a string, got None"),
        (lambda t: t.encode_words([["\ud83d"]]), ValueError, "at character 0 of word 0 of row 0."),
        (lambda t: t.encode_with_offsets("a"), TypeError, "Expected a list of strings, got one str alone."),
    ],
)
def test_errors_of_words_spans_and_added_tokens(tokenizer, call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call(tokenizer)


def test_a_trained_tokenizer_wraps_texts_as_bert_does_in_transformers_too(tmp_path):
    transformers = pytest.importorskip("transformers")
    special = {"padding_token": "[PAD]", "unknown_token": "[UNK]", "class_token": "[CLS]", "separator_token": "[SEP]"}
    texts = ["A man rides a bike.", "Two dogs play."]
    tokenizer = Tokenizer.train(
        texts * 2,
        kind="wordpiece",
        vocabulary_size=100,
        mask_token="[MASK]",
        start_token=None,
        end_token=None,
        **special,
    )
    first, second = tokenizer.encode(texts)
    start, end = tokenizer.class_id, tokenizer.separator_id
    assert tokenizer.template.single == ((start, 0), ("A", 0), (end, 0))
    assert tokenizer.template.pair == ((start, 0), ("A", 0), (end, 0), ("B", 1), (end, 1))
    tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    encoded = theirs(*texts, return_token_type_ids=True)
    assert encoded["input_ids"] == [start, *first, end, *second, end]
    assert encoded["token_type_ids"] == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert theirs.mask_token_id == tokenizer.mask_id and tokenizer.mask_id is not None
    with pytest.raises(ValueError, match="both or neither, got class_token='<c>' and separator_token=None"):
        Tokenizer.train(texts, class_token="<c>")
