"""Files are translated in order and go on after whatever stopped them: on a stand-in that turns words around."""

import contextlib
import gzip
import json
import os
import pathlib
import resource
import signal
import tracemalloc
import types

import pytest

from keras_transformers.apps import files, unfinished
from keras_transformers.apps.files import Columns, JSONLines, translate_file

pytestmark = pytest.mark.one_backend("torch")


class Reverser:
    """Stands in for `Seq2SeqLM`. `calls` are the texts of each call."""

    config, weights = "a configuration", ()
    generation = types.SimpleNamespace(num_return_sequences=1)
    tokenizer = types.SimpleNamespace(files=lambda: {})

    def __init__(self):
        self.calls = []

    def translate(self, texts, batch_size, progress, return_scores=False, num_return_sequences=1, **options):
        self.calls.append(list(texts))
        progress(len(texts))
        turned = [" ".join(reversed(text.split())) for text in texts]
        if num_return_sequences > 1:
            turned = [[text] * num_return_sequences for text in turned]
        scores = [[-0.5] * num_return_sequences if num_return_sequences > 1 else -0.5 for _ in texts]
        return (turned, scores) if return_scores else turned


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(files, "BATCHES", 2)


def write(path, text):
    path.write_bytes(text.encode("utf-8"))
    return path


@pytest.fixture
def source(tmp_path):
    """50 lines, some of them empty, one with a line separator of Unicode's, the last without an end."""
    lines = [f"w{number} sentence {'long ' * (number % 7)}é" if number % 5 else "" for number in range(50)]
    lines[3] = "a\u2028b"
    return write(tmp_path / "source.txt", "\n".join(lines))


def turned(source):
    return "".join(" ".join(reversed(line.split())) + "\n" for line in source.read_text("utf-8").split("\n"))


def test_lines_come_out_in_order_from_windows_and_empty_ones_stay(source, tmp_path):
    task, told = Reverser(), []
    count = translate_file(
        task, source, tmp_path / "new" / "out", batch_size=4, progress=lambda *state: told.append(state)
    )
    assert count == 50 and (tmp_path / "new" / "out").read_text("utf-8") == turned(source)
    assert [len(texts) for texts in task.calls] == [8] * 6 + [2]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    assert [lines for lines, _ in told] == [8, 16, 24, 32, 40, 48, 50]
    assert told == sorted(told) and told[-1] == (50, 1.0)


def test_compressed_files_and_files_of_nothing(source, tmp_path):
    with gzip.open(tmp_path / "source.gz", "wb") as file:
        file.write(source.read_bytes())
    translate_file(Reverser(), tmp_path / "source.gz", tmp_path / "out.gz", batch_size=4)
    with gzip.open(tmp_path / "out.gz", "rt", encoding="utf-8") as file:
        assert file.read() == turned(source)
    assert translate_file(Reverser(), write(tmp_path / "none", ""), tmp_path / "nothing") == 0
    assert (tmp_path / "nothing").read_bytes() == b""
    cut = tmp_path / "cut.gz"
    cut.write_bytes((tmp_path / "source.gz").read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"Expected a whole gzip file, got .*cut.gz: .*Fetch it again"):
        translate_file(Reverser(), cut, tmp_path / "other")


