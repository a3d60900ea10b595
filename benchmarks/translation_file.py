"""A file of 10,000 sentences, translated: ours on each backend, beside CTranslate2 on what ours exports.

The embedded English→French model and the first 10,000 lines of Tatoeba's test set, of 1 to some 60 words. Timed is the
whole way from a file of lines to a file of lines, with what is compiled on the way, but not the loading of the model.
CTranslate2 sorts by length and fills batches by tokens; its tokens are made by the same tokenizer. BLEU tells that all
do the same work. The data set is found by KERAS_TRANSFORMERS_DATA.

    taskset -c 0 python benchmarks/translation_file.py --beams 1,4

prints a table, and writes it to `benchmarks/results/`: seconds are the process's processor time. `BENCH_SMOKE=1`
translates 64 lines and writes nothing.
"""

import argparse
import gzip
import itertools
import os
import pathlib
import tempfile
import time

from harness import SMOKE, data_folder, in_own_process, named, write

LINES = 64 if SMOKE else 10_000


def ours(source, output, beams):
    """Translate a file; return the seconds that took."""
    import keras_transformers as kt
    from keras_transformers.apps.files import translate_file

    model = kt.Seq2SeqLM.from_preset("english-french")
    start = time.process_time()
    translate_file(model, source, output, num_beams=beams)
    return time.process_time() - start


def ctranslate2(source, output, beams, quantization=None):
    import ctranslate2

    import keras_transformers as kt

    model = kt.Seq2SeqLM.from_preset("english-french")
    tokenizer = model.tokenizer
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "model"
        model.export_ctranslate2(folder, quantization=quantization)
        threads = len(os.sched_getaffinity(0))
        translator = ctranslate2.Translator(str(folder), compute_type=quantization or "float32", intra_threads=threads)
    start = time.process_time()
    lines = pathlib.Path(source).read_text("utf-8").splitlines()
    pieces = [tokenizer.to_pieces(ids) for ids in tokenizer.encode_sources(lines)]
    results = translator.translate_batch(pieces, beam_size=beams, max_batch_size=2048, batch_type="tokens")
    ids = [tokenizer.from_pieces(result.hypotheses[0], target=True) for result in results]
    pathlib.Path(output).write_text("".join(f"{text}\n" for text in tokenizer.decode(ids)), "utf-8")
    return time.process_time() - start


def ctranslate2_int8(source, output, beams):
    return ctranslate2(source, output, beams, "int8")


CONTESTANTS = {
    **{f"ours_{backend}": (ours, backend) for backend in ("jax", "tensorflow", "torch")},
    "ctranslate2": (ctranslate2, "torch"),
    "ctranslate2_int8": (ctranslate2_int8, "torch"),
}


def main():
    import sacrebleu

    parser = argparse.ArgumentParser(description="A file translated")
    parser.add_argument("--only", help="contestants whose name contains one of these, comma-separated")
    parser.add_argument("--beams", default="1", help="numbers of beams, comma-separated")
    options = parser.parse_args()
    data = data_folder() / "tatoeba-en-fr"
    sides = []
    for language in ("eng", "fra"):
        with gzip.open(data / f"test-v2021-08-07.{language}.gz", "rt", encoding="utf-8") as file:
            sides.append([line.rstrip("\n") for line in itertools.islice(file, LINES)])
    records = []
    table = ["| beams | contestant | sentences/s | seconds | BLEU |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        source = pathlib.Path(scratch) / "source.txt"
        source.write_text("".join(f"{line}\n" for line in sides[0]), "utf-8")
        for beams in map(int, options.beams.split(",")):
            for name, (translate, backend) in CONTESTANTS.items():
                if not named(name, options.only):
                    continue
                output = pathlib.Path(scratch) / f"{name}-{beams}.txt"
                seconds, _ = in_own_process(backend, translate, str(source), str(output), beams)
                found = output.read_text("utf-8").splitlines()
                bleu = sacrebleu.corpus_bleu(found, [sides[1]]).score
                records.append({"beams": beams, "contestant": name, "seconds": seconds, "bleu": bleu})
                table.append(f"| {beams} | {name} | {LINES / seconds:.0f} | {seconds:.0f} | {bleu:.2f} |")
                print("\n".join(table), flush=True)
                if not SMOKE:
                    machine = f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} processors"
                    write("translation-file", records, "\n".join(table), machine, clock="cpu")


if __name__ == "__main__":
    main()
