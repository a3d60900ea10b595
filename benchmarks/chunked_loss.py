"""What a training step over a large vocabulary takes in memory and time: logits whole, and in chunks.

    python benchmarks/chunked_loss.py --backends torch jax tensorflow

Each figure is of a process of its own: one small GPT, a few steps of `fit`; the peak of its resident memory above what
it had before the first step, and the processor time of the later steps.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

SHAPE = {"vocabulary_size": 50257, "num_layers": 2, "hidden_dim": 256, "num_heads": 4, "max_length": 256}
ROWS, LENGTH, STEPS = 8, 256, 3


def measure(whole):
    """One process's figures."""
    import keras
    import numpy as np

    import keras_transformers as kt
    from keras_transformers.data.batches import Batches
    from keras_transformers.data.examples import Examples
    from keras_transformers.data.pairs import Ragged

    keras.utils.set_random_seed(0)
    model = kt.CausalLM(kt.models.gpt(**SHAPE, dropout=0.0))
    # a metric of one's own asks for logits
    model.compile("sgd", weighted_metrics=[keras.metrics.MeanMetricWrapper(_first)] if whole else None)
    rng, count = np.random.default_rng(0), ROWS * STEPS
    ids = rng.integers(0, SHAPE["vocabulary_size"], (2, count * LENGTH)).astype("int32")
    columns = [Ragged(each, np.arange(count + 1) * LENGTH) for each in ids]
    examples = Examples({"token_ids": columns[0]}, columns[1], np.ones(count, "float32"), 0)
    before, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            times.append(time.process_time())

    model.fit(Batches(examples, batch_size=ROWS), callbacks=[Clock()], verbose=0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_mb": round((peak - before) / 1024), "step_s": round((times[-1] - times[0]) / (STEPS - 1), 2)}


def _first(labels, logits):
    return logits[..., 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["torch", "jax", "tensorflow"])
    parser.add_argument("--one", choices=("whole", "chunks"), help=argparse.SUPPRESS)
    parser.add_argument("--output", type=pathlib.Path, help="where to write the table, Markdown")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one == "whole")))
        return
    lines = [
        f"GPT of {SHAPE['num_layers']} layers × {SHAPE['hidden_dim']}, vocabulary {SHAPE['vocabulary_size']:,}, "
        f"{ROWS} × {LENGTH} tokens, float32, SGD.",
        "",
        "| backend | logits | peak memory, MB | processor time of a step, s |",
        "|---|---|---|---|",
    ]
    for backend in options.backends:
        for kind in ("whole", "chunks"):
            command = [sys.executable, __file__, "--one", kind]
            done = subprocess.run(
                command, env=os.environ | {"KERAS_BACKEND": backend}, capture_output=True, text=True, check=True
            )
            figures = json.loads(done.stdout.splitlines()[-1])
            lines.append(f"| {backend} | {kind} | {figures['peak_mb']:,} | {figures['step_s']} |")
            print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
