"""The command line on a real, tiny model: train, save, translate, evaluate, explain."""

import subprocess
import sys

import pytest
import typer.testing

from keras_transformers.cli.app import app


def call(*arguments, stdin=None):
    result = typer.testing.CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code == 0, result.exception
    return result.stdout


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Numbers and their digits' names: little to learn, and enough to see that something was."""
    names = "zero one two three four five six seven eight nine".split()
    path = tmp_path_factory.mktemp("data") / "pairs.tsv"
    lines = [f"{number}\t{' '.join(names[int(digit)] for digit in str(number))}" for number in range(400)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def preset(pairs):
    folder = pairs.parent / "digits"
    shape = ["--num-layers", 1, "--hidden-dim", 32, "--num-heads", 2, "--intermediate-dim", 64]
    call("train", folder, "--pairs", pairs, "--vocabulary-size", 300, *shape, "--dropout", 0, "--epochs", 2)
    return folder


def test_lines_in_lines_out_in_order(preset):
    lines = ["12", "", "3", "  ", "207"]
    options = ["--preset", preset, "--max-new-tokens", 20, "--num-beams", 2]
    together = call("translate", *options, stdin="\n".join(lines))
    assert together == call("translate", *options, *lines)
    # So little training may answer with nothing; an empty line must.
    assert together.count("\n") == 5 and together.split("\n")[1] == together.split("\n")[3] == ""


def test_a_file_in_a_file_out(preset):
    source, output = preset.parent / "in.txt", preset.parent / "out.tsv"
    source.write_text("12\n\n3\n207\n", "utf-8")
    options = ["--preset", preset, "--max-new-tokens", 20, "--num-beams", 2, "--n-best", 2, "--scores"]
    call("translate", "--input", source, "--output", output, *options)
    assert output.read_text("utf-8") == call("translate", *options, stdin=source.read_text("utf-8"))
    assert [line.count("\t") for line in output.read_text("utf-8").splitlines()] == [3, 0, 3, 3]


def test_scores_have_signatures(preset, pairs):
    pytest.importorskip("sacrebleu")
    some = preset.parent / "some.tsv"
    some.write_text("".join(pairs.read_text("utf-8").splitlines(keepends=True)[:20]), "utf-8")
    printed = call("evaluate", preset, "--pairs", some, "--max-new-tokens", 20, "--num-beams", 2)
    rows = [line.split("\t") for line in printed.splitlines()]
    assert [row[0] for row in rows] == ["BLEU", "chrF"]
    assert all(0 <= float(row[1]) <= 100 and "version:" in row[2] for row in rows)


def test_the_recipe_is_printed(preset):
    assert "encoder" in call("explain", preset)


@pytest.mark.one_backend
def test_as_a_program(preset):
    command = [
        sys.executable,
        "-m",
        "keras_transformers",
        "translate",
        "--preset",
        str(preset),
        "--max-new-tokens",
        "20",
    ]
    done = subprocess.run(command, input="12\n\n3\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 3 and done.stdout.split("\n")[1] == ""
