"""The command line, on a stand-in task that turns words around: what goes in, comes out, and in which order."""

import gzip
import importlib.util
import io
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
import typer.testing

import keras_transformers as kt
from keras_transformers.apps.cli import texts, translate
from keras_transformers.apps.cli.app import app
from keras_transformers.apps.runs import models
from keras_transformers.files import lines as line_files

pytestmark = pytest.mark.one_backend("torch")

ROOT = pathlib.Path(__file__).resolve().parents[3]


class Reverser:
    """Stands in for `Seq2SeqLM`."""

    made = []
    weights = ()
    no_files = types.SimpleNamespace(files=dict)
    generation = types.SimpleNamespace(num_return_sequences=1)

    def __init__(self, config=None, tokenizer=no_files):
        self.config, self.tokenizer, self.calls, self.names = config, tokenizer, [], []
        Reverser.made.append(self)

    @classmethod
    def from_preset(cls, name):
        if name == "absent":
            raise FileNotFoundError("Expected a preset, got 'absent'. Check the spelling.")
        return cls(name)

    def translate(self, sentences, progress, names=None, **options):
        self.calls.append((list(sentences), options))
        self.names += names or []
        progress(len(sentences))
        turned = [" ".join(reversed(sentence.split())) for sentence in sentences]
        return (turned, [-0.5] * len(turned)) if options.get("return_scores") else turned

    def compile(self, optimizer):
        self.calls.append(optimizer.get_config())

    def count_params(self):
        return 12345

    def fit(self, *data, **options):
        self.calls.append((data, options))

    def save_to_preset(self, folder, dtype=None):
        pathlib.Path(folder).mkdir()

    export_hugging_face = save_to_preset


class Writer:
    """Stands in for `CausalLM`: it says the prompt again, and the options it was given."""

    @classmethod
    def from_preset(cls, name):
        Reverser.made.append(writer := cls())
        writer.config, writer.calls = name, []
        return writer

    def generate(self, prompt, return_prompt, **options):
        self.calls.append((prompt, options))
        return f"{prompt} +\nmore"

    def stream(self, prompt, **options):
        self.calls.append((prompt, options))
        yield from (" +", "\nmore", " é")


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """Names of the package load when first used, so they are put into its dictionary, not looked up first."""
    Reverser.made = []
    tokenizer = types.SimpleNamespace(vocabulary_size=77, padding_id=0, target=None)
    monkeypatch.setitem(kt.__dict__, "Seq2SeqLM", Reverser)
    monkeypatch.setitem(kt.__dict__, "CausalLM", Writer)
    trained = types.SimpleNamespace(train=lambda lines, **options: (lines, options) and tokenizer)
    monkeypatch.setattr(models, "Tokenizer", trained)
    monkeypatch.setattr(models, "transformer", lambda size, **fields: {"vocabulary_size": size, **fields})
    monkeypatch.setitem(kt.__dict__, "explain", lambda task: f"the recipe of {task.config}")


def call(*arguments, stdin=None):
    return typer.testing.CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


# --- generate


def test_one_prompt_is_continued_as_it_is_made():
    result = call("generate", "a\\nb", "--max-new-tokens", 9, "--temperature", 0.5, "--stop", "\\n\\n", "--seed", 3)
    assert result.stdout_bytes.decode() == "a\nb +\nmore é\n"
    (writer,) = Reverser.made
    options = {"max_new_tokens": 9, "do_sample": True, "temperature": 0.5, "stop": ("\n\n",), "seed": 3}
    assert (writer.config, writer.calls) == ("shakespeare", [("a\nb", options)])


def test_several_prompts_are_a_line_each():
    assert call("generate", "a", "b", "--temperature", 0).stdout == "a + more\nb + more\n"
    assert call("generate", "--num-beams", 2, stdin="a\nb\n").stdout == "a + more\nb + more\n"
    assert [writer.calls for writer in Reverser.made] == [
        [("a", {"do_sample": False}), ("b", {"do_sample": False})],
        [("a", {"num_beams": 2}), ("b", {"num_beams": 2})],
    ]


# --- translate


