"""A run is read from YAML with changes, and what is wrong in it is said at once."""

import dataclasses
import pathlib

import pytest

from keras_transformers.apps.runs.settings import TranslationRun, flat, read_run, run_yaml
from keras_transformers.data.cleaning import Cleaning

pytestmark = pytest.mark.one_backend("torch")

FILE = """
output: runs/x
data: {pairs: a.tsv}
model:
  num_layers: [6, 3]
training: {epochs: 20, learning_rate: 1e-3}
cleaning: {max_ratio: null, source_scripts: [LATIN]}
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "run.yaml").write_text(FILE)
    return tmp_path / "run.yaml"


def test_a_file_is_read_and_each_key_can_be_another(path):
    run = read_run(path, ["training.epochs=3", "output=y", "vocabulary.kind=unigram", "decoding.length_penalty=2"])
    assert run.output == "y" and run.data.pairs == "a.tsv" and run.model.num_layers == (6, 3)
    assert run.training.epochs == 3 and run.training.learning_rate == 0.001
    assert run.cleaning == Cleaning(max_ratio=None, source_scripts=("LATIN",))
    assert run.vocabulary.kind == "unigram" and run.vocabulary.size == 8000
    assert read_run(None, ["output=y", "data.pairs=b"]).data.pairs == "b"


def test_what_is_written_is_read_again(path, tmp_path):
    run = read_run(path)
    (tmp_path / "again.yaml").write_text(run_yaml(run))
    assert read_run(tmp_path / "again.yaml") == run
    assert flat(run)["training.epochs"] == 20 and flat(run)["output"] == "runs/x"
    sections = {name.partition(".")[0] for name in flat(run)}
    assert sections == {field.name for field in dataclasses.fields(TranslationRun)}


def test_all_that_is_wrong_is_said_at_once_with_near_names(path):
    changes = ["training.epoch=3", "outptu=y", "epochs=2", "model=3", "data.held_out=many", "training.average=0", "x"]
    with pytest.raises(ValueError, match="Expected a run as TranslationRun describes it in .*run.yaml, got ") as caught:
        read_run(path, changes)
    for problem in (
        "an unknown key training.epoch (did you mean 'training.epochs'?)",
        "an unknown key outptu (did you mean 'output'?)",
        "an unknown key epochs (did you mean 'training.epochs'?)",
        "model: 3, where settings of its own are expected",
        "data: DataSettings does not fit its fields",
        "field 'held_out' is 'many', expected int.",
        "x: expected name=value, such as training.epochs=3",
    ):
        assert problem in str(caught.value)
    with pytest.raises(ValueError, match="training: .* field 'average' is 0, expected int of at least 1."):
        read_run(path, ["training.average=0"])
    with pytest.raises(
        ValueError, match="training: Expected monitor to be one of bleu, chrf, chrf.., ter or loss, got 'acc'"
    ):
        read_run(path, ["training.monitor=acc"])
    with pytest.raises(ValueError, match="got no output; no data$|got no output; no data"):
        read_run()


def test_the_published_recipe_is_read():
    path = pathlib.Path(__file__).parents[3] / "examples" / "multi30k.yaml"
    run = read_run(path, ["output=x", "data.pairs=y"])
    assert (run.training.epsilon, run.training.monitor, run.cleaning.max_ratio) == (1e-8, "loss", None)


def test_what_is_no_yaml_or_no_mapping_is_refused(tmp_path):
    for text, message in [("a: [", "Expected YAML in .*bad.yaml, got: "), ("- a\n", "Expected keys and values in")]:
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_run(tmp_path / "bad.yaml")


def test_runs_name_the_metrics_of_translations(path):
    run = read_run(path, ["validation.metrics=[chrf++, ter]", "training.monitor=ter", "training.patience=3"])
    assert run.validation.metrics == ("chrf++", "ter") and run.training.monitor == "ter"
    for changes, message in (
        (["validation.metrics=[cherf]"], "got 'cherf' .did you mean 'chrf'"),
        (["validation.metrics=[]"], "Expected a metric or a scorer, got neither"),
        (["validation.scorer_base=x"], "Expected scorer with scorer_base, got none"),
        (
            ["validation.metrics=[ter]", "training.patience=3"],
            "training.monitor to be loss or one of .*, ter, got 'bleu'",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            read_run(path, changes)
