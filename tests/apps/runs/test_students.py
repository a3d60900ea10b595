"""A teacher translates, a student learns: what a run does with both, what it keeps, and what it refuses."""

import dataclasses
import json

import numpy as np
import pytest

import keras_transformers as kt
from keras_transformers.apps.runs import distillation, read_run, teachers, train_translation, training
from keras_transformers.apps.runs.distillation import StudentSettings, TeacherSettings
from keras_transformers.apps.runs.settings import run_yaml
from keras_transformers.transforms import quantization
from tests.formats import marian_models
from tests.formats.test_marian import sentencepiece_model

pytestmark = [pytest.mark.one_backend("torch"), pytest.mark.filterwarnings("default:.*token limit")]

LINES = [
    f"{verb} the {adjective} {noun}" for verb in ("see", "eat") for adjective in ("red", "sad") for noun in "abcdef"
]
STUDENT = ("student.num_layers=[1,1]", "student.hidden_dim=16", "student.num_heads=2", "student.intermediate_dim=32")


class Parrot:
    """A teacher whose candidates are made by rules; counts what it was asked."""

    def __init__(self, answers):
        self.answers, self.asked, self.languages = answers, [], []

    def translate(self, lines, source_language, target_language, *, num_beams, **options):
        self.asked += lines
        self.languages.append((source_language, target_language))
        rows = [self.answers(line)[:num_beams] for line in lines]
        texts, scores = [[text for text, _ in row] for row in rows], [[score for _, score in row] for row in rows]
        return (texts, scores) if num_beams > 1 else ([each[0] for each in texts], [each[0] for each in scores])


@pytest.fixture
def parrot(monkeypatch, tmp_path):
    """Makes a teacher of a function from a line to its candidates."""
    (tmp_path / "parrot").mkdir()
    (tmp_path / "parrot" / "SHA256SUMS").write_text("young")

    def make(answers):
        teacher = Parrot(answers)
        monkeypatch.setattr(teachers.Seq2SeqLM, "from_preset", lambda name: teacher)
        monkeypatch.setattr(teachers, "resolve", lambda name: tmp_path / "parrot")
        return teacher

    return make


def teach(tmp_path, sources, targets, further=(), **settings):
    said = []
    settings = TeacherSettings("parrot", num_beams=2, shard_lines=3, **settings)
    return teachers.teach(settings, sources, targets, list(further), tmp_path / "teacher", said.append), said


def test_the_candidate_like_the_reference_is_learnt_and_the_likely_one_without(parrot, tmp_path):
    parrot(lambda line: [(f"likely {line}", -0.1), (f"close {line}", -0.5)])
    taught, _ = teach(tmp_path, ["one"], ["close one"], ["two", " ", "two"])
    assert list(zip(*taught[:2], strict=True)) == [("one", "close one"), ("two", "likely two")]
    taught, _ = teach(tmp_path, ["one"], ["close one"], choose="score")
    assert taught.targets == ["likely one"]
    taught, _ = teach(tmp_path, ["one"], ["close one"], choose="score", references=True)
    assert taught.targets == ["likely one", "close one"]


def test_what_is_left_out_is_counted_by_its_reason(parrot, tmp_path):
    answers = {
        "nothing": [("", -0.1), ("", -0.2)],
        "unlikely": [("a thing", -3.0), ("an other", -4.0)],
        "far": [("xyz xyz", -0.1), ("zyx", -0.1)],
        "stuck": [("so so so so so so", -0.1), ("so so so so so", -0.1)],
        "fine": [("so so so so so so", -0.1), ("well made", -0.5)],
    }
    parrot(answers.__getitem__)
    references = ["something", "a thing", "a good word", "so so", "well made"]
    taught, _ = teach(tmp_path, list(answers), references, min_score=-2.0, min_agreement=20.0)
    assert (taught.sources, taught.targets) == (["fine"], ["well made"])
    reasons = ("empty", "low score", "low agreement", "repeated")
    assert taught.counts == {"lines": 5, "asked": 5, **{f"left out: {name}": 1 for name in reasons}}