def test_translates_arguments():
    result = call("translate", "a b c", "", "d e", "--num-beams", 2, "--max-new-tokens", 9)
    assert result.stdout == "c b a\n\ne d\n"
    (task,) = Reverser.made
    assert task.names == ["sentence 1", "sentence 2", "sentence 3"]
    assert task.config == "english-french"
    assert task.calls == [(["a b c", "", "d e"], {"num_beams": 2, "batch_size": 32, "max_new_tokens": 9})]


def test_settings_that_are_not_given_are_left_to_the_preset():
    call("translate", "a")
    assert Reverser.made[0].calls == [(["a"], {"batch_size": 32})]


def test_one_line_out_for_each_line_in_in_order_with_empty_ones_kept():
    lines = [f"{number} word" if number % 3 else " " * (number % 2) for number in range(1000)]
    result = call("translate", "--batch-size", 4, stdin="\n".join(lines))
    assert result.stdout.split("\n")[:-1] == [f"word {number}" if number % 3 else "" for number in range(1000)]
    assert all(len(sentences) <= 4 * translate.BATCHES_AT_ONCE for sentences, _ in Reverser.made[0].calls)
    assert Reverser.made[0].names == [f"line {number}" for number in range(1, 1001)]


def test_texts_without_a_letter_may_be_translated_too():
    call("translate", "12:30", "--no-keep-letterless")
    assert Reverser.made[0].calls == [(["12:30"], {"batch_size": 32, "keep_letterless": False})]


def test_a_byte_order_mark_in_standard_input_is_no_text():
    assert call("translate", stdin="\ufeffa b\r\n".encode()).stdout == "b a\n"
    assert call("generate", stdin="\ufeffa\n\nb\n".encode()).stdout == "a + more\n\nb + more\n"
    assert "got UTF-16" in str(call("translate", stdin="a b\n".encode("utf-16")).exception)


def test_only_a_newline_ends_a_line():
    result = call("translate", stdin="a\u2028b\r\nc\x0bd\x85e\n\n\nf g".encode())
    assert result.stdout_bytes.decode().count("\n") == 5
    assert result.stdout_bytes.decode().split("\n")[4] == "g f"


def test_who_types_is_told_how_and_answered_line_by_line(monkeypatch, capsys):
    keyboard = types.SimpleNamespace(isatty=lambda: True, buffer=io.BytesIO(b"a b\nc d\n"))
    streams = types.SimpleNamespace(stdin=keyboard, stdout=sys.stdout, stderr=sys.stderr)
    monkeypatch.setattr(translate, "sys", streams)
    translate.translate(preset="x", batch_size=8)
    assert capsys.readouterr() == ("b a\nd c\n", "A sentence a line; Ctrl-D ends.\n")
    assert [sentences for sentences, _ in Reverser.made[0].calls] == [["a b"], ["c d"]]


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="a file that is always full is Linux's")
def test_a_full_disk_is_said(monkeypatch):
    full = types.SimpleNamespace(buffer=open("/dev/full", "wb", buffering=0))
    monkeypatch.setattr(translate, "sys", types.SimpleNamespace(stdout=full))
    with pytest.raises(OSError, match="room for more on standard output, got a full disk.*goes on where it stopped"):
        translate.write(["a"])
    full.buffer.close()


def test_no_input_is_no_output():
    result = call("translate", stdin="")
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_translation_of_several_lines_stays_one(monkeypatch):
    monkeypatch.setattr(Reverser, "translate", lambda self, sentences, **options: ["x\ny\u2028z"] * len(sentences))
    assert call("translate", stdin="a\nb\n").stdout == "x y z\nx y z\n"


def test_input_that_is_not_utf8_is_refused_with_its_line():
    result = call("translate", stdin=b"a b\nc \xff\n")
    assert isinstance(result.exception, ValueError)
    assert "Expected UTF-8 text in standard input, got byte 0xff in line 2" in str(result.exception)
    assert result.stdout == "b a\n"  # what was right is translated


