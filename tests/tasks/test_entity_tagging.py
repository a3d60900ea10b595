"""`EntityTagger`: GLiNER's published definition, computed by PyTorch alone, finds the same entities; its folders come
back byte for byte."""

import json
import re
import shutil

import keras
import numpy as np
import pytest

import keras_transformers as kt
from tests.layers.reference import relative_error
from tests.tasks import checkpoints, gliner
from tests.tasks.checkpoints import TEXTS

pytestmark = pytest.mark.one_backend("torch")
LABELS = ["person", "political party", "city"]
# Of unequal length, with several spaces, characters outside of the basic plane, hyphens, and words of no token.
ODD = ["  Zoë   lives\tin Köln-Ehrenfeld 😀, 東京!\n", "Rome", "a_b-c  \u200b  d", *TEXTS[:3]]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return gliner.write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gliner") / "model"


@pytest.fixture(scope="module")
def theirs(folder, encoder):
    return gliner.write(folder, encoder)


@pytest.fixture(scope="module")
def ours(folder, theirs):
    return kt.EntityTagger.from_preset(folder)


def _logits(model, theirs, texts, labels):
    """The outputs of both for all texts at once, without those beyond the end of each text."""
    ids, mask, words, places, _ = theirs.inputs(texts, labels)
    words[0][1] = None  # as a word that the tokenizer drops
    widest = max(map(len, words))
    rows = [[-1 if place is None else place + 1 for place in each] for each in words]
    inputs = {
        "token_ids": ids.numpy(),
        "padding_mask": mask.numpy(),
        "word_places": np.array([row + [0] * (widest - len(row)) for row in rows], "int32"),
        "label_places": np.array(places, "int32") + 1,
    }
    found, wanted = np.asarray(model.predict(inputs)), theirs.model(ids, mask, words, places).numpy()
    inside = np.zeros(found.shape[:3], bool)
    for row, each in enumerate(words):
        for k in range(found.shape[2]):
            inside[row, : max(len(each) - k, 0), k] = True
    return found[inside], wanted[inside]


def test_the_numbers_are_those_of_the_published_definition(ours, theirs):
    found, wanted = _logits(ours, theirs, ODD, LABELS)
    assert relative_error(found, wanted) <= 1e-5
    assert (wanted > 0).any() and (wanted < 0).any()


def _check_entities(found, wanted, texts):
    for text, each, other in zip(texts, found, wanted, strict=True):
        assert [(e["label"], e["start"], e["end"]) for e in each] == [(label, a, b) for label, _, a, b in other]
        assert np.allclose([e["score"] for e in each], [score for _, score, _, _ in other], atol=1e-5)
        assert all(e["text"] == text[e["start"] : e["end"]] for e in each)


@pytest.mark.parametrize(("threshold", "few_shapes"), [(0.5, False), (0.55, True)])
def test_the_entities_are_those_of_the_published_definition(ours, theirs, threshold, few_shapes, monkeypatch):
    if few_shapes:  # as JAX and TensorFlow pad
        monkeypatch.setattr("keras_transformers.backends.execution.SHAPES_MAY_VARY", False)
    texts = [*ODD, *TEXTS]
    wanted = theirs.tag(texts, LABELS, threshold)
    assert sum(map(len, wanted)) > 5
    _check_entities(ours.tag(texts, LABELS, threshold=threshold, batch_size=3), wanted, texts)


def test_an_encoder_with_positions_and_segments_and_no_lstm(tmp_path):
    encoder = gliner.write_encoder(tmp_path / "encoder", gliner.BERT)
    theirs = gliner.write(tmp_path / "model", encoder, encoder=gliner.BERT, num_rnn_layers=0)
    assert any(None in places for places in theirs.inputs(ODD, LABELS)[2])  # a word without a token
    model = kt.EntityTagger.from_preset(tmp_path / "model")
    _check_entities(model.tag(ODD, LABELS), theirs.tag(ODD, LABELS), ODD)
    model.save_to_preset(tmp_path / "again")
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("model", "again")]
    assert files[0] == files[1]


def test_an_older_folder_gets_the_encoder_that_it_names(encoder, tmp_path, monkeypatch):
    theirs = gliner.write(tmp_path / "old", encoder, newer=False, pickled=True, hidden_size=24, num_rnn_layers=2)
    asked = []

    def snapshot_download(name, allow_patterns, **options):
        asked.append((name, "*.safetensors" in allow_patterns))
        return str(encoder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    model = kt.EntityTagger.from_preset(tmp_path / "old")
    assert set(asked) == {("authors/small-encoder", False)}
    _check_entities(model.tag(ODD, LABELS), theirs.tag(ODD, LABELS), ODD)
    # A saved one needs no other folder.
    model.save_to_preset(tmp_path / "new")
    monkeypatch.undo()
    again = kt.EntityTagger.from_preset(tmp_path / "new")
    assert again.tag(ODD, LABELS) == model.tag(ODD, LABELS)
    values = json.loads((tmp_path / "new" / "gliner_config.json").read_text("utf-8"))
    assert values["class_token_index"] == theirs.tokenizer.convert_tokens_to_ids("<<ENT>>")


def test_an_encoder_that_is_nowhere_is_named(encoder, tmp_path, monkeypatch):
    gliner.write(tmp_path / "old", encoder, newer=False)

    def snapshot_download(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(FileNotFoundError, match=r"encoder 'authors/small-encoder' .* Copy its config.json"):
        kt.EntityTagger.from_preset(tmp_path / "old")
    for file in encoder.iterdir():
        shutil.copy(file, tmp_path / "old")
    kt.EntityTagger.from_preset(tmp_path / "old")


def test_a_folder_comes_back_byte_for_byte(ours, folder, tmp_path):
    ours.save_to_preset(tmp_path / "again")
    ours.save_to_preset(tmp_path / "again")  # in the place of a preset
    written, read = ({path.name: path.read_bytes() for path in each.iterdir()} for each in (tmp_path / "again", folder))
    del written["SHA256SUMS"]
    settings = [json.loads(files.pop("tokenizer_config.json")) for files in (written, read)]  # keys in another order
    assert written == read and settings[0] == settings[1]


def test_a_changed_model_is_saved_and_read_again(theirs, folder, tmp_path):
    narrow = kt.EntityTagger.from_preset(folder, max_width=2)
    narrow.save_to_preset(tmp_path / "narrow")
    again = kt.EntityTagger.from_preset(tmp_path / "narrow")
    assert again.max_width == 2 and again.tag(ODD, LABELS) == narrow.tag(ODD, LABELS)
    narrow.save_to_preset(tmp_path / "half", "float16")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "narrow")]
    assert sizes[0] < 0.6 * sizes[1]
    narrow.tokenizer.add_tokens(["<new>"])
    wide = narrow.with_vocabulary()
    wide.save_to_preset(tmp_path / "wide")
    assert kt.EntityTagger.from_preset(tmp_path / "wide").tag(ODD, LABELS) == wide.tag(ODD, LABELS)


