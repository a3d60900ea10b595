"""Attention of every task: its scores are those of the backbone, by pieces and by words, as a sheet and as a page."""

import base64
import dataclasses
import json
import re

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.models.config import ShiftedSource
from keras_transformers.tasks.attention_reading import read_attention
from tests.tasks import gliner

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.one_backend("torch")

TEXT, SECOND = "the unhappy cat sleeps.", "who's unhappy?"
SIZE = {"num_layers": 2, "hidden_dim": 32, "num_heads": 4}


@pytest.fixture(scope="module")
def tokenizer():
    special = {"class_token": "[CLS]", "separator_token": "[SEP]", "mask_token": "[MASK]"}
    return kt.Tokenizer.train([TEXT, SECOND, "un happy"] * 3, kind="wordpiece", vocabulary_size=40, **special)


@pytest.fixture(scope="module")
def config(tokenizer):
    keras.utils.set_random_seed(0)
    return kt.models.encoder(tokenizer.vocabulary_size, max_length=48, **SIZE)


@pytest.fixture(scope="module")
def classifier(config, tokenizer):
    return kt.TextClassifier(config, tokenizer, labels=["bad", "good"])


@pytest.fixture(scope="module")
def writer():
    tokenizer = kt.Tokenizer.train([TEXT, SECOND] * 3, vocabulary_size=300)
    return kt.CausalLM(kt.models.gpt(tokenizer.vocabulary_size, max_length=48, **SIZE), tokenizer)


def scores_of(figure):
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images and axes.get_visible()]


def labels(figure):
    axes = figure.axes[0]
    return tuple([label.get_text() for label in axis.get_ticklabels()] for axis in (axes.yaxis, axes.xaxis))


def of_backbone(model, inputs, layer):
    inputs = {name: np.asarray(value)[None] for name, value in inputs.items()}
    results = model.backbone(inputs, return_attention_scores=True)
    return keras.ops.convert_to_numpy(results["attention_scores"][layer])[0]


@pytest.mark.parametrize("second", [None, SECOND])
def test_an_encoder_shows_the_rows_that_it_reads(classifier, tokenizer, second):
    figure = kt.plot_attention(classifier, TEXT, second, head=1)
    columns, packed = classifier.encode_texts([TEXT], second and [second])
    rows = tokenizer.tokens(packed.token_ids[0])
    assert labels(figure) == (rows, rows) and rows[0] == "[CLS]" and rows.count("[SEP]") == 1 + (second is not None)
    expected = of_backbone(classifier, {name: each.token_ids for name, each in columns.items()}, -1)[1]
    np.testing.assert_allclose(scores_of(figure)[0], expected, atol=1e-6)
    assert figure.get_suptitle() == "Self-attention, layer 1, head 1"


@pytest.mark.parametrize("task", ["TokenClassifier", "QuestionAnswerer", "TextEmbedder", "SparseEmbedder", "MaskedLM"])
def test_every_task_with_an_encoder_has_a_picture(task, config, tokenizer):
    arguments = {"labels": ["A", "B"]} if task == "TokenClassifier" else {}
    figure = kt.plot_attention(getattr(kt, task)(config, tokenizer, **arguments), TEXT)
    np.testing.assert_allclose(scores_of(figure)[0].sum(axis=1), 1.0, atol=1e-5)


def test_a_decoder_sees_nothing_later(writer):
    figure = kt.plot_attention(writer, TEXT, " who's", layer=0)
    ids = [writer.tokenizer.start_id, *writer.tokenizer.encode([TEXT])[0], *writer.tokenizer.encode([" who's"])[0]]
    assert [label.replace("␣", " ") for label in labels(figure)[0]] == writer.tokenizer.tokens(ids)
    expected = of_backbone(writer, {"token_ids": np.array(ids, "int32")}, 0).mean(axis=0)
    np.testing.assert_allclose(scores_of(figure)[0], expected, atol=1e-6)
    assert np.all(np.triu(scores_of(figure)[0], 1) == 0)


def test_a_classifier_with_two_stacks_has_three_kinds(tokenizer):
    config = kt.models.transformer(tokenizer.vocabulary_size, max_length=48, **SIZE)
    model = kt.TextClassifier(dataclasses.replace(config, reading=ShiftedSource()), tokenizer, labels=["a", "b"])
    ids = model.attention_inputs(TEXT)["token_ids"]
    rows, columns = labels(kt.plot_attention(model, TEXT))
    assert columns == tokenizer.tokens(ids) and rows[1:] == columns[:-1]
    assert labels(kt.plot_attention(model, TEXT, which="decoder")) == (rows, rows)


def test_a_tagger_reads_its_labels_too(tmp_path):
    theirs = gliner.write(tmp_path / "model", gliner.write_encoder(tmp_path / "encoder"))
    assert theirs is not None
    tagger = kt.EntityTagger.from_preset(tmp_path / "model")
    rows, _ = labels(kt.plot_attention(tagger, "Rome is old", labels=["city"]))
    assert rows.count("<<ENT>>") == rows.count("<<SEP>>") == 1
    with pytest.raises(ValueError, match="Expected one text and labels"):
        kt.plot_attention(tagger, "Rome", "Oslo", labels=["city"])


