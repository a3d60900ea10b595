"""A `tokenizer.json` beside files that say otherwise: what transformers makes of both, and a word about it."""

import json
import shutil

import pytest

from keras_transformers.families.registry import families
from keras_transformers.tokenizers import Tokenizer
from keras_transformers.tokenizers.convert import agreement
from tests.tokenizers import folders
from tests.tokenizers.test_tokenizer import SENTENCES

# no tensor is touched; that files differ is said in other tests
pytestmark = [pytest.mark.one_backend, pytest.mark.filterwarnings("default:The tokenizer files in")]

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")

TEXTS = [
    *SENTENCES[:4],
    "Zoë's naïve İstanbul, ÉCOLE e\u0301",
    "東京 2024 Ａ ﬁ ½",
    " two  spaces\tand\r\nlines ",
    "1,234.5 don't I'M ``x''",
    "a\u200bb\xad c\x00d",
]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Folders as transformers saves them, with a `tokenizer.json`, each made once."""
    made = {}

    def folder_of(name):
        if name not in made:
            source = folders.write(name, tmp_path_factory.mktemp(name), SENTENCES * 3, size=400)
            made[name] = tmp_path_factory.mktemp(f"{name}_json")
            transformers.AutoTokenizer.from_pretrained(source).save_pretrained(made[name])
            if (source / "config.json").exists():
                shutil.copy(source / "config.json", made[name])
        return made[name]

    return folder_of


@pytest.fixture
def changed(folder_of, tmp_path):
    """A folder with changed options, and with a changed `tokenizer.json`."""

    def changed(name, options=(), parts=()):
        shutil.copytree(folder_of(name), tmp_path, dirs_exist_ok=True)
        for file, changes in (("tokenizer_config.json", options), ("tokenizer.json", parts)):
            values = json.loads((tmp_path / file).read_text()) | dict(changes)
            values = {key: value for key, value in values.items() if value != "absent"}
            (tmp_path / file).write_text(json.dumps(values))
        return tmp_path

    return changed


def rows(tokenizer, text):
    """A text with what belongs around it."""
    (ids,) = tokenizer.encode([text], parse_special=True)
    return [i for part, _ in tokenizer.template.single for i in (ids if part == "A" else [part])]


def check(folder):
    ours, theirs = Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    texts = [*TEXTS, " ".join(map(str, theirs.added_tokens_encoder))[:300]]
    expected = [theirs(text)["input_ids"] for text in texts]
    assert [rows(ours, text) for text in texts] == expected
    ids = [theirs(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert ours.decode(ids) == theirs.batch_decode(ids, skip_special_tokens=True)
    ours.save(folder / "again")
    again = transformers.AutoTokenizer.from_pretrained(folder / "again")
    assert (folder / "again" / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    if not (folder / "config.json").exists():
        assert [again(text)["input_ids"] for text in texts] == expected
    return ours, theirs


OTHER_NORMALIZER = {
    "normalizer": {
        "type": "BertNormalizer",
        "clean_text": False,
        "handle_chinese_chars": False,
        "strip_accents": False,
        "lowercase": False,
    }
}
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
SPACES = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}
# folder, options, parts of tokenizer.json
DIFFERING = {
    "cased options": ("bert", {"do_lower_case": False}, {}),
    "accents stay": ("bert", {"strip_accents": False}, {}),
    "accents go": ("bert", {"do_lower_case": False, "strip_accents": True}, {}),
    "one Chinese word": ("bert", {"tokenize_chinese_chars": False}, {}),
    "no normalizer in the file": ("bert", {}, {"normalizer": None}),
    "another normalizer in the file": ("distilbert", {}, OTHER_NORMALIZER),
    "nothing around in the file": ("electra", {}, {"post_processor": None}),
    "MPNet, cased options": ("mpnet", {"do_lower_case": False}, {}),
    "RoBERTa with a space": ("roberta", {"add_prefix_space": True}, {}),
    "RoBERTa, a space in the file": ("roberta", {"add_prefix_space": False}, {"pre_tokenizer": BYTES}),
    "GPT-2, a space in the file": ("gpt2", {}, {"pre_tokenizer": BYTES}),
    "GPT-2, a normalizer in the file": ("gpt2", {}, {"normalizer": {"type": "Lowercase"}}),
    "XLM-RoBERTa without the space": ("xlm_roberta", {"add_prefix_space": False}, {}),
    "CamemBERT, other spaces in the file": ("camembert", {}, {"pre_tokenizer": SPACES}),
    "ALBERT, cased options": ("albert", {"do_lower_case": False, "keep_accents": True}, {}),
    "T5, other spaces in the file": ("t5", {}, {"pre_tokenizer": SPACES, "decoder": SPACES}),
    "Pegasus, no normalizer in the file": ("pegasus", {}, {"normalizer": None}),
    "Llama, legacy": ("llama", {"legacy": False}, {}),
    "Llama without the space": ("llama", {"add_prefix_space": False, "legacy": False}, {}),
    "Qwen with a space": ("qwen2", {"add_prefix_space": True}, {}),
    "GPT-NeoX with a space": ("gpt_neox", {"add_prefix_space": True}, {}),
    "GPT-NeoX, cased file": ("gpt_neox", {}, {"normalizer": {"type": "Lowercase"}}),
}


@pytest.mark.parametrize("name", DIFFERING)
def test_what_counts_is_what_counts_in_transformers(name, changed, recwarn):
    folder = changed(*DIFFERING[name])
    check(folder)
    texts = [str(each.message) for each in recwarn.list if "tokenizer files in" in str(each.message)]
    assert {each.filename for each in recwarn.list if "tokenizer files in" in str(each.message)} == {__file__}
    assert any(f"The tokenizer files in {folder} differ" in text and "which count, as in" in text for text in texts)


# transformers saves a Llama's "▁" in tokenizer.json, and not the `legacy` that asked for it.
@pytest.mark.parametrize("name", sorted(folders.FOLDERS.keys() - {"llama"}))
def test_files_that_agree_are_not_spoken_of(name, folder_of, tmp_path, recwarn):
    shutil.copytree(folder_of(name), tmp_path, dirs_exist_ok=True)
    check(tmp_path)
    assert not [each for each in recwarn.list if "differ" in str(each.message) or "says add" in str(each.message)]


def test_other_classes_take_tokenizer_json_as_it_is(changed, recwarn):
    check(changed("bert", {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}))
    assert not [each for each in recwarn.list if "differ" in str(each.message)]


def test_llama_of_bytes_is_taken_as_it_is(changed):
    check(changed("gpt2", {"tokenizer_class": "LlamaTokenizer", "unk_token": "absent"}))


def test_without_a_rule_nothing_is_put_around_a_text(changed):
    folder = changed("roberta", {"tokenizer_class": "PreTrainedTokenizerFast"}, {"post_processor": None})
    ours, _ = check(folder)
    assert ours.template.single == (("A", 0),)


def test_a_model_of_another_kind_is_refused(changed):
    folder = changed("gpt2", {"tokenizer_class": "BertTokenizer"})
    with pytest.raises(ValueError, match='Expected a WordPiece model in .* for a BertTokenizer, got BPE. If .*Fast"'):
        Tokenizer.load(folder)


def test_start_tokens_that_are_asked_for_twice(changed):
    folder = changed("gpt2", {"add_bos_token": True, "add_eos_token": False})
    with pytest.warns(UserWarning, match="says add_bos_token=True, and tokenizer.json does not put it there, which"):
        check(folder)


def added(content, **flags):
    return {"content": content, **dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized"), False), **flags}


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize("fast", [True, False])
def test_added_tokens_of_the_options_count(name, fast, changed, folder_of):
    values = json.loads((folder_of(name) / "tokenizer.json").read_text())
    size = max([*values["model"]["vocab"].values(), *(token["id"] for token in values["added_tokens"])]) + 1
    listed = {str(token.pop("id")): token for token in values["added_tokens"]}
    listed[str(size)] = added("<new>", lstrip=True, special=False)
    listed[str(size + 1)] = added("<made>", special=True)
    options = {"added_tokens_decoder": listed} | ({"tokenizer_class": "PreTrainedTokenizerFast"} if fast else {})
    ours, theirs = check(changed(name, options))
    text = "a <new> b<made> c <new>"
    assert rows(ours, text) == theirs(text)["input_ids"]
    assert ours.vocabulary_size == len(theirs) == size + 2


def test_added_tokens_with_other_ids(changed, folder_of):
    values = json.loads((folder_of("gpt2") / "tokenizer.json").read_text())
    listed = {str(token.pop("id")): token for token in values["added_tokens"]}
    folder = changed("gpt2", {"added_tokens_decoder": listed | {"7777": added("<new>", special=True)}})
    with pytest.raises(ValueError, match="Expected the added token '<new>' in .* to have id 7777, got "):
        Tokenizer.load(folder)
    moved = {"7777": next(iter(listed.values()))}
    folder = changed("gpt2", {"added_tokens_decoder": moved})
    with pytest.warns(UserWarning, match="have two ids each, of which tokenizer.json's, the second, counts"):
        check(folder)


def test_tokens_of_an_older_list_are_added(changed):
    folder = changed("gpt2", {"added_tokens_decoder": "absent"})
    ours, theirs = check(folder)
    (folder / "added_tokens.json").write_text(json.dumps({"<old>": len(theirs)}))
    ours, theirs = Tokenizer.load(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert rows(ours, "a <old>b") == theirs("a <old>b")["input_ids"]
    assert theirs.convert_tokens_to_ids("<old>") in rows(ours, "a <old>b")


def test_extra_special_tokens_are_added(changed):
    ours, theirs = check(changed("gpt2", {"extra_special_tokens": ["<one>", "<two>"]}))
    assert rows(ours, "a<one> <two>") == theirs("a<one> <two>")["input_ids"]
    assert ours.vocabulary_size == len(theirs)


@pytest.mark.parametrize("stated", [None, ["<three>"]])
@pytest.mark.parametrize("name", ["extra_special_tokens", "additional_special_tokens"])
def test_extra_special_tokens_of_the_other_file_are_added(name, stated, changed):
    options = {} if stated is None else {"extra_special_tokens": stated}
    folder = changed("gpt2", {"added_tokens_decoder": "absent", **options})
    two = added("<two>", lstrip=True) if name.startswith("extra") else "<two>"  # where transformers takes no rules
    (folder / "special_tokens_map.json").write_text(json.dumps({name: ["<one>", two]}))
    ours, theirs = check(folder)
    assert rows(ours, "a <two><one><three>") == theirs("a <two><one><three>")["input_ids"]
    assert ours.vocabulary_size == len(theirs)


@pytest.mark.parametrize("lists", [True, False])
def test_special_tokens_of_two_files(lists, changed):
    folder = changed("roberta", {} if lists else {"added_tokens_decoder": "absent"})
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "</s>", "eos_token": "</s>"}))
    if lists:
        config = json.loads((folder / "tokenizer_config.json").read_text())
        tokens = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
        config["added_tokens_decoder"] = {str(token.pop("id")): token for token in tokens}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    counts = "tokenizer_config.json" if lists else "special_tokens_map.json"
    with pytest.warns(UserWarning, match=f"pad_token is '<pad>' in .* and '</s>' in .*json. {counts} counts"):
        ours = Tokenizer.load(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert ours.padding_id == theirs.pad_token_id


@pytest.mark.parametrize("kind", ["WordPiece", "WordLevel", "BPE", "Unigram"])
def test_an_unknown_token_that_only_the_model_names(kind, tmp_path):
    import tokenizers
    from tokenizers import models, pre_tokenizers, trainers

    special = ["[PAD]", "[UNK]", "[CLS]"]
    model = models.Unigram() if kind == "Unigram" else getattr(models, kind)(unk_token="[UNK]")
    engine = tokenizers.Tokenizer(model)
    engine.pre_tokenizer = pre_tokenizers.Whitespace()
    options = {"unk_token": "[UNK]"} if kind == "Unigram" else {}
    trainer = getattr(trainers, f"{kind.replace('BPE', 'Bpe')}Trainer")(
        special_tokens=special, show_progress=False, **options
    )
    engine.train_from_iterator(["unk [ ] UNK some words here"] * 9, trainer)
    reference = transformers.PreTrainedTokenizerFast(tokenizer_object=engine, pad_token="[PAD]")
    reference.save_pretrained(tmp_path)
    ours, theirs = Tokenizer.load(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.unk_token is None and ours.unknown_token is None and ours.unknown_id == 1
    texts = ["some 你 words", "你你", "here ñ", ""]
    expected = [theirs(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert ours.encode(texts) == ours.encode(texts, parse_special=True) == expected
    assert 1 in expected[0]
    assert ours.encode_with_offsets(texts).token_ids == expected


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_spaces_are_cleaned_up_as_in_transformers(name, clean, changed):
    ours, theirs = check(changed(name, {"clean_up_tokenization_spaces": clean}))
    ids = theirs("I ' m here , you 're there . Is n't it ? She 's ! We 've", add_special_tokens=False)["input_ids"]
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


def test_the_classes_are_those_of_transformers():
    from transformers.models.auto import tokenization_auto as auto

    backends = (None, "TokenizersBackend", "MistralCommonBackend")
    for name in families():
        registered = auto.TOKENIZER_MAPPING_NAMES.get(name)
        assert agreement.REGISTERED.get(name) == (None if registered in backends else registered), name
        assert (name in agreement.AS_IT_IS) == (registered in backends[1:]), name
        if registered not in backends:
            assert (name in agreement.MISNAMED) == (name in auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS), name


@pytest.mark.parametrize(
    ("declared", "model_type", "expected"),
    [
        ("BertTokenizerFast", "bert", "BertTokenizer"),
        (None, "distilbert", "BertTokenizer"),
        ("XLMRobertaTokenizer", "bert", "XLMRobertaTokenizer"),
        ("LlamaTokenizerFast", "mistral", None),
        ("LlamaTokenizer", "qwen2", "Qwen2Tokenizer"),
        ("PreTrainedTokenizerFast", "gpt2", "PreTrainedTokenizer"),
        (None, "llama", None),
    ],
)
def test_which_class_is_made(declared, model_type, expected, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    assert agreement.class_in_transformers(tmp_path, {"tokenizer_class": declared}, {}) == expected
    assert agreement.class_in_transformers(tmp_path, {"tokenizer_class": declared, "auto_map": {}}, {}) is None
