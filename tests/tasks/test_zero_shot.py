"""Zero-shot classification, beside transformers' pipeline."""

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.tasks.zero_shot import Hypotheses
from tests.tasks import checkpoints
from tests.tasks.checkpoints import TEXTS

pytestmark = pytest.mark.one_backend("torch")
NLI = {0: "contradiction", 1: "neutral", 2: "ENTAILMENT"}
LABELS = ["about books", "a film", "l'oubli"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nli")
    names = {name: number for number, name in NLI.items()}
    checkpoints.save(folder, "BertForSequenceClassification", id2label=NLI, label2id=names)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return kt.TextClassifier.from_preset(folder)


@pytest.mark.parametrize("multi_label", [False, True])
def test_it_is_the_pipeline_of_transformers(folder, model, multi_label):
    import transformers

    pipe = transformers.pipeline("zero-shot-classification", model=str(folder), device="cpu")
    texts, template = [*TEXTS, " ".join(TEXTS)], "{} is what it is, {}."
    for options in ({}, {"hypothesis_template": template.replace("{}", "{0}")}):
        expected = pipe(texts, LABELS, multi_label=multi_label, **options)
        ours = {"hypothesis": template} if options else {}
        with pytest.warns(UserWarning, match="3 of 21 texts are longer than 48 tokens and were cut"):
            found = model.classify(texts, labels=LABELS, multi_label=multi_label, top=None, **ours)
        for one, other in zip(found, expected, strict=True):
            assert [each["label"] for each in one] == other["labels"]
            np.testing.assert_allclose([each["score"] for each in one], other["scores"], atol=2e-6)


def test_results_have_the_form_of_other_labels(model):
    found = model.classify(TEXTS[:2], labels=LABELS, top=None)
    assert sum(each["score"] for each in found[0]) == pytest.approx(1)
    assert model.classify(TEXTS[:2], labels=LABELS) == [each[0] for each in found]
    assert model.classify(TEXTS[:2], labels=LABELS, top=2) == [each[:2] for each in found]
    best = model.classify(TEXTS[0], labels=LABELS)
    assert best == {"label": found[0][0]["label"], "score": pytest.approx(found[0][0]["score"])}
    several = model.classify(TEXTS[0], labels=LABELS, multi_label=True, top=None)
    assert model.classify(TEXTS[0], labels=LABELS, multi_label=True) == [
        each for each in several if each["score"] >= 0.5
    ]
    alone = model.classify(TEXTS[0], labels=LABELS[:1])
    assert alone["score"] == pytest.approx(next(each["score"] for each in several if each["label"] == LABELS[0]))
    assert model.classify([], labels=LABELS) == []


@pytest.mark.parametrize(
    "classes, expected",
    [
        (("entailment", "not_entailment"), (0, 1)),
        (("entailment", "neutral", "contradiction"), (0, 2)),
        (("neutral", "Contradiction", "Entailment"), (2, 1)),
        (("no", "perhaps", "entails"), (2, 0)),
        (("entails", "perhaps", "no"), (0, 2)),
    ],
)
def test_classes_are_found_by_name(classes, expected):
    found = Hypotheses.of(["a", "b"], "{}", False, classes)
    assert (found.entailment, found.contradiction) == expected


def test_large_outputs_do_not_overflow():
    both = Hypotheses.of(["a", "b"], "{}", False, ("contradiction", "entailment"))
    logits = np.array([[-900.0, 900.0], [900.0, -900.0]], "float32")
    np.testing.assert_allclose(both.probabilities(logits), [[1, 0]])
    several = Hypotheses.of(["a", "b"], "{}", True, ("contradiction", "entailment"))
    np.testing.assert_allclose(several.probabilities(logits), [[1, 0]])


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"labels": "a, b"}, TypeError, "Expected labels to be a list of names, got 'a, b'"),
        ({"labels": [1, 2]}, TypeError, "Expected labels to be a list of names"),
        ({"labels": []}, ValueError, "Expected at least one label, each once, got none"),
        ({"labels": ["a", "a"]}, ValueError, "Expected at least one label, each once, got a, a"),
        ({"labels": ["a"], "hypothesis": "This is."}, ValueError, r"Expected a hypothesis with \{\} .* 'This is.'"),
        ({"labels": ["a"], "seconds": ["b"]}, TypeError, "Expected single texts with labels="),
    ],
)
def test_what_cannot_be_is_refused(model, options, error, message):
    with pytest.raises(error, match=message):
        model.classify(["text"], **options)


def test_a_model_of_other_classes_is_refused(folder):
    model = kt.TextClassifier.from_preset(folder, labels=["bad", "fair", "good"])
    with pytest.raises(ValueError, match="a class whose name begins with 'entail' and another, got one of bad, fair"):
        model.classify("text", labels=LABELS)