def test_the_attention_of_one_sentence_is_drawn(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setitem(kt.__dict__, "plot_attention", lambda task, text, **options: drawn.append((text, options)))
    result = call("translate", "a b", "--num-beams", 3, "--attention", tmp_path / "a.png")
    assert result.stdout == "b a\n" and drawn == [("a b", {"path": tmp_path / "a.png", "num_beams": 3})]
    result = call("translate", "a", "b", "--attention", tmp_path / "a.png")
    assert "Expected one sentence to draw the attention of, got 2" in str(result.exception)


def test_a_file_is_translated_into_another(tmp_path):
    write(tmp_path / "in.txt", ["a b", "", "c d"])
    options = ["--source-language", "en", "--target-language", "fr", "--num-beams", 2]
    result = call("translate", "--input", tmp_path / "in.txt", "--output", tmp_path / "out.txt", *options)
    assert result.exit_code == 0, result.exception
    assert (result.stdout, (tmp_path / "out.txt").read_text()) == ("", "b a\n\nd c\n")
    assert f"3 lines in {tmp_path / 'out.txt'}; " in result.stderr
    told = {"num_beams": 2, "batch_size": 32, "source_language": "en", "target_language": "fr"}
    assert Reverser.made[0].calls == [(["a b", "", "c d"], told)]
    write(tmp_path / "in.tsv", ["id\tfr", "1\ta b"])
    for column, line in (("2", "id\tfr\tfr"), ("fr", "id\tfr\ten")):
        files = ["--input", tmp_path / "in.tsv", "--output", tmp_path / column]
        assert call("translate", *files, "--column", column, "--into", "en").exit_code == 0
        assert (tmp_path / column).read_text() == f"{line}\n1\ta b\tb a\n"
    write(tmp_path / "in.jsonl", ['{"x": "a b"}'])
    files = ["--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl"]
    call("translate", *files, "--field", "x", "--scores")
    assert (tmp_path / "out.jsonl").read_text() == '{"x": "a b", "translation": "b a", "translation_score": -0.5}\n'


def test_words_that_have_to_occur(tmp_path):
    call("translate", "a b", "--word", "c d", "--word", "e")
    assert Reverser.made[-1].calls == [(["a b"], {"batch_size": 32, "forced_words": ["c d", "e"]})]
    write(tmp_path / "in.jsonl", ['{"x": "a b", "terms": ["f"]}'])
    files = ["--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl"]
    assert call("translate", *files, "--field", "x", "--words-field", "terms", "--word", "c").exit_code == 0
    assert Reverser.made[-1].calls[0][1]["forced_words"] == [["c", "f"]]
    result = call("translate", *files, "--words-field", "terms")
    assert "Expected --field with --words-field" in str(result.exception)


def test_the_shortlist_is_left_out():
    assert call("translate", "a b", "--no-shortlist").exit_code == 0
    assert Reverser.made[-1].calls[0][1]["shortlist"] is False
    assert call("translate", "a b").exit_code == 0
    assert "shortlist" not in Reverser.made[-1].calls[0][1]


def test_scores_stand_beside_translations():
    assert call("translate", "a b", "", "--scores").stdout == "b a\t-0.500000\n\n"


def test_files_and_what_contradicts_them(tmp_path):
    write(tmp_path / "in", ["a"])
    files = ["--input", tmp_path / "in", "--output", tmp_path / "out"]
    for command, message in [
        (files[:2], "Expected --input and --output together, got --input alone. Give both"),
        (["x", *files], "Expected --input alone, got texts too. Leave texts out"),
        ([*files, "--column", 1, "--field", "x"], "Expected one of --column, for a file with tabs, and --field"),
        (["x", "--column", 1], "Expected --input and --output with --column, --field or --documents, got none"),
    ]:
        assert message in str(call("translate", *command).exception)
    assert Reverser.made == []


# --- evaluate


def test_evaluate_prints_scores_with_signatures_and_draws(tmp_path):
    pytest.importorskip("sacrebleu")
    sentences = [" ".join(f"w{number + k}" for k in range(4 + number % 9)) for number in range(60)]
    write(tmp_path / "source", sentences)
    write(tmp_path / "target", [" ".join(reversed(sentence.split())) for sentence in sentences])
    result = call(
        "evaluate",
        "x",
        *("--source", tmp_path / "source", "--target", tmp_path / "target"),
        *("--picture", tmp_path / "new" / "bleu.png", "--translations", tmp_path / "out"),
    )
    assert result.exit_code == 0, result.exception
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert rows[0][:2] == ["BLEU", "100.00"] and "version:" in rows[0][2]
    assert rows[1][:2] == ["chrF", "100.00"] and "version:" in rows[1][2]
    assert "60 sentences in" in result.stderr
    assert (tmp_path / "new" / "bleu.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out").read_text() == (tmp_path / "target").read_text()


# --- score


def test_each_line_is_scored_and_an_empty_source_stays_empty(tmp_path, monkeypatch):
    asked = []

    def score(self, sources, targets, per_token, batch_size, progress, **languages):
        asked.append((sources, targets, languages))
        return [np.array([-1.0, -2.0][: len(target.split())]) for target in targets]

    monkeypatch.setattr(Reverser, "score", score, raising=False)
    write(tmp_path / "pairs.tsv", ["a\tA", "\tB", "c d\tC D"])
    result = call("score", "x", "--pairs", tmp_path / "pairs.tsv", "--target-language", "fr", "--batch-size", 1)
    assert result.stdout == "-1.0000\t2.7183\t1\n\n-3.0000\t4.4817\t2\n"
    assert "3 pairs, 3 tokens, perplexity 3.7937" in result.stderr
    assert asked == [(["a", "c d"], ["A", "C D"], {"target_language": "fr"})]


# --- train


def test_train_fits_on_pairs_and_saves(tmp_path):
    write(tmp_path / "pairs.tsv", ["a b\tA B\tCC-BY", "c\tC"])
    write(tmp_path / "held-out.tsv", ["d\tD"])
    result = call(
        "train",
        tmp_path / "model",
        *("--pairs", tmp_path / "pairs.tsv", "--validation-pairs", tmp_path / "held-out.tsv"),
        *("--num-layers", 2, "--hidden-dim", 64, "--epochs", 3),
    )
    assert result.exit_code == 0, result.exception
    (task,) = Reverser.made
    assert task.config["vocabulary_size"] == 77 and task.config["num_layers"] == 2 and task.config["hidden_dim"] == 64
    peak = task.calls[0]["learning_rate"]["config"]
    assert peak["peak"] == pytest.approx((64 * 4000) ** -0.5) and peak["warmup_steps"] == 4000
    data, options = task.calls[1]
    assert data == (["a b", "c"], ["A B", "C"])
    expected = {"validation_data": (["d"], ["D"]), "batch_tokens": 4096, "epochs": 3, "seed": 0, "callbacks": []}
    assert options == {**expected, "verbose": 2}
    assert "2 pairs, 1 held out; 77 tokens; 12,345 parameters\n" in result.stderr
    assert (tmp_path / "model").is_dir()


def test_train_draws_scores_and_keeps_checkpoints_in_the_order_in_which_they_read_the_logs(tmp_path):
    write(tmp_path / "pairs.tsv", ["a b\tA B", "c\tC"])
    result = call(
        "train",
        tmp_path / "model",
        *("--pairs", tmp_path / "pairs.tsv", "--validation-pairs", tmp_path / "pairs.tsv", "--bleu"),
        *("--checkpoints", tmp_path / "run", "--picture", tmp_path / "curve.png"),
        *("--learning-rate", 0.003, "--warmup-steps", 100, "--seed", 7),
    )
    assert result.exit_code == 0, result.exception
    schedule, (_, options) = Reverser.made[0].calls
    assert schedule["learning_rate"]["config"]["peak"] == 0.003
    names = [type(callback).__name__ for callback in options["callbacks"]]
    assert names == ["TranslationQuality", "Checkpoint", "LearningCurve"] and options["seed"] == 7
    result = call("train", tmp_path / "other", "--pairs", tmp_path / "pairs.tsv", "--bleu")
    assert "Expected held-out sentences for --bleu, got none" in str(result.exception)


def test_texts_are_files_or_lines(tmp_path):
    write(tmp_path / "plays.txt", ["To be,", "", "or not."])
    with gzip.open(tmp_path / "more.txt.gz", "wb") as file:
        file.write("été\r\n".encode())
    paths = [tmp_path / "plays.txt", tmp_path / "more.txt.gz"]
    assert line_files.read_texts(paths) == ["To be,\n\nor not.", "été"]
    assert line_files.read_texts(paths, lines=True) == ["To be,", "or not.", "été"]
    write(tmp_path / "empty.txt", ["", " "])
    for lines in (False, True):
        with pytest.raises(ValueError, match=r"Expected a text in .*empty.txt, got none"):
            line_files.read_texts([*paths, tmp_path / "empty.txt"], lines)


def test_a_language_model_needs_a_text_and_a_place(tmp_path):
    write(tmp_path / "text.txt", ["To be, or not."])
    assert "--texts" in call("train-language-model", tmp_path / "model").stderr
    result = call("train-language-model", tmp_path, "--texts", tmp_path / "text.txt")
    assert isinstance(result.exception, FileExistsError)


def test_what_is_not_installed_is_said_before_the_work(tmp_path, monkeypatch):
    write(tmp_path / "pairs.tsv", ["a b\tA B", "c\tC"])
    find = importlib.util.find_spec
    hidden = ("sacrebleu", "matplotlib")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in hidden else find(name))
    for command in (
        ["evaluate", "x", "--pairs", tmp_path / "pairs.tsv"],
        ["translate", "a", "--attention", tmp_path / "a.png"],
        ["train", tmp_path / "model", "--pairs", tmp_path / "pairs.tsv", "--picture", tmp_path / "curve.png"],
        ["train-language-model", tmp_path / "model", "--texts", tmp_path / "pairs.tsv", "--picture", "curve.png"],
    ):
        error = call(*command).exception
        assert isinstance(error, ImportError) and r"pip install 'keras-transformers[train]'" in str(error)
    assert Reverser.made == []