def test_a_stopped_run_asks_only_for_the_files_that_lack(parrot, tmp_path):
    answers = lambda line: [(f"{line} here", -0.1), (f"{line} there", -0.2)]  # noqa: E731
    lines = [f"line {number}" for number in range(8)]
    first = parrot(answers)
    taught, said = teach(tmp_path, lines, lines)
    assert first.asked == lines and "0 minutes left" in said[-1]
    files = sorted((tmp_path / "teacher").iterdir())
    assert [path.name for path in files] == ["0-00000.jsonl", "0-00001.jsonl", "0-00002.jsonl"]
    files[1].write_bytes(files[1].read_bytes()[:-20])  # torn, as no kill leaves it
    second = parrot(answers)
    again, _ = teach(tmp_path, lines, lines)
    assert second.asked == lines[3:6] and again == taught
    third = parrot(answers)
    teach(tmp_path, [*lines[:7], "another"], lines)  # the data changed
    assert third.asked == ["line 6", "another"]
    fourth = parrot(answers)
    teach(tmp_path, lines[:3], lines[:3], source_language="eng", target_language="fra")  # another question
    (tmp_path / "parrot" / "SHA256SUMS").write_text("older")  # trained on in its place
    fifth = parrot(answers)
    teach(tmp_path, lines[:3], lines[:3], source_language="eng", target_language="fra")
    assert fifth.asked == fourth.asked == lines[:3] and fourth.languages == [("eng", "fra")]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A small model with a vocabulary of bytes, untrained, and the settings of a run with it."""
    folder = tmp_path_factory.mktemp("teacher")
    tokenizer = kt.Tokenizer.train(LINES, vocabulary_size=290)
    config = kt.models.transformer(
        tokenizer.vocabulary_size, num_layers=1, hidden_dim=16, num_heads=2, padding_id=tokenizer.padding_id
    )
    task = kt.Seq2SeqLM(config, tokenizer)
    task.generation = dataclasses.replace(task.generation, max_new_tokens=6)
    task.save_to_preset(folder / "preset")
    pairs = [f"{line}\t{' '.join(reversed(line.split()))}" for line in LINES]
    (folder / "pairs.tsv").write_text("\n".join(pairs))
    return [
        *(f"data.pairs={folder / 'pairs.tsv'}", "data.held_out=2", f"teacher.preset={folder / 'preset'}"),
        *("teacher.num_beams=2", "teacher.checks=false", "teacher.references=true", *STUDENT),
        *("training.epochs=2", "training.average=1", "training.warmup_steps=4", "decoding.max_new_tokens=4"),
        *("validation.sentences=2", "validation.max_new_tokens=4", "decoding.num_beams=2"),
        "cleaning.max_ratio=null",
    ]


def run_of(settings, folder, *more):
    said = []
    return train_translation(read_run(None, [*settings, f"output={folder}", *more]), say=said.append, verbose=0), said


def test_a_run_with_a_student(teacher, tmp_path):
    more = (
        "student.quantization=int8",
        "student.quantization_aware_epochs=1",
        "student.export=[ctranslate2]",
        "student.simple_recurrence=false",
    )
    more += ("augmentation.joined=0.5", "teacher.share_vocabulary=true", "teacher.logits=0.5")
    (task, report), said = run_of(teacher, tmp_path, *more)
    assert report["taught"]["lines"] == 22 and report["taught"]["learnt"] > 22  # both targets of most lines
    assert report["augmented"]["joined"] == round(report["taught"]["learnt"] / 2)
    assert report["quantization_aware_epochs"] == 1 and report["epochs"] == 2
    (scores,) = report["teachers"].values()
    assert scores["parameters"] > 0 and {"BLEU", "seconds"} <= scores.keys() & report["quantized"].keys()
    assert report["bytes"].keys() == {"preset", "int8", "ctranslate2"}
    assert report["bytes"]["int8"] < report["bytes"]["preset"]
    assert any(line.startswith("BLEU of quantized\t") for line in said)
    small, whole = (kt.Seq2SeqLM.from_preset(tmp_path / name) for name in ("int8", "preset"))
    assert small.translate(LINES[:4]) == whole.translate(LINES[:4])  # its weights had such numbers already
    inputs = {"token_ids": np.full((1, 4), 9), "decoder_token_ids": np.full((1, 3), 9)}
    exact, rounded = (np.asarray(each.predict(inputs, verbose=0)) for each in (whole, small))
    assert np.abs(exact - rounded).max() <= 1e-5 * np.abs(exact).max()
    again, said = run_of(teacher, tmp_path, *more)
    assert again.report == json.loads((tmp_path / "report.json").read_text()) and "is done already" in said[0]


def test_a_student_of_a_model_of_marian_leaves_for_marian(tmp_path):
    (tmp_path / "pairs.tsv").write_text("\n".join(f"{line}\t{line[::-1]}" for line in LINES))
    folder = tmp_path / "teacher"
    marian_models.write(folder, marian_models.made(marian_models.STUDENT), {"vocab.spm": sentencepiece_model()})
    settings = [f"data.pairs={tmp_path / 'pairs.tsv'}", "data.held_out=2", f"teacher.preset={folder}", *STUDENT]
    settings += [
        "teacher.share_vocabulary=true",
        "teacher.num_beams=1",
        "teacher.checks=false",
        "teacher.max_new_tokens=4",
    ]
    settings += ["training.epochs=1", "validation.max_new_tokens=4", "cleaning.max_ratio=null"]
    more = ("student.quantization=marian", "student.quantization_aware_epochs=1", "student.export=[marian]")
    (task, report), _ = run_of(settings, tmp_path / "run", *more)
    assert "quantized" in report and {"preset", "marian"} == report["bytes"].keys()
    written, inputs = kt.Seq2SeqLM.from_preset(tmp_path / "run" / "marian"), {"token_ids": np.array([[5, 6, 0]])}
    inputs["decoder_token_ids"] = np.array([[task.generation.start_id, 7]])
    exact, rounded = (np.asarray(each.predict(inputs, verbose=0))[..., :40] for each in (task, written))
    assert np.abs(exact - rounded).max() <= 1e-5 * np.abs(exact).max()  # int8 changes nothing more


def test_a_student_without_a_teacher(teacher, tmp_path):
    settings = [each for each in teacher if not each.startswith("teacher.")]
    (task, report), _ = run_of(settings, tmp_path, "training.epochs=1", "vocabulary.size=290")
    assert "taught" not in report and "teachers" not in report and task.config.decoder.block.recurrence is not None


def test_a_section_that_is_left_out_afterwards_is_refused(teacher, tmp_path):
    (tmp_path / "run.yaml").write_text(run_yaml(read_run(None, [*teacher, f"output={tmp_path}"])))
    (tmp_path / "report.json").write_text("{}")
    without = [each for each in teacher if not each.startswith(("teacher.", "student."))]
    with pytest.raises(ValueError, match=r"got .*teacher.num_beams=None instead of 2; .*student.size=None instead"):
        run_of(without, tmp_path)


def test_rounded_epochs_begin_anew_after_more_epochs(teacher, tmp_path, monkeypatch):
    settings = [*teacher, "student.quantization=int8", "student.quantization_aware_epochs=1", "training.average=2"]
    run = read_run(None, [*settings, f"output={tmp_path}"])
    epochs = ["step-1", "step-2"]
    monkeypatch.setattr(training, "kept_checkpoints", lambda folder: [folder / name for name in epochs])
    monkeypatch.setattr(training.Training, "_batches", lambda self, task: None)
    monkeypatch.setattr(training.Training, "_stage", lambda self, *arguments: arguments[4].done())
    stages, row = training.Training(run, ([], []), ([], []), tmp_path), {"epoch": 0, "seconds": 1.0}
    assert stages.fit_quantized(None) == []
    (tmp_path / "quantized" / "epochs.jsonl").write_text(json.dumps(row))
    assert stages.fit_quantized(None) == [row]  # a resumed run
    epochs.append("step-3")
    assert stages.fit_quantized(None) == []  # trained for longer: the rounded weights would be those of before


def test_the_sizes_of_students():
    assert StudentSettings().sizes() == dict(num_layers=(6, 2), hidden_dim=256, num_heads=8, intermediate_dim=1536)
    sizes = StudentSettings("base-memory", num_layers=(4, 2)).sizes()
    assert sizes == dict(num_layers=(4, 2), hidden_dim=384, num_heads=8, intermediate_dim=1536)
    assert distillation.RULES == quantization.RULES  # written twice, so that settings load no Keras


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["student.size=huge"], "size of tiny, base-memory, base, got 'huge'"),
        (["student.export=[onnx]"], "export of hugging-face, ctranslate2, marian, got"),
        (["student.quantization_aware_epochs=2"], "Expected quantization with quantization_aware_epochs, got null"),
        (["model.hidden_dim=64"], "Expected model or student, got both"),
        (["student.quantization=marian"], "quantization: marian together with the export marian"),
        (["student.quantization=int8", "student.export=[marian]"], "got quantization=int8 and export=marian"),
        (["teacher.share_vocabulary=true", "vocabulary.size=300"], "Expected no vocabulary with"),
        (["teacher.logits=0.5"], "share_vocabulary: true with logits=0.5"),
        (["teacher.temperature=2"], "Expected logits with temperature=2"),
        (["teacher.choose=best"], "choose to be one of agreement, score, got 'best'"),
        (["teacher.preset=[]"], "one preset, or several that differ, got"),
        (["teacher.min_agreement=101"], "min_agreement from 0 to 100, got 101"),
        (["teacher.tempature=2"], "teacher.temperature"),
        (["teacher=null", "student.share=1"], "an unknown key student.share"),
    ],
)
def test_settings_that_are_refused(teacher, changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_run(None, [*teacher, f"output={tmp_path}", *changes])


def test_what_a_run_refuses_before_it_trains(teacher, tmp_path):
    for name, reason in (("marian", "a model that Marian can express"), ("ctranslate2", "block.recurrence")):
        with pytest.raises(ValueError, match=reason):
            run_of(teacher, tmp_path / name, f"student.export=[{name}]")
        assert not (tmp_path / name / "checkpoints").exists()
    with pytest.raises(ValueError, match="some translations of the teacher to learn from, got none"):
        run_of(teacher, tmp_path / "two", "teacher.min_score=0", "teacher.references=false")
    (_, report), _ = run_of(
        teacher, tmp_path / "two", "training.epochs=1", "vocabulary.size=290"
    )  # with looser settings it goes on
    assert report["epochs"] == 1
