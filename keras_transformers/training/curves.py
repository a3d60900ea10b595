"""Plots of learning curves and of translation quality. matplotlib is imported for the first plot."""

import csv
import itertools
import math
import os
import pathlib
import typing
from collections.abc import Iterable, Mapping, Sequence

from keras_transformers.extras import require
from keras_transformers.spelling import spelled

Record: typing.TypeAlias = tuple[int, int, str, float]
"""Step, epoch, name and value."""

_QUANTITIES = {"bleu": "BLEU", "chrf": "chrF"}  # usual spellings


@spelled
def plot_learning_curve(
    records: str | os.PathLike[str] | Iterable[Record],
    path: str | os.PathLike[str] | None = None,
    *,
    title: str | None = None,
) -> pathlib.Path:
    """Plot the records of a `LearningCurve` callback: loss, perplexity, accuracy, BLEU, … over steps.

    Args:
        records: the CSV file of the callback, beside its picture, or a list of its rows,
            `[(step, epoch, name, value)]`. Names of validation metrics begin with `val_`.
        path: the picture to write; by default the path of the CSV file with the suffix `.png`.
        title: title of the picture.

    Returns:
        The `pathlib.Path` of the picture.

    Raises:
        FileNotFoundError, ValueError: for a missing file, a file without records, and a list without `path`.
        ImportError: without matplotlib.

    Example:
        >>> kt.plot_learning_curve("run/curve.csv")  # doctest: +SKIP
        PosixPath('run/curve.png')
    """
    require(matplotlib=True)
    if isinstance(records, (str, os.PathLike)):
        source = pathlib.Path(records)
        if not source.is_file():
            raise FileNotFoundError(
                f"Expected the CSV file of a LearningCurve, got nothing at {source}. Check the path."
            )
        path = source.with_suffix(".png") if path is None else path
        records = read_curve(source)
    if path is None:
        raise ValueError("Expected path=, where to write the picture of a list of records, got None.")
    series: dict[str, list[tuple[int, float]]] = {}
    for step, _, name, value in records:
        series.setdefault(name, []).append((step, value))
    quantities = [name for name in series if not name.startswith(("val_", "epoch_"))]
    quantities += [name[4:] for name in series if name.startswith("val_") and name[4:] not in quantities]
    if not quantities:
        raise ValueError(
            "Expected records of training, got none. Train for some steps first: `LearningCurve` says which."
        )
    columns = min(len(quantities), 3)
    rows = math.ceil(len(quantities) / columns)
    figure = figure_of(4.5 * columns, 3.2 * rows + 0.3)
    lines: dict[str, typing.Any] = {}
    for number, quantity in enumerate(quantities):
        lines |= _plot_quantity(figure.add_subplot(rows, columns, number + 1), quantity, series)
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=2, frameon=False)
    if title:
        figure.suptitle(title)
    save(figure, path)
    return pathlib.Path(path)


def _plot_quantity(
    axes: typing.Any, quantity: str, series: Mapping[str, Sequence[tuple[int, float]]]
) -> dict[str, typing.Any]:
    """Plot one metric of training, and the same of validation, over steps. Returns the lines by their label."""
    lines = {}
    for name, label, style in ((quantity, "training", "C0-"), (f"val_{quantity}", "validation", "C1-")):
        if name in series:
            marker = "o" if len(series[name]) <= 30 else None  # more of them would hide the line
            (lines[label],) = axes.plot(
                *zip(*series[name], strict=True), style, label=label, linewidth=1.4, marker=marker, markersize=3.5
            )
    if quantity == "perplexity":
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        low, high = axes.get_ylim()
        axes.yaxis.set_minor_formatter("{x:g}" if high < 20 * low else "")  # tick labels between powers of ten
    axes.set(title=_QUANTITIES.get(quantity, quantity.replace("_", " ")), xlabel="step")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    return lines


