"""Vectors of files are in order and go on after whatever stopped them: on a stand-in."""

import json

import numpy as np
import pytest
import typer.testing

import keras_transformers as kt
from keras_transformers.apps import files
from keras_transformers.apps.cli.app import app
from keras_transformers.apps.files import Columns, JSONLines
from keras_transformers.apps.vectors import embed_file
from tests.apps.test_files import Reverser, write

pytestmark = pytest.mark.one_backend("torch")


class Embedder(Reverser):
    """Stands in for `TextEmbedder`: a text becomes its length and its number of words. Fails after `calls` calls."""

    def __init__(self, calls=10**9, settings=0):
        self.left, self.settings = calls, settings

    from_preset = classmethod(lambda cls, name: cls())

    def get_config(self):
        return {"name": object(), "settings": self.settings}

    def embed(self, texts, batch_size=32, progress=None, truncate_dim=None):
        if texts:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            progress(len(texts))
        return np.array([vector(text) for text in texts], "float32").reshape(-1, 2)


def vector(text):
    return [len(text), len(text.split())]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(files, "BATCHES", 2)


LINES = [f"w{n} {'long ' * (n % 7)}" if n % 5 else "" for n in range(50)]
EXPECTED = np.array([vector(line) for line in LINES], "float32")


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_goes_on_after_a_stop(tmp_path, ending):
    source, output, shares = write(tmp_path / "source.txt", "\n".join(LINES)), tmp_path / f"out.{ending}", []
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            embed_file(Embedder(3), source, output, batch_size=4)
    with open(f"{output}.partial", "ab") as file:
        file.write(b"does not count")
    again = Embedder()
    assert embed_file(again, source, output, batch_size=4, progress=lambda *told: shares.append(told)) == 50
    assert 10**9 - again.left == 1 and shares[-1] == (50, 1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [output.name, "source.txt"]
    if ending == "npy":
        assert (np.load(output) == EXPECTED).all() and np.load(output).dtype == "float32"
    found = kt.search(EXPECTED[7], output, 1, measure="euclidean")
    assert (EXPECTED[found.indices[0]] == EXPECTED[7]).all()
    with pytest.raises(FileExistsError, match="Expected no file at"):
        embed_file(Embedder(), source, output)


def test_formats_of_a_line_and_half_precision(tmp_path):
    table = write(tmp_path / "table.tsv", "id\ttext\n1\ta b\n2\tccc\n")
    objects = write(tmp_path / "objects.jsonl", "".join(f"{json.dumps({'text': text})}\n" for text in ("a b", "ccc")))
    for source, rows in ((table, Columns("text")), (objects, JSONLines("text", "embedding"))):
        output = source.with_suffix(".npy")
        assert embed_file(Embedder(), source, output, rows=rows, dtype="float16") == 2
        assert np.load(output).tolist() == [vector("a b"), vector("ccc")] and np.load(output).dtype == "float16"
    assert embed_file(Embedder(), write(tmp_path / "empty.txt", ""), tmp_path / "empty.npy") == 0
    assert np.load(tmp_path / "empty.npy").shape == (0, 2)


def test_clear_errors(tmp_path):
    source, output = write(tmp_path / "source.txt", "\n".join(LINES)), tmp_path / "out.npy"
    with pytest.raises(ValueError, match="an output that ends in .npy or .parquet, got .*out.txt"):
        embed_file(Embedder(), source, tmp_path / "out.txt")
    with pytest.raises(ValueError, match="dtype to be float32 or float16, got 'int8'"):
        embed_file(Embedder(), source, output, dtype="int8")
    with pytest.raises(KeyboardInterrupt):
        embed_file(Embedder(1), source, output, batch_size=4)
    for embedder, options in ((Embedder(settings=1), {}), (Embedder(), {"truncate_dim": 1})):
        with pytest.raises(ValueError, match="was begun with, got (settings|truncate_dim): "):
            embed_file(embedder, source, output, batch_size=4, **options)
    write(source, "another\nfile")
    with pytest.raises(ValueError, match="to begin with the 8 lines that .* was made from, got others"):
        embed_file(Embedder(), source, output, batch_size=4)


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(kt, "TextEmbedder", Embedder)
    source, output = write(tmp_path / "source.txt", "a b\nccc\n"), tmp_path / "out.npy"
    run = typer.testing.CliRunner().invoke
    result = run(app, ["embed", "model", "--input", str(source), "--output", str(output), "--truncate-dim", "2"])
    assert result.exit_code == 0 and "2 vectors in" in result.stderr and np.load(output).tolist() == [[3, 2], [3, 1]]
    options = ["--input", str(source), "--output", str(output), "--field", "a", "--column", "b"]
    assert "Expected one of --column" in str(run(app, ["embed", "model", *options]).exception)
