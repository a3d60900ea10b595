"""Commands that translate, with a decoder as with an encoder-decoder: prompts, terms, counts of protected parts."""

import json

import pytest
import typer.testing

import keras_transformers as kt
from keras_transformers.apps.cli.app import app
from tests.tasks.test_translator import decoder as decoder  # a fixture

pytest.importorskip("jinja2")

pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.filterwarnings("ignore::UserWarning")]
LANGUAGES = ("--source-language", "en", "--target-language", "fr")


@pytest.fixture(scope="module")
def preset(decoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "decoder"
    decoder.save_to_preset(folder)
    return folder


def call(*arguments):
    return typer.testing.CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_decoder_translates_without_being_named(preset, decoder):
    expected = kt.Translator(decoder).translate("The cat", "en", "fr")
    assert call("translate", "The cat", "--preset", preset, *LANGUAGES).stdout.rstrip("\n") == expected
    tower = kt.Translator(decoder, "tower").translate("The cat", "en", "fr")
    found = call("translate", "The cat", "--preset", preset, *LANGUAGES, "--template", "tower").stdout
    assert found.rstrip("\n") == tower != expected
    result = call("translate", "The cat", "--preset", preset)
    assert "Expected target_language" in str(result.exception) or "Expected source_language" in str(result.exception)


def test_a_decoder_is_evaluated_and_scores(preset, decoder, tmp_path):
    pytest.importorskip("sacrebleu")
    (tmp_path / "pairs.tsv").write_text("The cat\tLe chat\nThe dog\tLe chien\n")
    files = ("--pairs", tmp_path / "pairs.tsv", *LANGUAGES)
    made = tmp_path / "made.txt"
    metrics = ("--metric", "chrf++", "--metric", "ter", "--template", "tower", "--translations", made)
    result = call("evaluate", preset, *files, *metrics)
    assert result.exit_code == 0, result.exception
    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == ["chrF2++", "TER"]
    translator = kt.Translator(decoder, "tower")
    assert made.read_text().splitlines()[0] == " ".join(translator.translate("The cat", "en", "fr").splitlines())
    result = call("score", preset, *files, "--template", "tower")
    assert result.exit_code == 0, result.exception
    score = translator.score("The dog", "Le chien", "en", "fr")
    assert float(result.stdout.splitlines()[1].split("\t")[0]) == pytest.approx(score, abs=1e-3)


@pytest.mark.parametrize("documents", [(), ("--documents",)])
def test_protected_parts_and_terms_are_counted_in_a_report(preset, tmp_path, documents):
    lines = ["The {x} cat.", "The <b>dog</b> ran.", "", "See https://a.org now."]
    (tmp_path / "in.txt").write_text("".join(f"{line}\n" for line in lines))
    (tmp_path / "terms.tsv").write_text("cat\tchat\n\ndog\tchien\n")
    files = ("--input", tmp_path / "in.txt", "--output", tmp_path / "out.txt", "--report", tmp_path / "report.json")
    options = ("--protect", "all", "--glossary", tmp_path / "terms.tsv", *documents)
    result = call("translate", *files, "--preset", preset, *LANGUAGES, *options)
    assert result.exit_code == 0, result.exception
    report = json.loads((tmp_path / "report.json").read_text())
    kept = report["protected"]
    assert kept["parts"] == 4 and kept["appended"] >= kept["texts"] >= 1 and kept["first"][0].endswith("line 1")
    assert report["found"]["lost part"] == 0 and report["found"]["missing term"] == 2
    assert f"{kept['appended']} appended" in result.stderr and "missing term" in result.stderr


def test_an_evaluation_keeps_parts_and_terms_too(preset, tmp_path):
    pytest.importorskip("sacrebleu")
    (tmp_path / "pairs.tsv").write_text("The {x} cat\tLe {x} chat\nThe dog\tLe chien\n")
    (tmp_path / "terms.tsv").write_text("cat\tchat\n")
    options = ("--pairs", tmp_path / "pairs.tsv", *LANGUAGES, "--protect", "all", "--glossary", tmp_path / "terms.tsv")
    made, report = tmp_path / "made.txt", tmp_path / "report.json"
    result = call("evaluate", preset, *options, "--translations", made, "--report", report)
    assert result.exit_code == 0, result.exception
    assert "{x}" in made.read_text().splitlines()[0]
    found = json.loads(report.read_text())
    assert found["protected"]["parts"] == 1 and found["found"]["missing term"] == 1
    assert "protected: " in result.stderr


def test_a_classifier_is_no_translator(tmp_path):
    small = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2}
    for name, config in (("encoder", kt.models.encoder(50, **small)), ("decoder", kt.models.decoder(50, **small))):
        kt.TextClassifier(config, num_classes=2).save_to_preset(tmp_path / name)
    with pytest.raises(ValueError, match="Expected a preset of a model that writes text, .* got an encoder alone"):
        kt.Translator.from_preset(tmp_path / "encoder")
    with pytest.raises(ValueError, match="got one that was made for kt.TextClassifier: .*decoder"):
        kt.Translator.from_preset(tmp_path / "decoder")


def test_a_glossary_that_is_no_table(tmp_path):
    (tmp_path / "terms.tsv").write_text("cat\tchat\ncat\n")
    result = call("translate", "The cat", "--glossary", tmp_path / "terms.tsv")
    assert "Expected term<TAB>translation in" in str(result.exception) and "line 2, got 'cat'" in str(result.exception)
