"""The most similar vectors of a corpus: kt.search beside NumPy and FAISS's flat index, on one core.

A million random vectors of width 384 in a memory-mapped file, the 10 most similar to each query, for 1 and for 100
queries. NumPy multiplies the whole corpus and sorts with `argpartition`; FAISS is `IndexFlatIP`, with the corpus in
memory, and `IndexBinaryFlat` for bits. Each contestant is a fresh process, with one thread. The first search reads the
file and is left out. Memory is the peak of the process above the libraries; pages of the mapped file count too, where
they are read. All find the same vectors, which is checked.

    python benchmarks/search.py --vectors 1000000 --repeats 5

prints a table, and writes it to `benchmarks/results/`. FAISS is left out if it is not installed (`faiss-cpu`).
`BENCH_SMOKE=1` searches 2,000 vectors and writes nothing.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from harness import SMOKE, write

WIDTH, K = 384, 10
PREPARE = """
import json, sys, time
import numpy as np
def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
folder, count, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
queries, k = np.load(f"{folder}/queries.npy")[:count], 10
bits = np.packbits(queries > 0, axis=1)
load = lambda name: np.load(f"{folder}/{name}.npy", mmap_mode="r")
"""
MEASURE = """
found = run()
seconds = []
for _ in range(repeats):
    start = time.process_time()
    run()
    seconds.append(time.process_time() - start)
print(json.dumps([float(np.median(seconds)), peak() - before, np.asarray(found).tolist()]))
"""
BEFORE = "before = peak()\n"
OURS = "import keras_transformers as kt; kt.search\n" + BEFORE
FAISS = "import faiss; faiss.omp_set_num_threads(1)\n" + BEFORE
CONTESTANTS = {
    "float32": {
        "NumPy, whole": BEFORE
        + """
corpus = load("float32")
def run():
    scores = queries @ corpus.T
    best = np.argpartition(-scores, k, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1)
""",
        "FAISS, IndexFlatIP": FAISS
        + f"index = faiss.IndexFlatIP({WIDTH}); index.add(np.array(load('float32')))\n"
        + "run = lambda: index.search(queries, k)[1]\n",
        "kt.search": OURS
        + 'corpus = load("float32"); run = lambda: kt.search(queries, corpus, k, measure="dot").indices\n',
    },
    "int8": {
        "kt.search": OURS
        + 'corpus = load("int8"); run = lambda: kt.search(queries, corpus, k, measure="dot").indices\n',
    },
    "bits": {
        "FAISS, IndexBinaryFlat": FAISS
        + f"index = faiss.IndexBinaryFlat({WIDTH}); index.add(np.array(load('bits')))\n"
        + "run = lambda: index.search(bits, k)[0]\n",
        "kt.search": OURS
        + 'corpus = load("bits"); run = lambda: -kt.search(bits, corpus, k, measure="hamming").scores\n',
    },
}


def prepare(folder, vectors):
    """Write the corpus as float32, int8 and bits, and the queries."""
    rng, rows = np.random.default_rng(0), 100_000
    files = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (vectors, width))
        for name, dtype, width in (
            ("float32", "float32", WIDTH),
            ("int8", "int8", WIDTH),
            ("bits", "uint8", WIDTH // 8),
        )
    }
    for begin in range(0, vectors, rows):
        block = rng.standard_normal((min(rows, vectors - begin), WIDTH), "float32")
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        files["float32"][begin : begin + rows] = block
        files["int8"][begin : begin + rows] = np.clip(np.round(block * 500), -127, 127)
        files["bits"][begin : begin + rows] = np.packbits(block > 0, axis=1)
    np.save(folder / "queries.npy", rng.standard_normal((100, WIDTH), "float32"))


def main():
    parser = argparse.ArgumentParser(description="Exact search, ours beside NumPy and FAISS.")
    parser.add_argument("--vectors", type=int, default=2000 if SMOKE else 1_000_000)
    parser.add_argument("--repeats", type=int, default=1 if SMOKE else 5)
    options = parser.parse_args()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    root = str(pathlib.Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = os.environ | threads | {"PYTHONPATH": path}
    records = []
    with tempfile.TemporaryDirectory() as scratch:
        prepare(pathlib.Path(scratch), options.vectors)
        for kind, contestants in CONTESTANTS.items():
            for count in (1, 100):
                known = None
                for name, code in contestants.items():
                    command = [
                        sys.executable,
                        "-c",
                        PREPARE + code + MEASURE,
                        scratch,
                        str(count),
                        str(options.repeats),
                    ]
                    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                    if done.returncode:
                        print(f"{name} is left out: {done.stderr.splitlines()[-1]}", flush=True)
                        continue
                    seconds, peak, found = json.loads(done.stdout.splitlines()[-1])
                    same = 1.0 if known is None else float(np.mean(np.array(found) == np.array(known)))
                    known = found if known is None else known
                    record = {"vectors": kind, "queries": count, "contestant": name, "seconds": seconds}
                    records.append({**record, "peak_mib": peak, "same": same})
                    print(records[-1], flush=True)
    print(table(records))
    if not SMOKE:
        told = f"{options.vectors:,} of width {WIDTH}, the {K} most similar to each query"
        write("search", records, table(records), f"{os.cpu_count()} processors, shared", clock="cpu", vectors=told)


def table(records):
    """Markdown: a row for each kind of vectors, number of queries and contestant."""
    lines = ["| vectors | queries | contestant | seconds | MiB | same results |", "|---|---|---|---|---|---|"]
    for each in records:
        cells = each["vectors"], each["queries"], each["contestant"], f"{each['seconds']:.3f}"
        lines.append(f"| {' | '.join(map(str, cells))} | {each['peak_mib']:.0f} | {each['same']:.1%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