def test_train_refuses_an_output_that_it_could_not_save_to_before_it_starts(tmp_path):
    write(tmp_path / "pairs.tsv", ["a\tA"])
    result = call("train", tmp_path, "--pairs", tmp_path / "pairs.tsv")
    assert isinstance(result.exception, FileExistsError)
    assert Reverser.made == []


# --- pairs


def write(path, lines):
    path.write_text("".join(line + "\n" for line in lines), "utf-8")


def test_pairs_from_compressed_files(tmp_path):
    for name, content in {"s.gz": "a\nb\n", "t.gz": "A\nB\n"}.items():
        with gzip.open(tmp_path / name, "wt", encoding="utf-8") as file:
            file.write(content)
    assert line_files.read_pairs(tmp_path / "s.gz", tmp_path / "t.gz", None) == (["a", "b"], ["A", "B"])


def test_wrong_pairs_are_refused(tmp_path):
    write(tmp_path / "two", ["a", "b"])
    write(tmp_path / "one", ["A"])
    write(tmp_path / "tabs", ["a\tA", "b"])
    write(tmp_path / "none", [])
    with pytest.raises(ValueError, match="Expected as many lines in .*two as in .*one, got 2 and 1"):
        line_files.read_pairs(tmp_path / "two", tmp_path / "one", None)
    with pytest.raises(ValueError, match="Expected source<TAB>target in .*tabs, got no tab in line 2"):
        line_files.read_pairs(None, None, tmp_path / "tabs")
    with pytest.raises(ValueError, match="Expected at least one pair, got none in .*none"):
        line_files.read_pairs(None, None, tmp_path / "none")
    for given, message in [
        ((tmp_path / "two", None, None), "got source. Give"),
        ((None, None, None), "got none of them. Give"),
        ((tmp_path / "two", tmp_path / "one", tmp_path / "tabs"), "got source and target and pairs. Give"),
    ]:
        with pytest.raises(ValueError, match=message):
            line_files.read_pairs(*given)
    with pytest.raises(
        ValueError, match="got source. Give --validation-source and --validation-target, or --validation-pairs"
    ):
        line_files.read_pairs(tmp_path / "two", None, None, prefix="--validation-")


