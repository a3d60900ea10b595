"""What `import keras_transformers` adds to `import keras`, in CPU time and in backends loaded.

    python benchmarks/imports.py

Each figure is the smallest of several fresh processes. The names of the package are lazy, so that `Seq2SeqLM` is asked
for as well: that imports the layers, the tokenizer and the task.
"""

import os
import subprocess
import sys

from harness import SMOKE, write

MEASURE = """
import sys, time
import keras
loaded, start = set(sys.modules), time.process_time()
import keras_transformers
{more}
added = time.process_time() - start
backends = sorted({{"jax", "tensorflow", "torch"}} & (set(sys.modules) - loaded))
print(added, *backends)
"""


def added(backend, more, processes):
    """Seconds of CPU time, and the backends that were loaded besides."""
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", MEASURE.format(more=more)]
    outputs = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(processes)
    ]
    return min(float(output[0]) for output in outputs), outputs[0][1:]


if __name__ == "__main__":
    lines, records = ["| backend | import | and Seq2SeqLM | backends loaded besides |", "|---|---|---|---|"], {}
    for backend in ("jax", "tensorflow", "torch"):
        seconds, _ = added(backend, "", 1 if SMOKE else 5)
        more, backends = added(backend, "keras_transformers.Seq2SeqLM", 1 if SMOKE else 5)
        records[backend] = {"import": seconds, "and_task": more, "backends": backends}
        lines.append(f"| {backend} | {seconds:.3f} s | {more:.3f} s | {', '.join(backends) or 'none'} |")
        print(lines[-1], flush=True)
    if not SMOKE:
        write("imports", records, "\n".join(lines), f"{os.cpu_count()} processors", clock="cpu")
