"""The bar chart of the README, from `benchmarks/results`, to docs/pictures/speed.png.

python benchmarks/speed_picture.py
"""

import json
import pathlib
import statistics

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PICTURE = ROOT / "docs" / "pictures" / "speed.png"
# Title → file and case.
PANELS = {
    "translating 32 sentences, beam 4\n(3+3 layers, width 256)": ("translation-small", "small/beam4/batch32"),
    "translating 8 sentences, beam 4\n(size of OPUS-MT)": ("translation-marian", "marian/beam4/batch8"),
    "encoding 32 texts of 16 to 128 tokens\n(MiniLM)": ("encoder", "ragged"),
    "writing 128 tokens\n(SmolLM2-135M)": ("decode-smollm2", "smollm2/batch1/prompt32"),
}
BACKENDS = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}
LIBRARIES = {"ours": ("Keras Transformers", "C0"), "kerashub": ("KerasHub", "0.72")}


def ratio(file: str, case: str, contestant: str) -> float:
    """The median over rounds of a contestant's throughput, as a ratio to that of transformers on PyTorch."""
    records = json.loads((RESULTS / f"{file}.json").read_text("utf-8"))["records"]
    (found,) = (each for each in records if (each["case"], each["contestant"]) == (case, contestant))
    return statistics.median(found["ratios"])


def draw() -> None:
    """Write the picture: a panel a kind of work, a group of bars a backend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.1), layout="constrained")
    for number, (title, (file, case)) in enumerate(PANELS.items()):
        axes = figure.add_subplot(1, len(PANELS), number + 1)
        for place, (library, (name, colour)) in enumerate(LIBRARIES.items()):
            heights = [ratio(file, case, f"{library}_{backend}") for backend in BACKENDS]
            places = [group + 0.4 * place - 0.2 for group in range(len(BACKENDS))]
            bars = axes.bar(places, heights, 0.38, color=colour, label=name)
            axes.bar_label(bars, fmt="%.2f", fontsize=8)
        line = axes.axhline(1, color="0.2", linewidth=1, linestyle="--", label="transformers on PyTorch")
        axes.set_xticks(range(len(BACKENDS)), list(BACKENDS.values()), fontsize=9)
        axes.set_title(title, fontsize=9)
        axes.set_ylim(top=2.2)
        axes.spines[["top", "right"]].set_visible(False)
        if number == 0:
            axes.set_ylabel("throughput (transformers = 1)", fontsize=9)
            handles = [*axes.get_legend_handles_labels()[0]]
            handles = [each for each in handles if each is not line] + [line]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    draw()
    print(f"Wrote {PICTURE}")
