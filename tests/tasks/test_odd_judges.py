"""Judges of translations in small floats, with odd settings, and with arguments that fit nothing."""

import keras
import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.layers.layer_mix import LayerMix
from keras_transformers.tasks import MinimumBayesRisk, TranslationScorer, candidates
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")
judges = pytest.importorskip("tests.tasks.judges")
SIDES = (judges.SOURCES, judges.TRANSLATIONS, judges.REFERENCES)


@pytest.fixture(scope="module")
def comet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comet")
    encoder = judges.write_encoder(folder)
    judges.write_comet(folder / "model", encoder, judges.REGRESSION)
    return folder / "model", encoder


@pytest.mark.filterwarnings("ignore:.*are longer than the")
@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_small_floats(comet, dtype, tolerance):
    folder, encoder = comet
    found, exact = (
        np.array(kt.TranslationScorer.from_preset(folder, base=encoder, dtype=each).score(*SIDES))
        for each in (dtype, None)
    )
    assert relative_error(found, exact) < tolerance


def test_a_mix_of_long_texts_in_float16():
    mix = LayerMix("sparsemax", layer_norm=True, dtype="float16")
    states = [np.random.default_rng(n).normal(size=(1, 90, 1024)).astype("float16") for n in range(3)]
    found = keras.ops.convert_to_numpy(mix(states, np.ones((1, 90), bool)))
    assert found.dtype == "float16" and relative_error(found, np.mean(states, axis=0)) < 0.02


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("class_identifier: [a]", r"to be one of .*, got \['a'\]"),
        ("a: " + "[" * 1500, "Expected YAML in .*recursion"),
        ("a: 2001-99-99", "Expected YAML in .*month"),
        ("a: " + "9" * 5000, "Expected YAML in .*4300 digits"),
        ("&a [*a]", "Expected settings by name"),
    ],
)
def test_settings_that_no_one_can_read(comet, tmp_path, content, message):
    folder, encoder = comet
    (tmp_path / "model.ckpt").symlink_to(folder / "checkpoints" / "model.ckpt")
    (tmp_path / "hparams.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        kt.TranslationScorer.from_preset(tmp_path, base=encoder)


class Judge:
    """Stands in for a model: the length of a translation."""

    name, lower_is_better = "length", False

    def __init__(self, references):
        self.references = references

    def scores(self, sources, translations, references, batch_size, progress):
        return np.array([len(each) for each in translations], "float64")


@pytest.mark.parametrize("size", [0, -1, True, 2.5, "a", None])
def test_batches_of_no_size(size):
    with pytest.raises(ValueError, match="Expected batch_size to be an int of at least 1"):
        TranslationScorer(Judge("unused")).score(["a"], ["b"], batch_size=size)


@pytest.mark.parametrize(
    "rerank", [TranslationScorer(Judge("unused")), MinimumBayesRisk(TranslationScorer(Judge("optional")))]
)
def test_scores_of_texts_whose_candidates_are_the_same(rerank):
    texts, made = ["one", "", "12:30", "two"], [["un"] * 3, [""] * 3, ["12:30"] * 3, ["deux", "dos", "dos"]]
    judged = candidates._judged(texts, made, candidates.Judging(rerank, None, 8, True))
    assert [scores[0] for _, scores, _ in judged] == [2.0, 0.0, 0.0, 4.0]
    judged = candidates._judged(texts, made, candidates.Judging(rerank, None, 8, False))
    assert [scores[0] for _, scores, _ in judged] == [0.0, 0.0, 0.0, 4.0]


@pytest.mark.parametrize("count", [0, True, 2.5])
def test_no_candidates(count):
    with pytest.raises(ValueError, match="at least two candidates to choose from"):
        candidates.candidate_settings(kt.GenerationConfig(num_beams=4), count)