def read_curve(path: str | os.PathLike[str]) -> list[Record]:
    """Read the records of a `LearningCurve` from a CSV file, `[(step, epoch, name, value)]`; empty without a file."""
    records = []
    if pathlib.Path(path).exists():
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                try:
                    records.append((int(row[0]), int(row[1]), row[2], float(row[3])))
                except (ValueError, IndexError):  # the header, or a line cut off by a kill
                    continue
    return records


def plot_quality_by_length(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str | Sequence[str]],
    path: str | os.PathLike[str] | None = None,
    *,
    groups: int = 6,
) -> typing.Any:
    """Plot BLEU and chrF for groups of sentences of similar length, and for all sentences as a line.

    Args:
        sources, hypotheses, references: lists of strings of equal length.
        path: where to write the picture; its suffix chooses the format. Missing folders are created.
        groups: the most groups. Each has about equally many sentences, at least 20; equal lengths stay together.

    Returns:
        A `matplotlib.figure.Figure`, which notebooks show.

    Raises:
        ValueError, TypeError: as `training.bleu`.
        ImportError: without matplotlib.

    Example:
        >>> plot_quality_by_length(english, model.translate(english), french, "quality.png")  # doctest: +SKIP
    """
    require(matplotlib=True)
    from keras_transformers.training.metrics import bleu, chrf

    if len(sources) != len(hypotheses):
        raise ValueError(f"Expected as many hypotheses as sources, got {len(hypotheses)} and {len(sources)}.")
    metrics = {"BLEU": bleu, "chrF": chrf}
    whole = {name: metric(hypotheses, references).score for name, metric in metrics.items()}
    smallest = max(20, math.ceil(len(sources) / groups))
    grouped = _length_groups([len(text.split()) for text in sources], smallest)
    figure = figure_of(max(5.0, 1.5 + 1.2 * len(grouped)), 3.8)
    axes = figure.subplots()
    highest = 0.0
    for number, (name, metric) in enumerate(metrics.items()):
        scores = [
            metric([hypotheses[row] for row in rows], [references[row] for row in rows]).score
            for rows in grouped.values()
        ]
        highest = max(highest, *scores)
        places = [group + 0.4 * number - 0.2 for group in range(len(grouped))]
        bars = axes.bar(places, scores, 0.38, color=f"C{number}", alpha=0.85, label=f"{name}, {whole[name]:.1f} in all")
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
        axes.axhline(whole[name], color=f"C{number}", linewidth=1, linestyle="--", zorder=0)
    labels = [f"{name}\n{len(rows)} sentences" for name, rows in grouped.items()]
    axes.set_xticks(range(len(grouped)), labels)
    axes.set(
        xlabel="source length in words", title="Quality by sentence length", ylim=(0, min(100, 10 + 1.1 * highest))
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    save(figure, path)
    return figure


def _length_groups(lengths: list[int], smallest: int) -> dict[str, list[int]]:
    """Group rows of similar length, at least `smallest` in each if there are as many: {"4–6": [row, …], …}, shortest
    first."""
    groups: list[list[int]] = []
    rows: list[int] = []
    for _, equal in itertools.groupby(sorted(range(len(lengths)), key=lengths.__getitem__), key=lengths.__getitem__):
        rows += equal
        if len(rows) >= smallest:
            groups.append(rows)
            rows = []
    if rows and groups and len(rows) < smallest / 2:
        groups[-1] += rows
    elif rows:
        groups.append(rows)
    ends = [(lengths[rows[0]], lengths[rows[-1]]) for rows in groups]
    names = [str(first) if first == last else f"{first}–{last}" for first, last in ends]
    return dict(zip(names, groups, strict=True))


def save(figure: typing.Any, path: str | os.PathLike[str] | None) -> None:
    """Write a figure to `path`, and the folders above it; nothing if `path` is None."""
    if path is not None:
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)


def figure_of(width: float, height: float) -> typing.Any:
    """An empty figure outside of matplotlib's list of open figures, which a notebook can show."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            import io

            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=100)
            return buffer.getvalue()

    figure = Picture(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