def in_a_child(function, *arguments):
    """Run a function in a process of its own, and return how it ended, as `os.waitpid` says."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            function(*arguments)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


@pytest.mark.filterwarnings("ignore:.*fork.*")  # the child runs nothing of the parent's threads
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_kill_in_the_middle_of_each_write_loses_and_doubles_nothing(source, tmp_path, monkeypatch, ending):
    output, original, kills = tmp_path / f"out{ending}", unfinished._write, 0

    def translate(dying):
        writes = iter(range(1000))

        def half(file, content):
            if next(writes) == dying:
                file.write(content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            original(file, content)

        monkeypatch.setattr(unfinished, "_write", half)
        translate_file(Reverser(), source, output, batch_size=4)

    # The first write that a run dies in is its first, then the second, …: it gets one window further, or none at all.
    while not output.exists():
        status = in_a_child(translate, kills % 5)
        assert os.WIFSIGNALED(status) or status == 0
        kills += os.WIFSIGNALED(status)
        assert kills < 30
    text = gzip.decompress(output.read_bytes()) if ending else output.read_bytes()
    assert kills > 5 and text.decode("utf-8") == turned(source)
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == [output.name]


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_full_disk_is_said_and_what_is_written_counts(source, tmp_path):
    output, said = tmp_path / "out", tmp_path / "said"

    def translate():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
        try:
            translate_file(Reverser(), source, output, batch_size=4)
        except OSError as error:
            said.write_text(f"{error.errno} {error}")

    assert in_a_child(translate) == 0
    assert "Expected room for more in" in said.read_text() and "lines are done" in said.read_text()
    lines = json.loads((tmp_path / "out.partial.json").read_text())["lines"]
    assert 0 < lines < 50
    task = Reverser()
    assert translate_file(task, source, output, batch_size=4) == 50
    assert sum(map(len, task.calls)) == 50 - lines and output.read_text("utf-8") == turned(source)


class Stopped(Exception):
    pass


@pytest.fixture
def begun(source, tmp_path):
    """An output of which two windows are done."""

    class Stopping(Reverser):
        def translate(self, *arguments, **options):
            if len(self.calls) == 2:
                raise Stopped
            return super().translate(*arguments, **options)

    with pytest.raises(Stopped):
        translate_file(Stopping(), source, tmp_path / "out", batch_size=4, num_beams=3)
    return tmp_path / "out"


def test_what_was_begun_goes_on_with_the_same_and_refuses_others(source, begun, tmp_path):
    same = {"batch_size": 3, "num_beams": 3}  # how many go together is the run's own affair
    with pytest.raises(ValueError, match=r"was begun with, got options.num_beams: 5 instead of 3\. Give the same"):
        translate_file(Reverser(), source, begun, num_beams=5)
    with pytest.raises(ValueError, match=r"options.target_language: fr instead of none"):
        translate_file(Reverser(), source, begun, num_beams=3, target_language="fr")
    other = Reverser()
    other.config = "another"
    with pytest.raises(ValueError, match=r"got model: \w+ instead of \w+\."):
        translate_file(other, source, begun, **same)
    with pytest.raises(ValueError, match=r"rows: JSONLines\(.*\) instead of Lines\(\)"):
        translate_file(Reverser(), source, begun, rows=JSONLines(), **same)
    changed = write(tmp_path / "changed.txt", source.read_text("utf-8").replace("w7", "w77"))
    with pytest.raises(ValueError, match=r"Expected .*changed.txt to begin with the 16 lines that .* was made from"):
        translate_file(Reverser(), changed, begun, **same)
    shorter = write(tmp_path / "shorter.txt", "a\n")
    with pytest.raises(ValueError, match=r"Expected .*shorter.txt to begin with the 16 lines"):
        translate_file(Reverser(), shorter, begun, **same)
    grown = write(tmp_path / "grown.txt", source.read_text("utf-8") + "\none more")
    task = Reverser()
    assert translate_file(task, grown, begun, **same) == 51
    assert task.calls[0][0].startswith("w16") and begun.read_text("utf-8") == turned(grown)


def test_what_cannot_be_gone_on_with_is_refused(source, begun):
    record, partial = begun.with_name("out.partial.json"), begun.with_name("out.partial")
    state = record.read_bytes()

    def call():
        translate_file(Reverser(), source, begun, num_beams=3)

    record.write_bytes(state[:50])
    with pytest.raises(
        ValueError, match=r"as it was written, got a file that cannot be read .* Remove .* to begin anew"
    ):
        call()
    record.unlink()
    with pytest.raises(ValueError, match=r"to say how much of .*out.partial counts, got none\. Remove"):
        call()
    record.write_bytes(state)
    whole = partial.read_bytes()
    partial.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=rf"Expected {len(whole)} bytes in .* at least, got {len(whole) - 1}"):
        call()
    partial.write_bytes(whole + b"half a li")
    with (
        unfinished.Unfinished(begun, json.loads(state)["job"]),
        pytest.raises(OSError, match="alone, got another program"),
    ):
        call()
    call()
    assert begun.read_text("utf-8") == turned(source)
    record.write_bytes(state)  # as a kill right before the end leaves it
    with pytest.raises(FileExistsError, match=r"Expected no file at .*out yet, got one: a finished file, or one from"):
        call()
    assert not record.exists()


def test_columns_by_number_and_by_name(tmp_path):
    rows = write(tmp_path / "rows.tsv", "1\ta b\tx\n\n2\t\ty\n3\tc d\tz\r\n")
    translate_file(Reverser(), rows, tmp_path / "by-number", rows=Columns(2))
    assert (tmp_path / "by-number").read_text() == "1\ta b\tx\tb a\n\n2\t\ty\t\n3\tc d\tz\td c\n"
    named = write(tmp_path / "named.tsv", "id\tenglish\n1\ta b\n2\tc d\n3\te f\n")
    options = {"rows": Columns("english", "x"), "return_scores": True, "num_return_sequences": 2, "batch_size": 1}
    translate_file(Reverser(), named, tmp_path / "by-name", **options)
    assert (tmp_path / "by-name").read_text().split("\n")[:2] == [
        "id\tenglish\tx\tx_score\tx_2\tx_2_score",
        "1\ta b\tb a\t-0.500000\tb a\t-0.500000",
    ]

    class Failing(Reverser):
        def translate(self, texts, **options):
            if "e f" in texts:
                raise Stopped
            return super().translate(texts, **options)

    with pytest.raises(Stopped):
        translate_file(Failing(), named, tmp_path / "again", **options)
    translate_file(Reverser(), named, tmp_path / "again", **options)
    assert (tmp_path / "again").read_text() == (tmp_path / "by-name").read_text()


def test_json_lines_come_back_character_by_character_with_a_field_more(tmp_path):
    text = '{"id": 1.50, "text": "a b"}\n\n { "text":"é\\u00e8 c","x":{"y":[1]} } \n'
    objects = write(tmp_path / "objects.jsonl", text)
    translate_file(Reverser(), objects, tmp_path / "one", rows=JSONLines(into="fr"))
    expected = '{"id": 1.50, "text": "a b", "fr": "b a"}\n\n { "text":"é\\u00e8 c","x":{"y":[1]}, "fr": "c éè"}\n'
    assert (tmp_path / "one").read_text("utf-8") == expected
    options = {"rows": JSONLines(), "return_scores": True, "num_return_sequences": 2}
    translate_file(Reverser(), objects, tmp_path / "two", **options)
    found = json.loads((tmp_path / "two").read_text("utf-8").split("\n")[0])
    assert found["translation"] == ["b a", "b a"] and found["translation_score"] == [-0.5, -0.5]


@pytest.mark.parametrize(
    ("content", "rows", "message"),
    [
        (b"a\nb \xff\n", files.LINES, "Expected UTF-8 text in .*wrong, got byte 0xff in line 2"),
        (b"a\tb\nc\n", Columns(2), "wrong, line 2: expected at least 2 columns, got 1. Mend that line"),
        (b"a\tb\n", Columns("c"), "wrong, line 1: expected a column 'c', got a, b. Name one of these"),
        (b"", Columns("c"), "wrong, line 1: expected a column 'c', got none"),
        (b"c\ttranslation\n", Columns("c"), "line 1: expected no column 'translation' yet, got one"),
        (b'{"text": "a"}\n{"text": 1}\n', JSONLines(), "line 2: expected a text in 'text', got 1. Mend that line"),
        (b'{"text": null}\n', JSONLines(), "line 1: expected a text in 'text', got null"),
        (b'{"body": "a", "id": 1}\n', JSONLines(), "a JSON object with a text in 'text', got the fields 'body', 'id'"),
        (
            b'{"text": "a \\ud800"}\n',
            JSONLines(),
            r"wrong, line 1: Expected Unicode text, got a lone surrogate '\\ud800'",
        ),
        (b'{"text": "a", "w": ["\\ud800"]}\n', JSONLines(words="w"), "line 1: Expected Unicode text, got a lone"),
        ("a\n".encode("utf-16"), files.LINES, "Expected UTF-8 text in .*wrong, got UTF-16"),
        (b"[]\n", JSONLines(), "line 1: expected a JSON object with a text in 'text', got list"),
        (b"{'a'}\n", JSONLines(), "line 1: expected a JSON object, got another text"),
        (b'{"text": "a", "translation": ""}\n', JSONLines(), "expected no field 'translation' yet, got one"),
    ],
)
def test_a_line_that_is_not_what_it_should_be_is_named(tmp_path, content, rows, message):
    (tmp_path / "wrong").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        translate_file(Reverser(), tmp_path / "wrong", tmp_path / "out", rows=rows)
    with pytest.raises(ValueError, match="Expected a column from 1, or its name, got 0"):
        Columns(0)


@pytest.mark.parametrize(
    ("wrong", "mended", "rows"),
    [
        (b'{"text": null}', b'{"text": "c d"}', JSONLines()),
        (b'{"text": "\\ud800"}', b'{"text": ""}', JSONLines()),
        (b'{"text": "\xff"}', b"", JSONLines()),
        (b"a", b"a\tb", Columns(2)),
        (b"\xff", b"", files.LINES),
    ],
)
@pytest.mark.parametrize("before", [1, 3, 4, 5])  # windows are of four lines
def test_what_is_before_a_wrong_line_is_done_and_the_rest_follows(tmp_path, wrong, mended, rows, before):
    good = b'{"text": "a b"}' if isinstance(rows, JSONLines) else b"x y\ta b"
    source, output, task = tmp_path / "source", tmp_path / "out", Reverser()
    source.write_bytes(b"\n".join([*[good] * before, wrong, good]))
    with pytest.raises(ValueError, match=f"line {before + 1}"):
        translate_file(task, source, output, rows=rows, batch_size=2)
    assert sum(map(len, task.calls)) == before and not output.exists()
    source.write_bytes(b"\n".join([*[good] * before, mended, good]))
    task.calls.clear()
    assert translate_file(task, source, output, rows=rows, batch_size=2) == before + 2
    assert sum(map(len, task.calls)) == 2
    translate_file(Reverser(), source, tmp_path / "at once", rows=rows)
    assert output.read_bytes() == (tmp_path / "at once").read_bytes()


def test_a_byte_order_mark_is_no_part_of_a_column_or_an_object(tmp_path):
    named = write(tmp_path / "named.tsv", "\ufeffa\tb\r\nx y\tz\r\n")
    translate_file(Reverser(), named, tmp_path / "columns", rows=Columns("a"))
    assert (tmp_path / "columns").read_text("utf-8") == "a\tb\ttranslation\nx y\tz\ty x\n"
    objects = write(tmp_path / "objects", '\ufeff{"text": "a b"}\r\n')
    translate_file(Reverser(), objects, tmp_path / "translated", rows=JSONLines())
    assert (tmp_path / "translated").read_text("utf-8") == '{"text": "a b", "translation": "b a"}\n'


def test_warnings_name_lines(tmp_path):
    """Of the file, whatever window they are in."""
    lines, told = write(tmp_path / "lines", "a\n\nb\nc\nd\n"), []

    class Told(Reverser):
        def translate(self, texts, names, **options):
            told.extend(names)
            return super().translate(texts, **options)

    translate_file(Told(), lines, tmp_path / "out", batch_size=1)
    assert told == [f"line {number}" for number in range(1, 6)]


def test_a_long_file_takes_no_more_memory_than_a_window(tmp_path):
    source, task = tmp_path / "long", Reverser()
    with open(source, "w") as file:
        file.writelines(f"line {number} of many\n" for number in range(50_000))
    task.calls = types.SimpleNamespace(append=lambda texts: None)
    tracemalloc.start()
    with contextlib.closing(types.SimpleNamespace(close=tracemalloc.stop)):
        translate_file(task, source, tmp_path / "out", batch_size=500)
        _, peak = tracemalloc.get_traced_memory()
    assert peak < 1_500_000 < source.stat().st_size * 2
    assert pathlib.Path(tmp_path / "out").read_text().count("\n") == 50_000


def test_lines_may_be_documents(source, tmp_path):
    class Reader(Reverser):
        def translate_document(self, texts, batch_size, **options):
            return [text.upper() for text in texts]

    told = []
    options = {"documents": True, "batch_size": 4, "progress": lambda *state: told.append(state)}
    translate_file(Reader(), source, tmp_path / "out", **options)
    expected = "\n".join(" ".join(line.splitlines()) for line in source.read_text("utf-8").upper().split("\n"))
    assert (tmp_path / "out").read_text("utf-8") == expected + "\n" and told[-1] == (50, 1.0)
    with pytest.raises(ValueError, match="Expected return_scores of sentences, got it with documents=True"):
        translate_file(Reader(), source, tmp_path / "other", documents=True, return_scores=True)


def test_words_that_have_to_occur_for_all_lines_and_of_each(source, tmp_path):
    class Listener(Reverser):
        def translate(self, texts, forced_words=None, **options):
            self.words = [*getattr(self, "words", []), forced_words]
            return super().translate(texts, **options)

    task = Listener()
    translate_file(task, source, tmp_path / "all", batch_size=4, forced_words=["le", "la"])
    assert task.words == [[["le", "la"]] * 8] * 6 + [[["le", "la"]] * 2]
    lines = ['{"text": "a", "terms": ["x y"]}', "", '{"text": "b"}', '{"text": "c", "terms": null}']
    write(tmp_path / "objects", "\n".join(lines))
    task, rows = Listener(), JSONLines(words="terms")
    translate_file(task, tmp_path / "objects", tmp_path / "own", rows=rows, forced_words=["z"])
    assert task.words == [[["z", "x y"], ["z"], ["z"], ["z"]]]
    task = Listener()
    translate_file(task, write(tmp_path / "none", '{"text": "b"}'), tmp_path / "without", rows=rows)
    assert task.words == [None]
    wrong = write(tmp_path / "wrong", '{"text": "b", "terms": "x"}')
    with pytest.raises(ValueError, match="wrong, line 1: expected a list of texts in 'terms', got 'x'. Mend that line"):
        translate_file(task, wrong, tmp_path / "other", rows=rows)
    for options in ({"forced_words": ["z"]}, {"rows": rows}):
        with pytest.raises(ValueError, match="Expected words that have to occur in a line of one sentence"):
            translate_file(task, wrong, tmp_path / "other", documents=True, **options)
    for words in ("z", [["z"], ["y"]]):
        with pytest.raises(ValueError, match="Expected forced_words to be a list of texts, for all lines, got"):
            translate_file(task, wrong, tmp_path / "other", forced_words=words)


def test_windows_of_long_lines_are_short(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "CHARACTERS", 100)
    source = write(tmp_path / "long", "x" * 250 + "\n" + ("y" * 49 + "\n") * 4)
    task = Reverser()
    translate_file(task, source, tmp_path / "out")
    assert [len(texts) for texts in task.calls] == [1, 3, 1]
