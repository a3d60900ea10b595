"""A whole run on a little text: what it leaves, that it goes on after a kill, and what it refuses."""

import json
import signal
import time

import pytest

import keras_transformers as kt
from keras_transformers.apps.runs import read_run, scores, train_translation
from keras_transformers.apps.runs.epochs import Epochs

# Sources are numbers.
pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.filterwarnings("default:.*hold no letter")]

NAMES = "zero one two three four five six seven eight nine".split()


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Numbers and their digits' names, some of them wrong."""
    folder = tmp_path_factory.mktemp("data")
    lines = [f"{number}\t{' '.join(NAMES[int(digit)] for digit in str(number))}" for number in range(300)]
    wrong = ["", "12\t", "300\tthree zero zero " + "zero " * 50, lines[7], "two\ttwo"]
    wrong[0] = "\tempty"
    (folder / "pairs.tsv").write_text("\n".join(lines + wrong) + "\n")
    return [
        f"data.pairs={folder / 'pairs.tsv'}",
        "data.held_out=20",
        "vocabulary.size=290",
        *("model.num_layers=1", "model.hidden_dim=16", "model.num_heads=2", "model.intermediate_dim=32"),
        *("training.epochs=3", "training.batch_tokens=256", "training.average=2", "training.warmup_steps=20"),
        *("validation.sentences=4", "validation.max_new_tokens=8", "decoding.max_new_tokens=8", "decoding.num_beams=2"),
    ]


@pytest.fixture(scope="module")
def trained(settings, tmp_path_factory):
    said = []
    run = read_run(None, [*settings, f"output={tmp_path_factory.mktemp('runs') / 'whole'}"])
    return run, train_translation(run, say=said.append, verbose=0), said


def test_a_run_leaves_a_preset_and_says_what_it_did(trained):
    run, (task, report), said = trained
    with open(f"{run.output}/report.json") as file:
        assert json.load(file) == report
    assert report["pairs"] == {
        **{"read": 305, "empty": 2, "long": 0, "lengths": 1, "script": 0, "copy": 1, "duplicate": 1, "held out": 20},
        "kept": 280,
    }
    assert (report["watched"], report["epochs"], report["averaged"]) == (20, 3, 2)
    assert report["settings"]["training"]["epochs"] == 3 and report["updates"] > 3 and report["training_seconds"] > 0
    assert 0 <= report["test"]["BLEU"] <= 100 and "version:" in report["test"]["chrF_signature"]
    assert report["versions"]["backend"] == "torch" and report["versions"]["keras"] and report["versions"]["torch"]
    assert report["versions"]["keras-transformers"] == kt.__version__
    assert {"val_bleu", "val_loss", "loss"} <= report["last_epoch"].keys()
    assert "duplicate" in said[0] and "280 pairs, 20 watched" in said[1] and said[-1].startswith("chrF\t")
    loaded = kt.Seq2SeqLM.from_preset(f"{run.output}/preset")
    assert loaded.generation.num_beams == 2 and loaded.translate(["12", "7"]) == task.translate(["12", "7"])
    assert read_run(f"{run.output}/run.yaml") == run


def test_a_vocabulary_for_each_language(settings, tmp_path):
    changes = [*settings, f"output={tmp_path}", "vocabulary.shared=false", "training.epochs=1"]
    said = []
    task, report = train_translation(read_run(None, changes), say=said.append, verbose=0)
    assert report["vocabulary"] == task.config.embeddings.vocabulary_size == task.tokenizer.vocabulary_size
    assert report["target_vocabulary"] == task.config.decoder_embeddings.vocabulary_size
    assert f"; {report['vocabulary']} tokens and {report['target_vocabulary']}; " in said[1]
    again = kt.Seq2SeqLM.from_preset(tmp_path / "preset")
    assert again.translate(["12"]) == task.translate(["12"])


def test_a_run_that_is_done_says_so_and_one_with_others_is_refused(trained, settings):
    run, (task, report), _ = trained
    said = []
    again = train_translation(run, say=said.append)
    assert again.report == report and "is done already" in said[0]
    assert again.task.translate("12") == task.translate("12")
    other = read_run(None, [*settings, f"output={run.output}", "model.dropout=0.5", "training.seed=1"])
    message = "begun with, got model.dropout=0.5 instead of 0.1; training.seed=1 instead of 0. Give the same"
    with pytest.raises(ValueError, match=message):
        train_translation(other)