def test_words_are_sums_of_columns_and_means_of_rows(classifier, tokenizer):
    pieces = read_attention(classifier, TEXT, SECOND, None, False, (None, None), {})["encoder"]
    words = read_attention(classifier, TEXT, SECOND, None, True, (None, None), {})["encoder"]
    expected = ["[CLS]", "the", "unhappy", "cat", "sleeps", ".", "[SEP]", "who", "'", "s", "unhappy", "?", "[SEP]"]
    assert words.keys == words.queries == expected and len(pieces.keys) > len(expected)
    begins, _ = tokenizer.words(classifier.attention_inputs(TEXT, SECOND)["token_ids"])
    groups = [slice(*ends) for ends in zip(begins, [*begins[1:], len(pieces.keys)], strict=True)]
    for whole, part in zip(words.layers, pieces.layers, strict=True):
        by_hand = [[part[:, row, column].sum(-1).mean(-1) for column in groups] for row in groups]
        np.testing.assert_allclose(whole, np.moveaxis(np.array(by_hand), -1, 0), atol=1e-6)


def test_words_of_bytes_and_of_marks():
    tokenizer = kt.Tokenizer.train(["a b"], vocabulary_size=262)
    ids = tokenizer.encode(["don't  go, Zoë 東京!"])[0]
    begins, texts = tokenizer.words([tokenizer.start_id, *ids, tokenizer.end_id])
    assert "".join(texts) == "<s>don't  go, Zoë 東京!</s>"
    assert [text.strip() for text in texts if text.strip()] == ["<s>", "don't", "go", ",", "Zoë", "東京", "!", "</s>"]
    assert begins[:2] == [0, 1] and tokenizer.words([]) == ([], [])


def test_one_sheet_has_all_layers_and_heads(classifier):
    inputs = classifier.attention_inputs(TEXT)
    expected = [head for layer in (0, 1) for head in of_backbone(classifier, inputs, layer)]
    figure = kt.plot_attention(classifier, TEXT, layer="all", head="all")
    np.testing.assert_allclose(scores_of(figure), expected, atol=1e-6)
    assert figure.axes[5].get_xlabel() == "layer 1, head 1" and figure.axes[5].get_subplotspec().colspan[0] == 1
    assert figure.get_suptitle() == "Self-attention, 2 layers, 4 heads"
    assert len(scores_of(kt.plot_attention(classifier, TEXT, layer="all", head=2))) == 2


def test_a_page_holds_all_of_it_and_asks_for_nothing(classifier, tmp_path):
    title = "</script><b>&"
    page = kt.plot_attention(classifier, "</script> cat", path=tmp_path / "new" / "page.HTML", title=title, words=True)
    text = (tmp_path / "new" / "page.HTML").read_text("utf-8")
    assert page.html == text and "srcdoc=" in page._repr_html_()
    assert re.search(r"(?:src|href|url|import)\s*[=(]", text) is None and "http" not in text  # nothing is loaded
    assert text.count("</script>") == 2 and "&lt;/script&gt;&lt;b&gt;&amp;" in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    (kind,) = data["kinds"]
    expected = read_attention(classifier, "</script> cat", None, None, True, (None, None), {})["encoder"]
    assert (kind["queries"], kind["title"], data["begin"]) == (
        expected.queries,
        "Self-attention",
        {"layer": 1, "head": -1},
    )
    for layer, scores in zip(kind["layers"], expected.layers, strict=True):
        found = np.frombuffer(base64.b64decode(layer["scores"]), "<u2").reshape(scores.shape) / 65535
        np.testing.assert_allclose(found, scores, atol=1e-5)


def test_what_has_no_such_attention_is_refused(classifier, writer, tokenizer):
    with pytest.raises(
        ValueError, match="which to be one of 'encoder', for a TextClassifier with one stack, got 'cross'"
    ):
        kt.plot_attention(classifier, TEXT, which="cross")
    with pytest.raises(TypeError, match=r"Expected a task such as kt\.TextClassifier, got Tokenizer"):
        kt.plot_attention(tokenizer, TEXT)
    with pytest.raises(ValueError, match="Expected no languages for a CausalLM, got 'French'"):
        kt.plot_attention(writer, TEXT, target_language="French")
    with pytest.raises(TypeError, match="num_beams"):
        kt.plot_attention(classifier, TEXT, num_beams=2)
    fourier = dataclasses.replace(
        classifier.config.encoder,
        block=kt.layers.BlockConfig(
            attention=kt.layers.Fourier(), feed_forward=classifier.config.encoder.block.feed_forward
        ),
    )
    model = kt.TextClassifier(dataclasses.replace(classifier.config, encoder=fourier), tokenizer, labels=["a", "b"])
    with pytest.raises(ValueError, match="a Fourier transform has no scores"):
        kt.plot_attention(model, TEXT)
