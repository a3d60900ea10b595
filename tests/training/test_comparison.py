"""Paired tests of two systems are sacreBLEU's; scores of a model are tested likewise."""

import numpy as np
import pytest

from keras_transformers.training import bleu, compare_systems, ter
from keras_transformers.training.callbacks import TranslationQuality
from keras_transformers.training.metrics import score_by

pytestmark = pytest.mark.one_backend("torch")
sacrebleu = pytest.importorskip("sacrebleu")
WORDS = "a man rides his bike and two dogs play in the snow near an old house".split()


def system(seed, wrong):
    """Translations in which a share of the words is wrong."""
    rng, texts = np.random.default_rng(seed), references()
    return [" ".join("x" if rng.random() < wrong else word for word in text.split()) for text in texts]


def references(count=30):
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, 9)) for _ in range(count)]


@pytest.mark.parametrize(("test", "kind"), [("bootstrap", "bs"), ("randomization", "ar")])
def test_the_numbers_are_sacrebleus(test, kind):
    from sacrebleu.significance import PairedTest

    a, b = system(1, 0.3), system(2, 0.2)
    found = compare_systems(a, b, references(), test=test, metrics=("bleu", "ter"), samples=50)
    metrics = {"bleu": sacrebleu.metrics.BLEU(), "ter": sacrebleu.metrics.TER()}
    signatures, scores = PairedTest([("a", a), ("b", b)], metrics, [references()], kind, 50)()
    for each, name in zip(found, ("BLEU", "TER"), strict=True):
        before, after = scores[name]
        assert each == (name, before.score, after.score, after.p_value, str(signatures[name]), name == "TER")
    assert f"|{kind}:50|seed:12345|" in found[0].signature
    assert found[0].baseline == bleu(a, references()).score


@pytest.mark.parametrize("test", ["bootstrap", "randomization"])
def test_scores_of_a_model(test):
    rng = np.random.default_rng(0)
    a = rng.normal(0.5, 0.1, 40)
    noise = rng.normal(0, 0.1, 40)
    same, better = a + noise - noise.mean() + 0.001, a + 0.2
    scores = {"same": (a, same), "better": (a, better)}
    one, other = compare_systems(["x"] * 40, ["y"] * 40, ["z"] * 40, test=test, metrics=(), scores=scores, samples=200)
    assert (one.metric, other.metric) == ("same", "better") and one.p_value > 0.1 > 0.02 > other.p_value
    assert other.baseline == pytest.approx(a.mean()) and other.system == pytest.approx(a.mean() + 0.2)
    assert "seed:12345" in other.signature and ":200" in other.signature


@pytest.mark.parametrize("test", ["bootstrap", "randomization"])
def test_a_system_is_as_good_as_itself(test):
    a = system(1, 0.3)
    found = compare_systems(a, a, references(), test=test, samples=20, scores={"COMET": ([0.5] * 30, [0.5] * 30)})
    assert [each.p_value for each in found] == [1.0] * 3


def test_ter_and_chrf_plus_plus():
    a = system(1, 0.3)
    assert ter(a, references()).score == sacrebleu.corpus_ter(a, [references()]).score
    assert score_by("chrf++", a, references()) == (
        sacrebleu.corpus_chrf(a, [references()], word_order=2).score,
        score_by("chrf", a, references(), word_order=2).signature,
    )
    with pytest.raises(ValueError, match=r"metric of bleu, chrf, chrf\+\+, ter, got 'chrff' \(did you mean 'chrf'"):
        score_by("chrff", a, references())


def test_wrong_arguments():
    a = system(1, 0.3)
    with pytest.raises(ValueError, match="Expected test to be one of bootstrap, randomization, got 'wild'"):
        compare_systems(a, a, references(), test="wild")
    with pytest.raises(ValueError, match="as many references as hypotheses"):
        compare_systems(a, a[:3], references())
    with pytest.raises(ValueError, match="Expected a score of COMET for each translation"):
        compare_systems(a, a, references(), scores={"COMET": ([0.1], [0.2])})


class Judge:
    name = "COMET"

    def __init__(self, references):
        self.references, self.asked = references, []

    def score(self, *given):
        self.asked.append(given)
        return [0.25, 0.75]


@pytest.mark.parametrize("kind", ["needed", "unused"])
def test_the_callback_logs_other_scores(kind):
    judge, logs = Judge(kind), {}
    callback = TranslationQuality(["s", "t"], [["a b", "c"], ["d e", "f"]], metrics=("ter", "chrf++"), scorer=judge)
    callback.set_model(type("Model", (), {"translate": staticmethod(lambda texts: ["a b", "d"])})())
    callback.on_epoch_end(0, logs)
    assert list(logs) == ["val_ter", "val_chrf++", "val_comet"] and logs["val_comet"] == 0.5
    assert judge.asked == [(["s", "t"], ["a b", "d"], ["a b", "d e"] if kind == "needed" else None)]
    assert "val_ter" in callback.signatures
    with pytest.raises(ValueError, match="metric of bleu"):
        TranslationQuality(["s"], ["t"], metrics=("comet",))
