"""Greedy decoding, beams, and minimum Bayes risk decoding with chrF: scores, and the processor time that each takes.

The embedded English-French translator, on a random part of Tatoeba's test set (v2021-08-07). Minimum Bayes risk
decoding is one argument:

    translator.translate(texts, rerank=kt.tasks.MinimumBayesRisk("chrf"), num_candidates=16, …)

    python benchmarks/minimum_bayes_risk.py --count 200

prints a table, and writes it to `benchmarks/results/` as JSON and Markdown. `BENCH_SMOKE=1` translates 4 sentences and
writes nothing.
"""

import argparse
import gzip
import os
import pathlib
import sys
import time

import numpy as np
from harness import SMOKE, data_folder, write

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
SAMPLING = {"do_sample": True, "num_beams": 1, "seed": 0}
CASES = {
    "greedy": {"num_beams": 1},
    "4 beams": {"num_beams": 4},
    "8 beams, risk by chrF": {"num_candidates": 8},
    "16 samples, risk by chrF": {"num_candidates": 16, **SAMPLING},
    "16 samples at temperature 0.5, risk by chrF": {"num_candidates": 16, "temperature": 0.5, **SAMPLING},
}


def lines(side, count):
    path = data_folder() / "tatoeba-en-fr" / f"test-v2021-08-07.{side}.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        every = [line.rstrip("\n") for line in file]
    return [every[n] for n in np.random.default_rng(0).permutation(len(every))[:count]]


def main():
    parser = argparse.ArgumentParser(description="Minimum Bayes risk decoding beside beams.")
    parser.add_argument("--count", type=int, default=4 if SMOKE else 200, help="sentences to translate")
    options = parser.parse_args()
    import keras_transformers as kt
    from keras_transformers import backends, training

    translator = kt.Seq2SeqLM.from_preset("english-french")
    sources, references = lines("eng", options.count), lines("fra", options.count)
    translator.translate(sources[:2])
    records = []
    for name, settings in CASES.items():
        judge = {"rerank": kt.tasks.MinimumBayesRisk("chrf")} if "num_candidates" in settings else {}
        start = time.process_time()
        found = translator.translate(sources, **judge, **settings)
        record = {"case": name, "cpu_seconds": time.process_time() - start}
        scores = {metric.__name__: metric(found, references).score for metric in (training.bleu, training.chrf)}
        records.append(record | scores)
        print(records[-1], flush=True)
    print(table(records))
    if not SMOKE:
        where = f"{os.cpu_count()} processors, shared, {backends.NAME}"
        write("minimum-bayes-risk", records, table(records), where, clock="cpu", examples=f"{options.count} sentences")


def table(records):
    """Markdown: a row for each way to decode."""
    rows = [
        f"| {each['case']} | {each['bleu']:.1f} | {each['chrf']:.1f} | {each['cpu_seconds']:.1f} |" for each in records
    ]
    return "\n".join(["| decoding | BLEU | chrF | seconds |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    main()
