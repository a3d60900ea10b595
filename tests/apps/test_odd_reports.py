"""Reports of translations: odd files, odd checks, and options of the command line that do not go together."""

import json
import types

import pytest

import keras_transformers as kt
from keras_transformers.apps.cli import evaluate, options, translate
from keras_transformers.apps.files import JSONLines
from keras_transformers.apps.translation_report import report_of_file
from keras_transformers.data.translation_checks import TranslationChecks, check_translations
from keras_transformers.training.comparison import compare_systems

pytestmark = pytest.mark.one_backend("torch")
LINES = ["The house is small.", "A dog barks at the cat."]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_ratio": 0}, "max_ratio"),
        ({"most_repeats": -1}, "most_repeats"),
        ({"max_copied_share": 5}, "max_copied_share"),
        ({"min_script_share": 3}, "min_script_share"),
        ({"examples": -1}, "examples"),
        ({"scripts": ("latin",)}, "such as 'LATIN', got"),
        ({"scripts": ()}, "such as 'LATIN', got"),
    ],
)
def test_checks_that_check_nothing_or_everything(given, message):
    with pytest.raises(ValueError, match=message):
        TranslationChecks(**given)


def test_a_least_score_needs_scores():
    with pytest.raises(ValueError, match="Expected scores with min_score=0.5, got none"):
        check_translations(LINES, LINES, checks=TranslationChecks(min_score=0.5))
    with pytest.raises(ValueError, match="Expected --scorer with --min-score"):
        evaluate._check_report(options.ReportOptions("report.json", 0.5), evaluate.Judging())


def test_a_test_needs_another_system():
    with pytest.raises(ValueError, match="Expected --beside with --test"):
        evaluate._others(evaluate.Judging(test="randomization"), 2)


@pytest.mark.parametrize(
    "values", [[], 5, {}, {"translation": []}, {"translation": None}, {"translation": "a", "translation_score": "b"}]
)
def test_lines_without_a_translation(tmp_path, values):
    (tmp_path / "in").write_text('{"text": "a"}\n')
    (tmp_path / "out").write_text(json.dumps(values) + "\n")
    with pytest.raises(ValueError, match="out, line 1: expected"):
        report_of_file(tmp_path / "in", tmp_path / "out", rows=JSONLines())


def test_scores_that_count_errors(tmp_path):
    (tmp_path / "in").write_text("\n".join(LINES) + "\n")
    (tmp_path / "out").write_text("La maison est petite.\t2.5\nUn chien aboie.\t9\n")
    checks = TranslationChecks(min_score=-5.0)
    report = report_of_file(tmp_path / "in", tmp_path / "out", scored=True, lower_is_better=True, checks=checks)
    assert report.found["low score"] == 1 and report.first["low score"][0].line == 2
    judge = types.SimpleNamespace(score=len, references="optional", lower_is_better=True)
    assert translate._counts_errors(judge) and translate._counts_errors(kt.tasks.MinimumBayesRisk(judge))
    assert not translate._counts_errors(None) and not translate._counts_errors(kt.tasks.MinimumBayesRisk())


def test_scores_that_are_no_numbers():
    with pytest.raises(ValueError, match="Expected finite scores of COMET"):
        compare_systems(LINES, LINES, LINES, metrics=(), scores={"COMET": ([0.5, float("nan")], [0.5, 0.6])})