# --- convert


def test_convert_saves_in_either_format(tmp_path, monkeypatch):
    exported = []
    monkeypatch.setattr(
        Reverser, "export_ctranslate2", lambda self, *arguments: exported.append(arguments), raising=False
    )
    assert call("convert", "x", tmp_path / "hugging-face", "--dtype", "float16").exit_code == 0
    assert (tmp_path / "hugging-face").is_dir()
    call("convert", "x", tmp_path / "theirs", "--to", "ctranslate2", "--quantization", "int8")
    assert exported == [(tmp_path / "theirs", "int8")]
    for options, message in [
        (["--to", "onnx"], "Expected --to to be one of hugging-face, ctranslate2, marian, got 'onnx'"),
        (["--quantization", "int8"], "Expected no --quantization with --to hugging-face"),
        (["--to", "ctranslate2", "--dtype", "float16"], "Expected no --dtype with --to ctranslate2"),
        (["--to", "ctranslate2", "--task", "CausalLM"], "Expected a Seq2SeqLM for CTranslate2, got --task CausalLM"),
        (["--task", "Seq2Seq"], "Expected --task to be one of CausalLM, "),
    ]:
        assert message in str(call("convert", "x", tmp_path / "new", *options).exception)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "config.json").touch()
    result = call("convert", "x", tmp_path / "theirs", "--to", "ctranslate2")
    assert isinstance(result.exception, FileExistsError) and len(exported) == 1


