"""Reranking and minimum Bayes risk decoding: the candidate that a judge prefers, computed anew here."""

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.tasks import MinimumBayesRisk, TranslationScorer
from keras_transformers.tasks.translating import Translating

pytestmark = pytest.mark.one_backend("torch")
TEXTS = ["The house is small.", "12:30", "", "My friend lives in a big house in Paris."]


class Judge:
    """Stands in for a model: it prefers long translations, or those near to a reference in length."""

    name, lower_is_better = "length", False

    def __init__(self, references="unused", lower_is_better=False):
        self.references, self.lower_is_better, self.asked = references, lower_is_better, []

    def scores(self, sources, translations, references, batch_size, progress):
        self.asked += zip(sources, translations, references or [None] * len(sources), strict=True)
        found = np.array([len(each) for each in translations], "float64")
        if references is not None:
            found = -np.abs(found - [len(each) for each in references])
        return -found if self.lower_is_better else found


@pytest.fixture(scope="module")
def translator():
    return kt.Seq2SeqLM.from_preset("english-french")


@pytest.fixture(scope="module")
def beams(translator):
    return translator.translate(TEXTS, num_beams=4, num_return_sequences=4)


@pytest.mark.parametrize("lower", [False, True])
def test_the_best_by_a_scorer(translator, beams, lower):
    judge = Judge(lower_is_better=lower)
    chosen, scores = translator.translate(TEXTS, rerank=TranslationScorer(judge), num_beams=4, return_scores=True)
    assert chosen == [max(each, key=len) for each in beams]
    assert scores[0] == (-1 if lower else 1) * len(chosen[0])
    assert (chosen[1:3], scores[1:3]) == (["12:30", ""], [0.0, 0.0])
    assert {source for source, _, _ in judge.asked} == {TEXTS[0], TEXTS[3]}
    two = translator.translate(TEXTS[0], rerank=TranslationScorer(judge), num_candidates=4, num_return_sequences=2)
    assert two == sorted(beams[0], key=len, reverse=True)[:2]


def test_minimum_bayes_risk_by_chrf(translator, beams):
    sacrebleu = pytest.importorskip("sacrebleu")
    chrf = sacrebleu.metrics.CHRF()
    expected = [
        max(each, key=lambda one: sum(chrf.sentence_score(one, [other]).score for other in each)) for each in beams
    ]
    assert translator.translate(TEXTS, rerank=MinimumBayesRisk(), num_beams=4) == expected


def test_minimum_bayes_risk_counts_how_often_a_sample_occurs(translator):
    samples = translator.translate(
        TEXTS[3], do_sample=True, temperature=0.6, num_beams=1, num_return_sequences=12, seed=3
    )
    assert len(set(samples)) < 12
    judge = Judge("optional", lower_is_better=True)
    rerank = MinimumBayesRisk(TranslationScorer(judge))
    chosen, score = translator.translate(
        TEXTS[3],
        rerank=rerank,
        num_candidates=12,
        do_sample=True,
        temperature=0.6,
        num_beams=1,
        seed=3,
        return_scores=True,
    )
    risks = {one: np.mean([abs(len(one) - len(other)) for other in samples]) for one in samples}
    assert score == pytest.approx(min(risks.values())) and risks[chosen] == min(risks.values())
    assert len(judge.asked) == len(set(samples)) ** 2


def test_what_cannot_choose_is_refused(translator):
    with pytest.raises(
        TypeError, match="Expected rerank to be a TranslationScorer or MinimumBayesRisk, got str: 'chrf'"
    ):
        translator.translate("a", rerank="chrf", num_beams=4)
    with pytest.raises(ValueError, match="without references to rerank, got length"):
        translator.translate("a", rerank=TranslationScorer(Judge("needed")), num_beams=4)
    with pytest.raises(ValueError, match='Expected utility to be "chrf" or a TranslationScorer'):
        MinimumBayesRisk("bleu")
    with pytest.raises(ValueError, match="that compares with references, got length"):
        MinimumBayesRisk(TranslationScorer(Judge("unused")))
    with pytest.raises(ValueError, match="at least two candidates to choose from, .* got 1"):
        translator.translate("a", rerank=MinimumBayesRisk(), num_beams=1)
    with pytest.raises(TypeError, match="Expected rerank to be"):
        translator.translate("a", num_candidates=3)


def test_terms_of_a_glossary_are_those_of_the_chosen_candidate():
    class Prompted(Translating):
        takes_terms, tokenizer = True, None
        generation_config = staticmethod(GenerationConfig)

        def _translate(self, texts, request):
            return [["une demeure", "une maison assez longue"] for _ in texts]

    options = {"rerank": TranslationScorer(Judge()), "num_beams": 2, "glossary": {"house": "demeure"}}
    with pytest.warns(UserWarning, match=r"1 terms of the glossary are missing in 1 of 1 translations \(index 0\)"):
        assert Prompted().translate("a house", **options) == "une maison assez longue"
    assert Prompted().translate("a house", **{**options, "glossary": {"house": "maison"}}) == "une maison assez longue"
