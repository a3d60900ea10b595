"""`docs/benchmarks.md` from what was measured last, `benchmarks/results/`.

python benchmarks/report.py
"""

import pathlib

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"

HEAD = """# Benchmark results

Made by `python benchmarks/report.py` from `benchmarks/results`. The files there have the rest
of each run: compile times and counts, peak memory, shares of the machine's limit, versions. `make bench` measures again
how fast this library and its peers decode, translate, encode, train and load. Run the other scripts of `benchmarks/`
one at a time.

A figure is a rate. After × follows its ratio to the first row in the same round: the median, the smallest and the
largest. Each table is of one run. Compare tables of different runs by their ratios alone. Percentages are relative to
`memory`, a contestant of older runs that reads the weights once a step. MiB is the memory beyond that which the process
held before.
"""


def tables(text):
    """The blocks of lines of a Markdown text that are tables."""
    blocks = [block.splitlines() for block in text.split("\n\n")]
    return ["\n".join(lines) for lines in blocks if lines and lines[0].startswith("|")]


def condition(text, name):
    """What follows `name: ` at the head of a result, or nothing."""
    return next((line.split(": ", 1)[1].strip() for line in text.splitlines() if line.startswith(f"{name}: ")), "")


def page():
    parts = [HEAD]
    for path in sorted(RESULTS.glob("*.md")):
        text = path.read_text("utf-8")
        where = ", ".join(filter(None, (condition(text, "when")[:10], condition(text, "machine"))))
        clock = condition(text, "clock")
        about = f"{where}, {clock} time" if clock else where
        parts += [f"## {path.stem}\n", f"{about}\n" if about else "", tables(text)[0] + "\n"]
        picture = PAGE.parent / "growth" / f"{path.stem.removeprefix('growth-')}.png"
        if path.stem.startswith("growth-") and picture.exists():
            parts.append(f"![{path.stem}](growth/{picture.name})\n")
    return "\n".join(filter(None, parts))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"Wrote {PAGE}")
