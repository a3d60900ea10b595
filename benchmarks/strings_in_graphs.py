"""Whether a SavedModel of strings gives the ids and the texts of its task: a million lines of ids, a thousand texts.

    KERAS_BACKEND=tensorflow python benchmarks/strings_in_graphs.py ids --preset english-french
    KERAS_BACKEND=tensorflow python benchmarks/strings_in_graphs.py ids --tokenizer FOLDER --begin 500000 --count 500000
    KERAS_BACKEND=tensorflow python benchmarks/strings_in_graphs.py texts --preset english-french --beams 4

KERAS_TRANSFORMERS_DATA names the folder of data: all lines of its `.gz` and `.zip` files are texts, and then pairs of
neighbouring lines, until there are enough. The first line that differs ends the program with an error.
"""

import argparse
import gzip
import itertools
import os
import pathlib
import tempfile
import time
import zipfile

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import tensorflow as tf

import keras_transformers as kt

_AT_ONCE = 4096
_ENGLISH = "tatoeba-en-fr/test-v2021-08-07.eng.gz"


def lines(folder):
    """All lines of all files, and then each joined with the next one."""
    for joined in (False, True):
        before = None
        for path in sorted(folder.rglob("*.gz")) + sorted(folder.rglob("*.zip")):
            for line in _lines(path):
                if joined and before is not None:
                    yield f"{before} {line}"
                elif not joined:
                    yield line
                before = line


def _lines(path):
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
            yield from (line.rstrip("\n") for line in file)
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            yield from archive.read(name).decode("utf-8", "replace").split("\n")


def compare_ids(tokenizer, texts):
    """The number of texts with the same ids, and the seconds of the engine and of the graph."""
    graph = tokenizer.in_graph()
    count, seconds = 0, [0.0, 0.0]
    while some := list(itertools.islice(texts, _AT_ONCE)):
        begin = time.process_time()
        expected = tokenizer.encode(some)
        middle = time.process_time()
        got = graph(tf.constant(some)).to_list()
        seconds = [seconds[0] + middle - begin, seconds[1] + time.process_time() - middle]
        for text, one, other in zip(some, expected, got, strict=True):
            if one != other:
                raise SystemExit(f"{text!r}: expected {one}, got {other}")
        count += len(some)
        if count % (25 * _AT_ONCE) == 0:
            print(f"{count:,} lines, the same ids", flush=True)
    return count, seconds


def compare_texts(task, texts, beams):
    """The number of texts with the same translations by the loaded SavedModel."""
    with tempfile.TemporaryDirectory() as folder:
        task.export_with_text(folder, num_beams=beams, max_length=64)
        served = tf.saved_model.load(folder)
        for begin in range(0, len(texts), 50):
            some = texts[begin : begin + 50]
            expected = task.translate(some, num_beams=beams, max_length=64)
            got = [each.decode() for each in served.serve(tf.constant(some))["translations"].numpy()]
            for text, one, other in zip(some, expected, got, strict=True):
                if one != other:
                    raise SystemExit(f"{text!r}: expected {one!r}, got {other!r}")
            print(f"{begin + len(some):,} translations, the same texts", flush=True)
    return len(texts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ids", "texts"))
    parser.add_argument("--preset", default="english-french")
    parser.add_argument("--tokenizer", help="a folder with a tokenizer, in place of that of the preset")
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--begin", type=int, default=0)
    parser.add_argument("--count", type=int)
    given = parser.parse_args()
    data = pathlib.Path(os.environ["KERAS_TRANSFORMERS_DATA"])
    if given.what == "texts":
        task = kt.Seq2SeqLM.from_preset(given.preset)
        end = given.begin + (given.count or 1000)
        texts = list(itertools.islice(_lines(data / _ENGLISH), given.begin, end))
        print(f"{compare_texts(task, texts, given.beams):,} texts are the same with {given.beams} beams")
        return
    tokenizer = (
        kt.Tokenizer.load(given.tokenizer) if given.tokenizer else kt.Seq2SeqLM.from_preset(given.preset).tokenizer
    )
    texts = itertools.islice(lines(data), given.begin, given.begin + (given.count or 1_000_000))
    count, (engine, graph) = compare_ids(tokenizer, texts)
    print(
        f"{count:,} lines have the same ids; the engine took {engine:.0f} s of processor time, the graph {graph:.0f} s"
    )


if __name__ == "__main__":
    main()
