"""On a GPU, in bfloat16: decoding, translating and training, ours beside transformers and KerasHub.

    decode       GPT-2 small, 128 new tokens after 32, for 1, 8 and 64 rows: of the limit, the share of the bandwidth
    translate    a model of Marian's size, beam 4, for 1, 8 and 32 sentences
    train        GPT-2 small, batches of 16 × 1,024, weights in float32: of the limit, the share of the operations that
                 multiplying bfloat16 matrices reaches here

    python benchmarks/gpu.py train --rounds 5

takes kinds, all by default, then options of the others. Where no GPU is, it says so, and that is all.
"""

import dataclasses

import decode
import training_gpt
import translation
from decoders import GPT2
from harness import SMOKE, run_parts

DECODING = {f"batch{rows}": decode.Case(GPT2(), rows, 32) for rows in (1, 8, 64)}
TRANSLATING = {name: case for name, case in translation.BENCHMARK.cases.items() if name.startswith("marian/beam4")}
TRAINING = {"gpt2": training_gpt.Case(GPT2(), rows=16, length=1024)}


def on_gpu(benchmark, cases):
    """`benchmark` with other cases, of the two backends that the GPU's figures are asked of."""
    contestants = tuple(each for each in benchmark.contestants if each.backend != "tensorflow")
    contestants = tuple(each for each in contestants if not each.name.startswith("ctranslate2"))
    return dataclasses.replace(benchmark, name=f"gpu-{benchmark.name}", cases=cases, contestants=contestants)


KINDS = {
    "decode": on_gpu(decode.BENCHMARK, DECODING),
    "translate": on_gpu(translation.BENCHMARK, TRANSLATING),
    "train": on_gpu(training_gpt.BENCHMARK, TRAINING),
}


def options(kind):
    dtype = "mixed_bfloat16" if kind == "train" else "bfloat16"
    return "--device", "cpu" if SMOKE else "gpu", "--dtype", dtype, "--clock", "wall"


if __name__ == "__main__":
    run_parts(KINDS, options)
