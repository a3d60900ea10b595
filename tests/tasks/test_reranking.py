"""Rerankers: cross-encoders as sentence-transformers ranks with them, and decoders that answer yes or no."""

import json

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.tasks.reranking import YesNo, activated
from tests.tasks import checkpoints
from tests.tasks.checkpoints import TEXTS

pytestmark = pytest.mark.one_backend("torch")
QUERY = "Who wrote the book?"
IDENTITY = "torch.nn.modules.linear.Identity"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reranker")
    checkpoints.save(folder, "BertForSequenceClassification", num_labels=1)
    return folder


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"sbert_ce_default_activation_function": IDENTITY},
        {"sentence_transformers": {"activation_fn": IDENTITY, "version": "4.1.0"}},
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}},
    ],
)
def test_scores_are_those_of_sentence_transformers(folder, tmp_path, values):
    cross_encoder = pytest.importorskip("sentence_transformers").CrossEncoder
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **values}))
    theirs = cross_encoder(str(tmp_path), device="cpu").rank(QUERY, TEXTS, top_k=4)
    model = kt.TextClassifier.from_preset(tmp_path)
    ours = model.rank(QUERY, TEXTS, top=4)
    assert [each["index"] for each in ours] == [each["corpus_id"] for each in theirs]
    np.testing.assert_allclose([each["score"] for each in ours], [each["score"] for each in theirs], atol=1e-6)
    model.save_to_preset(tmp_path / "saved")
    assert (tmp_path / "saved" / "config.json").read_bytes() == (tmp_path / "config.json").read_bytes()
    raw = model.rank(QUERY, TEXTS, activation="identity", top=4)
    assert [each["score"] for each in raw] == sorted(model.predict([(QUERY, text) for text in TEXTS])[:, 0])[:-5:-1]


def test_the_activation_is_kept(folder, tmp_path):
    model = kt.TextClassifier.from_preset(folder, activation="identity")
    model.save_to_preset(tmp_path / "theirs")
    own = kt.TextClassifier(
        kt.models.encoder(50, num_layers=1, hidden_dim=16, num_heads=2), num_classes=1, activation="identity"
    )
    own.save_to_preset(tmp_path / "ours")
    for saved in ("theirs", "ours"):
        assert kt.TextClassifier.from_preset(tmp_path / saved).activation == "identity"
    assert kt.TextClassifier.from_config(own.get_config()).activation == "identity"
    for file in folder.iterdir():
        (tmp_path / "theirs" / file.name).write_bytes(file.read_bytes())
    settings = json.dumps({"activation_fn": IDENTITY, "model_type": "CrossEncoder", "prompts": {}})
    (tmp_path / "theirs" / "config_sentence_transformers.json").write_text(settings)
    again = kt.TextClassifier.from_preset(tmp_path / "theirs")
    assert again.rank(QUERY, TEXTS) == model.rank(QUERY, TEXTS) != again.rank(QUERY, TEXTS, activation="sigmoid")
    again.save_to_preset(tmp_path / "again")
    for name in ("config_sentence_transformers.json", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    again.activation = "sigmoid"
    again.save_to_preset(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "config_sentence_transformers.json").read_text())
    assert written["activation_fn"].endswith("Sigmoid") and written["model_type"] == "CrossEncoder"
    assert kt.TextClassifier.from_preset(tmp_path / "again").activation == "sigmoid"
    config = json.loads((folder / "config.json").read_text()) | {"sentence_transformers": {"activation_fn": "my.Own"}}
    (tmp_path / "theirs" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="activation of scores in config.json to be one of .*, got 'my.Own'"):
        kt.TextClassifier.from_preset(tmp_path / "theirs")
    with pytest.raises(ValueError, match="activation to be one of sigmoid, identity, or None, got 'tanh'"):
        model.rank(QUERY, TEXTS, activation="tanh")
    assert activated(np.array([800.0, -800.0, 0.0]), None).tolist() == [1.0, 0.0, 0.5]


# --- decoders ---

TEMPLATE = YesNo("find it", "judge this:\n", "<i>{instruction}<q>{query}<d>{document}", "\nanswer: ")


@pytest.fixture(scope="module")
def decoder():
    texts = [*TEXTS, "yes", "no", "yes", "no", "judge this:", TEMPLATE.question(QUERY, TEXTS[0])] * 9
    tokenizer = kt.Tokenizer.train(texts, vocabulary_size=400)
    return kt.CausalLM(
        kt.models.gpt(tokenizer.vocabulary_size, num_layers=2, hidden_dim=16, num_heads=2, max_length=200), tokenizer
    )


def test_a_decoder_ranks_by_its_yes(decoder):
    """The published definition: the logits of "yes" and "no" after the last token, and their softmax."""
    encode = decoder.tokenizer.encode
    (no,), (yes,) = encode(["no", "yes"])
    expected = []
    for text in TEXTS:
        parts = [TEMPLATE.prefix, f"<i>find it<q>{QUERY}<d>{text}", TEMPLATE.suffix]
        ids = [each for part in encode(parts) for each in part]
        logits = decoder.predict({"token_ids": [ids]})[0][-1].astype("float64")
        expected.append(np.exp(logits[yes]) / (np.exp(logits[yes]) + np.exp(logits[no])))
    done = []
    ranked = decoder.rank(QUERY, TEXTS, template=TEMPLATE, batch_size=4, progress=done.append)
    assert [each["index"] for each in ranked] == np.argsort(-np.array(expected)).tolist() and sum(done) == len(TEXTS)
    np.testing.assert_allclose([each["score"] for each in ranked], sorted(expected, reverse=True), atol=1e-6)
    assert decoder.rank(QUERY, [], template=TEMPLATE) == []
    assert decoder.rank(QUERY, TEXTS, template=TEMPLATE, top=1) == ranked[:1]


def test_long_texts_are_cut_and_said(decoder):
    with pytest.warns(UserWarning, match="1 of 2 questions are longer than .* tokens and were cut"):
        decoder.rank(QUERY, ["a", "long " * 500], template=TEMPLATE)
    with pytest.raises(ValueError, match="Expected max_length above the .* tokens around a question, got 4"):
        decoder.rank(QUERY, ["a"], template=TEMPLATE, max_length=4)


def test_what_no_template_can_be(decoder):
    with pytest.raises(ValueError, match="an answer of one token, got 'certainly', which has"):
        decoder.rank(QUERY, ["a"], template=YesNo(yes="certainly"))
    with pytest.raises(ValueError, match="Expected {document} in the content of YesNo, got '{query}'"):
        YesNo(content="{query}")
    for query, texts, top, error in (
        (3, ["a"], None, TypeError),
        ("a", "b", None, TypeError),
        ("a", ["b"], 0, ValueError),
    ):
        with pytest.raises(error, match="Expected a query and a list of texts|Expected top of at least 1"):
            decoder.rank(query, texts, top=top)
    published = YesNo()  # braces in texts are text
    assert published.question("{document}", "{query}").endswith("<Query>: {document}\n<Document>: {query}")
    assert published.question("q", "d").startswith(
        "<Instruct>: Given a web search query, retrieve relevant passages that"
    )