def test_a_killed_run_goes_on(trained, settings, tmp_path, forks):
    whole, output = trained[1].report, tmp_path / "killed"
    changes = [part for each in [*settings, f"output={output}"] for part in ("--set", each)]
    child = forks.start("keras_transformers", "run", *changes)
    deadline = time.monotonic() + 300
    while not list(output.glob("checkpoints/step-*")) and not child.has_ended() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    begun = len((output / "epochs.jsonl").read_text().splitlines())
    assert 1 <= begun <= 3 and not (output / "report.json").exists()
    _, report = train_translation(read_run(None, [*settings, f"output={output}"]), say=lambda text: None, verbose=0)
    assert [report[name] for name in ("epochs", "updates", "pairs")] == [
        whole[name] for name in ("epochs", "updates", "pairs")
    ]
    rows = [json.loads(line)["epoch"] for line in (output / "epochs.jsonl").read_text().splitlines()]
    assert rows == [0, 1, 2]
    longer = read_run(None, [*settings, f"output={output}", "training.epochs=4"])
    assert train_translation(longer, say=lambda text: None, verbose=0).report["epochs"] == 4


def test_patience_counts_through_kills(tmp_path):
    epochs = Epochs(tmp_path / "epochs.jsonl", "bleu", 2)
    rows = [{"epoch": number, "val_bleu": score} for number, score in enumerate((1.0, 3.0, 2.0, 3.0))]
    assert [epochs.is_over(rows[:count]) for count in range(5)] == [False, False, False, False, True]
    assert not Epochs(tmp_path / "epochs.jsonl", "bleu", None).is_over(rows)
    loss = Epochs(tmp_path / "epochs.jsonl", "loss", 1)
    assert loss.is_over([{"val_loss": 1.0}, {"val_loss": 1.5}]) and not loss.is_over([{"val_loss": 1.0}, {}][:1])
    (tmp_path / "epochs.jsonl").write_text('{"epoch": 0, "val_bleu": 1, "seconds": 2}\n{"epoch": 1, "val_b')
    assert epochs.done() == [{"epoch": 0, "val_bleu": 1, "seconds": 2}]


def test_too_little_is_said(settings, tmp_path):
    (tmp_path / "few.tsv").write_text("a\tb\n")
    run = read_run(None, [f"output={tmp_path / 'new'}", f"data.pairs={tmp_path / 'few.tsv'}"])
    with pytest.raises(ValueError, match="Expected at least 10 different pairs to hold some out of, got 1"):
        train_translation(run)
    run = read_run(
        None,
        [f"output={tmp_path / 'new'}"]
        + [f"data.{name}pairs={tmp_path / 'few.tsv'}" for name in ("", "test_", "validation_")],
    )
    with pytest.raises(ValueError, match="Expected some pairs to learn from, got none after cleaning"):
        train_translation(run, say=lambda text: None)
    run = read_run(None, [f"output={tmp_path / 'new'}", "data.source=x"])
    with pytest.raises(ValueError, match="got source. Give data.source and data.target, or data.pairs"):
        train_translation(run)


def test_a_run_names_its_metrics_and_its_judge(settings, tmp_path, monkeypatch):
    class Judge:
        name, references = "COMET", "needed"

        def score(self, sources, translations, references):
            return [0.5] * len(sources)

    monkeypatch.setattr(scores.TranslationScorer, "from_preset", lambda name, base: Judge())
    changes = ["validation.metrics=[chrf++, ter]", "validation.scorer=judge", "training.monitor=ter"]
    changes += ["training.epochs=1", "training.patience=1", "training.batch_tokens=4096", "decoding.num_beams=1"]
    run = read_run(None, [*settings, *changes, f"output={tmp_path}"])
    said = []
    report = train_translation(run, say=said.append, verbose=0).report
    assert list(report["test"]) == [
        "sentences",
        "seconds",
        "chrF2++",
        "chrF2++_signature",
        "TER",
        "TER_signature",
        "COMET",
    ]
    assert {"val_chrf++", "val_ter", "val_comet"} < report["last_epoch"].keys() and "val_bleu" not in report[
        "last_epoch"
    ]
    assert said[-1] == "COMET\t0.50" and said[-2].startswith("TER\t")
