"""How time and memory grow: with a prompt's length, the batch, the length of what is generated, and the vocabulary.

Small models of random weights, float32, ours beside transformers (run eagerly) and KerasHub, one axis at a time:

    length        reading a prompt of 128 to 8,192 tokens, one row: a decoder of six layers of width 384
    batch         32 new tokens after 32, for 1 to 128 rows, the same decoder
    output        16 to 1,024 new tokens after 32, eight rows, the same decoder
    vocabulary    training steps of a GPT of two layers of width 256, 4 × 256 tokens, 8,192 to 262,144 tokens

    python benchmarks/growth.py length --only jax --threads 1 --clock cpu --rounds 2

takes axes, all by default, then the options of the others, prints their tables, and draws a picture of each for
`docs/`.
"""

import dataclasses
import json
import pathlib
import statistics

import decode
import training_gpt
from decoders import GPT2, Llama
from harness import RESULTS, SMOKE, cases_of, run_parts

PICTURES = pathlib.Path(__file__).parents[1] / "docs" / "growth"
DECODER = decode.Case(Llama(6, 384, 6, 2, 1024, 8000, context_length=8200), batch_size=1, prompt=32, new=32)
GPT = GPT2(2, 256, 4, context_length=256)


def cases(case, field, values, **others):
    return {str(value): dataclasses.replace(case, **{field: value}, **others) for value in values}


def axis(benchmark, name, all_cases, **others):
    """`benchmark` with other cases."""
    contestants = tuple(each for each in benchmark.contestants if not each.name.endswith("_compiled"))
    return dataclasses.replace(benchmark, name=f"growth-{name}", cases=all_cases, contestants=contestants, **others)


def prompt_tokens(case):
    return case.batch_size * case.prompt


AXES = {
    "length": axis(
        decode.BENCHMARK,
        "length",
        cases(DECODER, "prompt", (128, 512, 2048, 8192), new=1),
        unit="prompt tokens/s",
        work=prompt_tokens,
    ),
    "batch": axis(decode.BENCHMARK, "batch", cases(DECODER, "batch_size", (1, 8, 32, 128))),
    "output": axis(decode.BENCHMARK, "output", cases(DECODER, "new", (16, 128, 1024), batch_size=8)),
    "vocabulary": axis(
        training_gpt.BENCHMARK,
        "vocabulary",
        {
            name: training_gpt.Case(model)
            for name, model in cases(GPT, "vocabulary_size", (8192, 32768, 131072, 262144)).items()
        },
    ),
}
LABELS = {
    "length": "tokens of the prompt",
    "batch": "rows",
    "output": "new tokens",
    "vocabulary": "tokens of the vocabulary",
}


COLOURS = {"jax": "C0", "tensorflow": "C1", "torch": "C3"}
LIBRARIES = {"ours": ("Keras Transformers", "-"), "kerashub": ("KerasHub", "--"), "transformers": ("transformers", ":")}
BACKENDS = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}


def draw(name):
    """Seconds of a run and peak memory over the axis: one colour a backend, and one style of line a library."""
    import matplotlib.pyplot as plt

    records = json.loads((RESULTS / f"growth-{name}.json").read_text("utf-8"))["records"]
    figure, (times, memory) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    for contestant in dict.fromkeys(record["contestant"] for record in records):
        library, _, backend = contestant.partition("_")
        backend = backend or "torch"  # transformers
        known = [each for each in records if each["contestant"] == contestant and "seconds" in each]
        places = [int(each["case"]) for each in known]
        title, style = LIBRARIES[library]
        look = {"color": COLOURS[backend], "linestyle": style, "marker": "o", "markersize": 4}
        look["label"] = f"{title}, {BACKENDS[backend]}"
        times.plot(places, [statistics.median(each["seconds"]) for each in known], **look)
        memory.plot(places, [each["peak_mib"] for each in known], **look)
    every = [int(case) for case in cases_of(records)]
    for axes, label in ((times, "seconds of a run"), (memory, "peak memory of the process, MiB")):
        axes.set(xscale="log", yscale="log", xlabel=LABELS[name], ylabel=label)
        axes.set_xticks(every, [f"{place:,}" for place in every], minor=False)
        axes.set_xticks([], minor=True)
        axes.yaxis.set_major_formatter("{x:,g}")
        low, high = axes.get_ylim()
        axes.yaxis.set_minor_formatter("{x:,g}" if high < 30 * low else "")  # tick labels between powers of ten
        axes.tick_params(axis="y", which="minor", labelsize=8)
        axes.grid(alpha=0.3)
    figure.legend(*times.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    PICTURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURES / f"{name}.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    run_parts(AXES, after=lambda name: SMOKE or draw(name))
