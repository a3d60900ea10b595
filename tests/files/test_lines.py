"""Files of text are read alike everywhere: marks, ends, compression, and what is no UTF-8."""

import bz2
import gzip
import lzma

import pytest

import keras_transformers as kt
from keras_transformers.apps.runs.settings import read_run
from keras_transformers.data.documents import read_documents
from keras_transformers.files import lines as line_files
from keras_transformers.files.lines import in_chunks, read_lines, read_pairs, read_text, read_texts

pytestmark = pytest.mark.one_backend("torch")

MARK = "\ufeff"


def write(path, text):
    path.write_bytes(text.encode("utf-8"))
    return path


def test_a_byte_order_mark_is_no_text(tmp_path):
    """A file from Windows, and two of them put together, in all readers of lines and texts."""
    path = write(tmp_path / "marked.txt", f"{MARK}a\tA\r\n{MARK}b\tB\r\n")
    assert read_lines(path) == ["a\tA", "b\tB"]
    assert read_text(path) == "a\tA\nb\tB\n"
    assert read_texts([path]) == ["a\tA\nb\tB"] and read_texts([path], lines=True) == ["a\tA", "b\tB"]
    assert read_pairs(None, None, path) == (["a", "b"], ["A", "B"])
    assert read_pairs(path, path, None) == (["a\tA", "b\tB"], ["a\tA", "b\tB"])
    assert read_run(write(tmp_path / "run.yaml", f"{MARK}output: x\ndata: {{pairs: a}}\n")).output == "x"


def test_a_vocabulary_learns_no_byte_order_mark(tmp_path):
    text = "so it goes\n" * 3
    options = {"vocabulary_size": 270}
    marked, plain = (
        kt.Tokenizer.train(write(tmp_path / name, start + text.replace("\n", end)), **options).files()
        for name, start, end in (("marked.txt", MARK, "\r\n"), ("plain.txt", "", "\n"))
    )
    assert marked == plain


def test_a_language_model_learns_no_byte_order_mark(tmp_path):
    tokenizer = kt.Tokenizer.train(["so it goes"], vocabulary_size=270)
    _, (document,) = read_documents(write(tmp_path / "marked.txt", f"{MARK}so\r\nit"), tokenizer=tokenizer)
    assert tokenizer.decode(document.token_ids) == "so\nit"


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_files_are_read_and_written_alike(tmp_path, suffix, compress):
    path = tmp_path / f"lines.txt{suffix}"
    path.write_bytes(compress(f"{MARK}a\nb".encode()))
    assert read_lines(path) == ["a", "b"]
    path.write_bytes(line_files.compressed(b"a\n", suffix) + line_files.compressed(b"b\n", suffix))
    assert read_lines(path) == ["a", "b"]
    for damaged in (compress(b"a\n" * 1000)[:-9], compress(b"a\n" * 1000)[:20] + b"\xff" * 30):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"Expected a whole (gzip|bzip2|xz) file, got .*Fetch it again"):
            read_lines(path)


def test_only_a_newline_ends_a_line(tmp_path):
    """A line in is a line out: neither a form feed nor Unicode's separators put rows out of step."""
    inside = "a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\rj"
    path = write(tmp_path / "lines", f"{inside}\r\n\n{inside}")
    assert read_lines(path) == [inside, "", inside]
    assert read_text(path) == f"{inside}\n\n{inside}"
    assert read_lines(write(tmp_path / "none", "")) == [] and read_text(tmp_path / "none") == ""
    assert read_lines(write(tmp_path / "mark alone", MARK)) == [""]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["The house is small.\nIt is.\n", "é\n"])
def test_utf_16_is_said_to_be_that(tmp_path, encoding, text):
    (tmp_path / "wide").write_bytes(text.encode(encoding))
    if text == "é\n" and encoding in ("utf-16-le", "utf-16-be"):  # too short to tell
        return
    with pytest.raises(ValueError, match=r"Expected UTF-8 text in .*wide, got UTF-16 or UTF-32, .*iconv"):
        read_lines(tmp_path / "wide")


def test_what_is_no_utf_8_is_named_with_its_line(tmp_path):
    (tmp_path / "latin").write_bytes(b"a\n\xe9t\xe9\n")
    message = r"Expected UTF-8 text in .*latin, got byte 0xe9 in line 2"
    run = lambda path: read_run(path)  # noqa: E731
    for reader in (read_lines, read_text, kt.Tokenizer.train, run):
        with pytest.raises(ValueError, match=message):
            reader(tmp_path / "latin")


def test_blank_lines_at_the_end_of_pairs_belong_to_nothing(tmp_path):
    pairs = write(tmp_path / "pairs", "a\tA\nb\tB\n\n \n")
    assert read_pairs(None, None, pairs) == (["a", "b"], ["A", "B"])
    with pytest.raises(ValueError, match=r"got no tab in line 2"):
        read_pairs(None, None, write(tmp_path / "middle", "a\tA\n\nb\tB\n"))
    sources, targets = write(tmp_path / "sources", "a\nb\n\n"), write(tmp_path / "targets", "A\nB\n")
    assert read_pairs(sources, targets, None) == (["a", "b"], ["A", "B"])
    assert read_pairs(targets, sources, None) == (["A", "B"], ["a", "b"])
    write(targets, "A\nB\n\n")
    assert read_pairs(sources, targets, None) == (["a", "b", ""], ["A", "B", ""])  # as it is written
    with pytest.raises(ValueError, match="Expected as many lines"):
        read_pairs(sources, write(tmp_path / "one", "A\n"), None)


def test_what_comes_before_an_error_comes_in_a_chunk_of_its_own():
    def items():
        yield from range(5)
        raise ValueError("the sixth")

    chunks = in_chunks(items(), 3)
    assert next(chunks) == [0, 1, 2] and next(chunks) == [3, 4]
    with pytest.raises(ValueError, match="the sixth"):
        next(chunks)
    assert list(in_chunks(range(4), 2)) == [[0, 1], [2, 3]] and list(in_chunks((), 2)) == []
