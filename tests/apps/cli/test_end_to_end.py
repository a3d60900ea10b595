"""The command line on real, tiny models: train, save, translate, generate, evaluate, explain."""

import subprocess
import sys

import pytest
import typer.testing

import keras_transformers as kt
from keras_transformers.apps.cli.app import app

pytestmark = pytest.mark.one_backend("torch")  # it trains soonest


def run(*arguments, stdin=None):
    result = typer.testing.CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code == 0, result.exception
    return result


def call(*arguments, stdin=None):
    return run(*arguments, stdin=stdin).stdout


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


def test_each_language_may_have_a_vocabulary_of_its_own(pairs):
    folder = pairs.parent / "separate"
    shape = ["--num-layers", 1, "--hidden-dim", 16, "--num-heads", 2, "--intermediate-dim", 16, "--epochs", 1]
    sizes = ["--vocabulary-size", 300, "--separate-vocabularies"]
    made = run("train", folder, "--pairs", pairs, *sizes, *shape)
    assert "; 288 and 300 tokens; " in made.stderr  # there is little to learn of digits
    tokenizer = kt.Seq2SeqLM.from_preset(folder).tokenizer
    (source,), (target,) = tokenizer.encode_sources(["three"]), tokenizer.encode_targets(["three"])
    assert len(target) < len(source)  # the sources were digits
    assert call("translate", "--preset", folder, "--max-new-tokens", 5, "12").count("\n") == 1


def test_scores_have_signatures(preset, pairs):
    pytest.importorskip("sacrebleu")
    some = preset.parent / "some.tsv"
    some.write_text("".join(pairs.read_text("utf-8").splitlines(keepends=True)[:20]), "utf-8")
    printed = call("evaluate", preset, "--pairs", some, "--max-new-tokens", 20, "--num-beams", 2)
    rows = [line.split("\t") for line in printed.splitlines()]
    assert [row[0] for row in rows] == ["BLEU", "chrF"]
    assert all(0 <= float(row[1]) <= 100 and "version:" in row[2] for row in rows)


def test_translations_are_scored(preset):
    some = preset.parent / "scored.tsv"
    some.write_text("12\tone two\n\tone\n3\tthree\n", "utf-8")
    rows = [line.split("\t") for line in call("score", preset, "--pairs", some).splitlines()]
    assert [len(row) for row in rows] == [3, 1, 3]
    assert all(float(row[0]) < 0 and float(row[1]) > 1 for row in (rows[0], rows[2]))


def test_the_recipe_is_printed(preset):
    assert "encoder" in call("explain", preset)


def test_as_a_program(preset):
    """In a new interpreter, as the only test of a command that translates: others are forks."""
    command = [sys.executable, "-m", "keras_transformers", "translate"]
    command += ["--preset", str(preset), "--max-new-tokens", "20"]
    done = subprocess.run(command, input="12\n\n3\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 3 and done.stdout.split("\n")[1] == ""


def test_a_language_model_writes_what_it_learnt(tmp_path):
    import transformers

    (tmp_path / "lines.txt").write_text("to be or not to be\n\nthe rest is silence\n" * 20, "utf-8")
    (tmp_path / "held-out.txt").write_text("to be or not to be\n", "utf-8")
    shape = ["--num-layers", 1, "--hidden-dim", 32, "--num-heads", 2, "--max-length", 16, "--dropout", 0]
    options = ["--vocabulary-size", 280, "--epochs", 12, "--batch-tokens", 64, "--learning-rate", 0.01]
    data = ["--texts", tmp_path / "lines.txt", "--lines", "--validation-texts", tmp_path / "held-out.txt"]
    done = run("train-language-model", tmp_path / "model", *data, *shape, *options)
    assert "40 texts, 1 held out; 280 tokens; " in done.stderr
    assert call("generate", "--preset", tmp_path / "model", "--temperature", 0, "the rest") == "the rest is silence\n"
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "model")
    assert theirs.config.n_positions == 16 and theirs.generation_config.eos_token_id is not None


def test_training_goes_on_from_its_checkpoints(tmp_path):
    (tmp_path / "text.txt").write_text("to be or not to be\n" * 40, "utf-8")
    shape = ["--num-layers", 1, "--hidden-dim", 16, "--num-heads", 2, "--max-length", 16, "--vocabulary-size", 260]
    command = ["train-language-model", tmp_path / "model", "--texts", tmp_path / "text.txt", *shape, "--epochs", 2]
    first = run(*command, "--checkpoints", tmp_path / "run", "--picture", tmp_path / "curve.png")
    assert "Epoch 2/2" in first.stdout and (tmp_path / "curve.png").stat().st_size > 1000
    with pytest.warns(UserWarning, match="Nothing is trained: 2 epochs are done"):
        again = run(*command[:1], tmp_path / "again", *command[2:], "--checkpoints", tmp_path / "run")
    assert "Epoch" not in again.stdout  # nothing is left to do