# --- explain, presets, the program itself


def test_explain_prints_the_recipe():
    assert call("explain", "x").stdout == "the recipe of x\n"


def test_presets_lists_what_ships(tmp_path, monkeypatch):
    from keras_transformers.formats import preset, safetensors_files, sources

    (tmp_path / "pyproject.toml").touch()
    weights = {"w": [[1.0, 2.0]] * 50_000}
    preset.save_folder(
        tmp_path / "presets" / "tiny",
        {
            "config.json": preset.json_bytes({"task": "Seq2SeqLM"}),
            preset.WEIGHTS: lambda path: safetensors_files.write_tensors(path, weights, dtype="float16"),
            "README.md": b"---\nlicense: mit\n---\n# A tiny model\n",
        },
    )
    monkeypatch.setattr(sources, "_PACKAGE", tmp_path / "keras_transformers")
    lines = call("presets").stdout.splitlines()
    assert lines[0] == "name\ttask\tparameters\tsize\tabout"
    assert lines[1:] == ["tiny\tSeq2SeqLM\t0.1 M\t0.2 MB\tA tiny model"]


def test_families_prints_the_page_and_the_keys_of_one():
    page = (ROOT / "docs" / "families.md").read_text("utf-8")
    assert call("families").stdout == page, "Run keras-transformers families > docs/families.md."
    keys = call("families", "bert").stdout.splitlines()
    assert keys[0] == "| key | default | field of ModelConfig |"
    assert "| `hidden_size` | `768` | `hidden_dim` |" in keys
    assert "got 'bret' (did you mean 'bert'?)" in str(call("families", "bret").exception)


def run(*arguments, **options):
    command = [sys.executable, "-m", "keras_transformers", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)


def test_help_of_every_command_imports_no_keras():
    program = """
import sys
from keras_transformers.__main__ import main
for command in " translate train train-language-model run evaluate score convert explain presets families".split(" "):
    sys.argv = ["keras-transformers", *command.split(), "--help"]
    try:
        main()
    except SystemExit as exit:
        print(exit.code)
print(sorted({"keras", "numpy", "jax", "torch", "tensorflow"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert done.stdout.count("Usage: keras-transformers") == 11


def test_an_error_is_one_line_and_no_traceback(tmp_path):
    write(tmp_path / "two", ["a", "b"])
    write(tmp_path / "one", ["A"])
    done = run("train", str(tmp_path / "new"), "--source", str(tmp_path / "two"), "--target", str(tmp_path / "one"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("keras-transformers: Expected as many lines in")
    assert not (tmp_path / "new").exists()
    done = run("evaluate", "x", "--pairs", "no-such-file")
    assert done.returncode == 2 and "does not exist" in done.stderr


def test_without_typer_the_message_says_what_to_install():
    program = "import sys; sys.modules['typer'] = None; from keras_transformers.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "keras-transformers: the command line needs typer: `pip install 'keras-transformers[cli]'`.\n"


class Terminal:
    def isatty(self):
        return True

    def write(self, text):
        raise AssertionError("drawn on standard output")

    def flush(self):
        pass


def test_progress_is_drawn_on_a_terminal_of_standard_error_only(monkeypatch, capsys):
    with texts.progress("x", total=3) as advance:
        advance(1)
    with texts.file_progress("x") as told:
        assert told is None
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with texts.progress("translating", total=3) as advance:
        advance(3)
    out, err = capsys.readouterr()
    assert out == "" and "translating" in err and "3/3" in err
    with texts.file_progress("translating") as told:
        told(1000, 0.5)
        told(2000, 1.0)
    out, err = capsys.readouterr()
    assert out == "" and "100%" in err and "2,000 lines" in err
    monkeypatch.setattr(sys, "stdout", Terminal())
    with texts.progress("x", total=3) as advance:
        advance(1)