def test_a_quantized_model_is_saved_in_our_own_format(theirs, folder, tmp_path):
    model = kt.EntityTagger.from_preset(folder)
    kt.transforms.quantize(model)
    model.save_to_preset(tmp_path / "own")
    again = kt.EntityTagger.from_preset(tmp_path / "own")
    assert again.tag(ODD, LABELS) == model.tag(ODD, LABELS)


def test_a_keras_file_holds_the_model(ours, tmp_path):
    ours.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").tag(ODD, LABELS) == ours.tag(ODD, LABELS)


def test_texts_without_words_and_no_texts(ours):
    assert ours.tag("", LABELS) == [] and ours.tag(" \n", LABELS) == [] and ours.tag([], LABELS) == []
    found = ours.tag(["", "Rome", " "], LABELS, threshold=0.0)
    assert [len(each) for each in found] == [0, 1, 0] and found[1] == ours.tag("Rome", LABELS, threshold=0.0)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([], ValueError, "at least one label, each once, got none"),
        (["city", "city"], ValueError, "each once, got"),
        ("city", TypeError, "labels to be a list of names"),
        (["city", " "], ValueError, "labels of words"),
        (["a <<ENT>> b"], ValueError, "labels of words, without <<ENT>> and <<SEP>>"),
    ],
)
def test_labels_that_cannot_be_asked_for(ours, labels, error, message):
    with pytest.raises(error, match=message):
        ours.tag("Rome", labels)


def test_other_arguments_that_do_not_fit(ours):
    with pytest.raises(ValueError, match="threshold to be from 0 to below 1, got 1.5"):
        ours.tag("Rome", LABELS, threshold=1.5)
    with pytest.raises(ValueError, match=r"Call tag\(texts, labels="):
        ours.predict(["Rome"])
    with pytest.raises(NotImplementedError, match="train it with the package gliner"):
        ours.fit(["Rome"], ["city"])
    with pytest.raises(ValueError, match=r"Expected token_ids, word_places and label_places, got token_ids"):
        ours({"token_ids": np.ones((1, 4), "int32")})


def test_long_texts_are_cut_and_a_warning_says_so(ours, theirs):
    long = "Rome and Paris " * 20
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than 30 words: their ends were left out"):
        found = ours.tag([long, "Rome"], LABELS)
    cut = " ".join(long.split()[:30])
    _check_entities(found, theirs.tag([cut, "Rome"], LABELS), [long, "Rome"])


def test_a_model_that_reads_few_tokens(ours, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "short")
    path = tmp_path / "short" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "model_max_length": 40}), "utf-8")
    model = kt.EntityTagger.from_preset(tmp_path / "short")
    with pytest.warns(UserWarning, match="or 38 tokens with the labels"):
        assert model.tag("Rome and Paris " * 9, LABELS, threshold=0.0)
    with pytest.raises(ValueError, match="labels that leave room for a text among the 38 tokens"):
        model.tag("Rome", [f"label {n}" for n in range(20)])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"span_mode": "token_level"}, "span_mode: expected 'markerV0', got 'token_level'"),
        ({"labels_encoder": "BAAI/bge-small-en"}, "labels_encoder: expected None"),
        ({"max_width": 0}, "max_width: expected a number of at least 1, got 0"),
        ({"class_token_index": 3}, "to have the id 3 of class_token_index"),
    ],
)
def test_settings_that_are_not_computed_are_refused_by_name(theirs, folder, tmp_path, changed, message):
    shutil.copytree(folder, tmp_path / "other")
    path = tmp_path / "other" / "gliner_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changed}), "utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        kt.EntityTagger.from_preset(tmp_path / "other")


def test_an_unknown_setting_is_named(theirs, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    path = tmp_path / "other" / "gliner_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "new_option": 3}), "utf-8")
    with pytest.warns(UserWarning, match="keys that this library does not know: new_option"):
        kt.EntityTagger.from_preset(tmp_path / "other")


def test_folders_of_other_tasks_and_this_folder_for_other_tasks(theirs, folder, tmp_path):
    checkpoints.save(tmp_path / "bert", "BertModel")
    with pytest.raises(ValueError, match=r"Expected a folder of GLiNER, with gliner_config\.json, got"):
        kt.EntityTagger.from_preset(tmp_path / "bert")
    with pytest.raises(FileNotFoundError, match=r"found a model of GLiNER .* kt\.EntityTagger"):
        kt.TextEmbedder.from_preset(folder)
