"""Options of `evaluate` and `translate` that judge translations, on stand-in models."""

import json
import re
import types

import pytest
import typer.testing

import keras_transformers as kt
from keras_transformers.apps.cli.app import app
from keras_transformers.apps.files import Columns, JSONLines, translate_file
from keras_transformers.apps.translation_report import report_of_file

pytestmark = pytest.mark.one_backend("torch")
SOURCES = ["a b c d", "e f g h", "i j k l", "m n o p"]


class Copier:
    """Stands in for `Seq2SeqLM`: translates to capitals, but for one text."""

    judges = []
    weights, config, generation = (), None, types.SimpleNamespace(num_return_sequences=1)
    tokenizer = types.SimpleNamespace(files=dict)

    @classmethod
    def from_preset(cls, name):
        return cls()

    def translate(self, texts, progress, return_scores=False, rerank=None, num_candidates=None, **options):
        Copier.judges.append((rerank, num_candidates))
        progress(len(texts))
        found = ["x x x x x" if text.startswith("i") else " ".join(text.upper()) for text in texts]
        return (found, [-0.5 - text.startswith("m") for text in texts]) if return_scores else found


class Judge:
    """Stands in for a `TranslationScorer`."""

    name, references, lower_is_better = "MetricX", "optional", True

    @classmethod
    def from_preset(cls, name, base=None):
        assert name == "judge" and base in ("mt5", None)
        return cls()

    def score(self, sources, translations, references=None, progress=None):
        assert len(references) == len(sources)
        return [float(10 * translation.startswith("x")) for translation in translations]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setitem(kt.__dict__, "Seq2SeqLM", Copier)
    monkeypatch.setitem(kt.__dict__, "TranslationScorer", Judge)


@pytest.fixture
def pairs(tmp_path):
    lines = [f"{source}\t{' '.join(source.upper())}\n" for source in SOURCES]
    (tmp_path / "pairs.tsv").write_text("".join(lines))
    return tmp_path / "pairs.tsv"


def call(*arguments):
    return typer.testing.CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_evaluate_judges_compares_and_reports(tmp_path, pairs):
    pytest.importorskip("sacrebleu")
    (tmp_path / "others.txt").write_text("y\n" * 4)
    result = call(
        *("evaluate", "x", "--pairs", pairs, "--metric", "chrf++", "--metric", "ter"),
        *("--scorer", "judge", "--scorer-base", "mt5", "--beside", tmp_path / "others.txt", "--test", "randomization"),
        *("--report", tmp_path / "new" / "report.json", "--min-score", -5),
    )
    assert result.exit_code == 0, result.exception
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    names = ["chrF2++", "TER", "MetricX", "chrF2++, other", "TER, other", "MetricX, other"]
    assert [row[0] for row in rows] == names
    assert rows[2][1] == "2.5000" and rows[5][1] == "0.00"
    assert all(row[2].startswith("p = 0.") and "ar:10000" in row[3] for row in rows[3:])
    report = json.loads((tmp_path / "new" / "report.json").read_text())
    assert (report["checked"], report["found"]["repeated"], report["found"]["low score"]) == (4, 1, 1)
    assert report["first"]["low score"] == [
        {"line": 3, "source": SOURCES[2], "translation": "x x x x x", "score": -10.0}
    ]
    assert "repeated" in result.stderr and "25.00%" in result.stderr


def test_a_translated_file_is_reported(tmp_path):
    (tmp_path / "in.txt").write_text("".join(f"{source}\n" for source in [*SOURCES, ""]))
    files = ("--input", tmp_path / "in.txt", "--output", tmp_path / "out.txt", "--report", tmp_path / "report.json")
    result = call("translate", *files, "--scores", "--min-score", -1)
    assert result.exit_code == 0, result.exception
    report = json.loads((tmp_path / "report.json").read_text())
    assert {kind: [each["line"] for each in lines] for kind, lines in report["first"].items()} == {
        "repeated": [3],
        "untranslated": [1, 2, 4],
        "low score": [4],
    }
    assert "checked" in result.stderr


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        (Columns("text"), ["id\ttext\tmore", *(f"{n}\t{text}\tz" for n, text in enumerate(SOURCES))]),
        (Columns(2), [f"{n}\t{text}" for n, text in enumerate(SOURCES)]),
        (JSONLines("body"), [json.dumps({"body": text}) for text in SOURCES]),
    ],
    ids=["named", "numbered", "json"],
)
def test_each_format_of_lines(tmp_path, rows, lines):
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in lines))
    translate_file(Copier(), tmp_path / "in.txt", tmp_path / "out.txt", rows=rows, return_scores=True)
    report = report_of_file(tmp_path / "in.txt", tmp_path / "out.txt", rows=rows, scored=True)
    (suspect,) = report.first["repeated"]
    line = 4 if rows.has_header else 3
    assert (report.checked, suspect) == (4, (line, SOURCES[2], "x x x x x", -0.5))
    with open(tmp_path / "out.txt", "a") as file:
        file.write("one more\n")
    with pytest.raises(ValueError, match=r"as many lines in .*out.txt as in .*in.txt, got more"):
        report_of_file(tmp_path / "in.txt", tmp_path / "out.txt", rows=rows)


def test_translate_chooses_among_candidates():
    for name in ("chrf", "judge"):
        assert call("translate", "a b", "--rerank", name, "--candidates", 6).stdout == "A   B\n"
    (by_chrf, _), (by_model, count) = Copier.judges[-2:]
    assert by_chrf == kt.tasks.MinimumBayesRisk("chrf") and isinstance(by_model, Judge) and count == 6


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["translate", "a", "--report", "r"], "Expected --input and --output with --report"),
        (["translate", "a", "--min-score", "1"], "Expected --report with --min-score"),
        (["translate", "--input", "FILE", "--output", "o", "--report", "r", "--min-score", "1"], "Expected --scores"),
        (["translate", "a", "--candidates", "4"], "Expected --rerank with --candidates"),
        (["evaluate", "x", "--pairs", "FILE", "--metric", "comet"], "Expected a metric of bleu, chrf"),
        (["evaluate", "x", "--pairs", "FILE", "--test", "wild"], "--test to be one of bootstrap, randomization"),
        (["evaluate", "x", "--pairs", "FILE", "--scorer-base", "b"], "Expected --scorer with --scorer-base"),
        (["evaluate", "x", "--pairs", "FILE", "--beside", "FILE1"], "Expected 4 lines in .*, got 1"),
    ],
    ids=lambda each: each[-2] if isinstance(each, list) else None,
)
def test_options_that_contradict_each_other(tmp_path, pairs, command, message):
    pytest.importorskip("sacrebleu")
    (tmp_path / "one").write_text("y\n")
    result = call(*({"FILE": pairs, "FILE1": tmp_path / "one"}.get(each, each) for each in command))
    assert result.exit_code and re.search(message, str(result.exception)), result.exception
