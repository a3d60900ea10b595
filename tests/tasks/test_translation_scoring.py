"""`TranslationScorer`: COMET's, CometKiwi's and MetricX's published definitions, computed by PyTorch alone, give the
same scores; another layout is refused."""

import json
import shutil

import numpy as np
import pytest

import keras_transformers as kt
from tests.layers.reference import relative_error

pytestmark = pytest.mark.one_backend("torch")
judges = pytest.importorskip("tests.tasks.judges")
S, T, R = judges.SOURCES, judges.TRANSLATIONS, judges.REFERENCES
QE = judges.REGRESSION | {"class_identifier": "referenceless_regression_metric"}
MODELS = {
    "comet": judges.REGRESSION,
    "comet-softmax-norm": judges.REGRESSION | {"layer_transformation": "softmax", "layer_norm": True, "pool": "cls"},
    "comet-one-layer": judges.REGRESSION | {"layer": 1, "pool": "max"},
    "qe": QE,
    "kiwi": judges.KIWI,
    "kiwi-patched": judges.KIWI | {"layer_transformation": "sparsemax_patch"},
    "unite": judges.KIWI | {"input_segments": ["mt", "src", "ref"], "layer_norm": True},
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return judges.write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def metricx(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metricx")
    return folder, judges.write_metricx(folder)


@pytest.mark.filterwarnings("ignore:.*are longer than the")
@pytest.mark.parametrize("name", MODELS)
def test_comet(tmp_path, encoder, name):
    reference = judges.write_comet(tmp_path / name, encoder, MODELS[name])
    scorer = kt.TranslationScorer.from_preset(tmp_path / name, base=encoder)
    sides = {"needed": [(S, T, R)], "unused": [(S, T)], "optional": [(S, T), (S, T, R)]}[scorer.references]
    for given in sides:
        found = scorer.score(*given, batch_size=3)
        assert relative_error(np.array(found), reference.score(*given)) < 1e-5
    assert scorer.score(*(side[0] for side in given)) == pytest.approx(found[0], abs=1e-6)
    assert not scorer.lower_is_better


@pytest.mark.parametrize("given", [(S, T, R), (S, T)], ids=["references", "none"])
def test_metricx(metricx, given):
    folder, reference = metricx
    scorer = kt.TranslationScorer.from_preset(folder)
    found, expected = np.array(scorer.score(*given, batch_size=2)), reference(*given)
    assert relative_error(found, expected) < 1e-5
    assert scorer.lower_is_better and 0 <= found.min() < found.max() <= 25


@pytest.mark.filterwarnings("ignore:.*are longer than the")
def test_texts_that_are_cut_are_reported(tmp_path, encoder):
    judges.write_comet(tmp_path / "kiwi", encoder, judges.KIWI)
    scorer = kt.TranslationScorer.from_preset(tmp_path / "kiwi" / "checkpoints" / "model.ckpt", base=encoder)
    with pytest.warns(UserWarning, match="1 of 5 texts are longer than the 34 tokens that this model reads"):
        scorer.score(S, T)


def test_references(tmp_path, encoder):
    for name in ("comet", "kiwi"):
        judges.write_comet(tmp_path / name, encoder, MODELS[name])
    comet, kiwi = (kt.TranslationScorer.from_preset(tmp_path / name, base=encoder) for name in ("comet", "kiwi"))
    with pytest.raises(ValueError, match="Expected references for COMET"):
        comet.score(S, T)
    with pytest.raises(ValueError, match="Expected no references for CometKiwi"):
        kiwi.score(S, T, R)
    with pytest.raises(ValueError, match=r"as many translations and references as sources, got \[5, 4\]"):
        kiwi.score(S, T[:4])
    assert kiwi.score([], []) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_identifier": "xcomet_metric"}, "class_identifier .* regression_metric, .* got 'xcomet_metric'"),
        ({"encoder_model": "MiniLM", "pool": "wild"}, "encoder_model: .* got 'MiniLM'; pool: .* got 'wild'"),
        ({"attention_mix": 3}, "attention_mix: unknown key"),
        ({"hidden_sizes": 8}, "hidden_sizes: expected a list of sizes, got 8"),
        ({"layer": 7}, "one of 3 hidden states, got layer 7"),
        ({"hidden_sizes": [24, 9]}, "estimator|projection_1"),
    ],
    ids=lambda each: None if isinstance(each, str) else next(iter(each)),
)
def test_another_layout_is_refused(tmp_path, encoder, changes, message):
    import torch
    import yaml

    judges.write_comet(tmp_path / "model", encoder, judges.REGRESSION)
    settings = judges.REGRESSION | changes
    (tmp_path / "model" / "hparams.yaml").write_text(yaml.safe_dump(settings))
    path = tmp_path / "model" / "checkpoints" / "model.ckpt"
    torch.save(torch.load(path) | {"hyper_parameters": settings}, path)
    with pytest.raises(ValueError, match=message):
        kt.TranslationScorer.from_preset(tmp_path / "model", base=encoder)


def test_files_that_do_not_belong_together(tmp_path, encoder, metricx):
    folder = tmp_path / "model"
    judges.write_comet(folder, encoder, judges.REGRESSION)
    settings = folder / "hparams.yaml"
    settings.write_text(settings.read_text().replace("sparsemax", "softmax"))
    with pytest.raises(ValueError, match="layer_transformation: 'softmax' and 'sparsemax'. They do not belong"):
        kt.TranslationScorer.from_preset(folder, base=encoder)
    with pytest.raises(FileNotFoundError, match=r"authors/small-encoder.*base=folder"):
        settings.write_text(settings.read_text().replace("softmax", "sparsemax"))
        kt.TranslationScorer.from_preset(folder)
    (folder / "checkpoints" / "model.ckpt").write_bytes(b"PK broken")
    with pytest.raises(ValueError, match="weights-only loader refuses"):
        kt.TranslationScorer.from_preset(folder, base=encoder)
    (folder / "checkpoints" / "model.ckpt").unlink()
    with pytest.raises(FileNotFoundError, match=r"Expected checkpoints/model.ckpt beside"):
        kt.TranslationScorer.from_preset(folder, base=encoder)
    with pytest.raises(ValueError, match="Expected a model that judges translations"):
        kt.TranslationScorer.from_preset(encoder)
    small = tmp_path / "small"
    shutil.copytree(metricx[0], small)
    values = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps(values | {"architectures": ["MT5ForConditionalGeneration"]}))
    with pytest.raises(ValueError, match="architecture MT5ForRegression of MetricX, got neither"):
        kt.TranslationScorer.from_preset(small)
