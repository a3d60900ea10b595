"""Attention plots of all tasks: which tokens each token attends to, as a picture or as an interactive page.

Legend: `N` heads, `T` query length, `S` key length.
"""

import math
import os
import typing

from keras_transformers.extras import require
from keras_transformers.spelling import spelled
from keras_transformers.tasks.attention_page import make_page
from keras_transformers.tasks.attention_reading import Matrices, read_attention
from keras_transformers.training.curves import figure_of, save


@spelled
def plot_attention(
    model: typing.Any,
    source: str,
    target: str | None = None,
    *,
    source_language: str | None = None,
    target_language: str | None = None,
    layer: int | str = -1,
    head: int | str | None = None,
    which: str | None = None,
    words: bool = False,
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
    **options: typing.Any,
) -> typing.Any:
    """Plot which tokens each token attends to: in a translation, or in a text that a model reads.

    Each row is a query and sums to 1. In cross-attention a row has the name of the token that the decoder wrote there.
    In the decoder's self-attention, rows and columns are the tokens that the decoder read, from the start token on. "␣"
    is a space.

    Args:
        model: a task with a tokenizer: a translator, a language model, a classifier, an embedder, …
        source: the text to read or to translate, one string.
        target: for a translator, a given translation, by default the model's own; for a language model, the
            continuation of `source`; for other tasks, the second text of a pair, such as the text with the answer.
        source_language, target_language: as for `Seq2SeqLM.translate`.
        layer: which layer, from 0; a negative number counts from the last one; "all" for a sheet of every layer.
        head: which head, from 0; None for the mean of all, "all" for a grid of every head.
        which: "cross", "encoder" or "decoder". By default the cross-attention of an encoder-decoder, and the
            self-attention of a model with one stack.
        words: whether rows and columns are words in place of pieces. The column of a word is the sum over its pieces,
            and its row the mean.
        path: where to write the picture; its suffix chooses the format. With ".html" it is an interactive page in one
            file, with all kinds, layers and heads. Missing folders are created.
        title: a title in place of the default one.
        **options: for a translator, settings of the translation, such as `num_beams=4`; for an `EntityTagger`, its
            `labels`.

    Returns:
        A `matplotlib.figure.Figure`, or an `AttentionPage` if the path ends in ".html". Notebooks show both.

    Raises:
        TypeError, ValueError: for values that are not texts, an empty text, a missing layer, head or kind, and models
            without attention.
        ImportError: without matplotlib, except for pages.

    Example:
        >>> kt.plot_attention(translator, "The house is small.", path="attention.png")  # doctest: +SKIP
        >>> kt.plot_attention(classifier, "A delight.", layer="all", head="all", path="sheet.pdf")  # doctest: +SKIP
        >>> kt.plot_attention(writer, "To be or not to be", words=True, path="attention.html")  # doctest: +SKIP

    Source: the pictures of Bahdanau et al. 2015, figure 3.
    """
    page = path if path is not None and os.fspath(path).lower().endswith((".html", ".htm")) else None
    if page is None:
        require(matplotlib=True)
    if which is None and page is None:
        which = _first_kind(model)
    found = read_attention(model, source, target, which, words, (source_language, target_language), options)
    matrices = next(iter(found.values()))
    layer = layer if layer == "all" else _index("layer", layer, len(matrices.layers))
    if head not in (None, "all"):
        head = _index("head", head, min(len(scores) for scores in _of_layers(matrices, layer).values()))
    if page is not None:
        return make_page(found, layer, head, f"{type(model).__name__}: attention" if title is None else title, page)
    panels, columns, said = _panels(matrices, layer, head)
    figure = _draw_panels(panels, columns, matrices)
    figure.suptitle(f"{matrices.title}, {said}" if title is None else title, parse_math=False)
    save(figure, path)
    return figure


def _first_kind(model: typing.Any) -> str | None:
    config = getattr(model, "config", None)
    stacks = [name for name in ("encoder", "decoder") if getattr(config, name, None) is not None]
    return "cross" if len(stacks) == 2 else stacks[0] if stacks else None


def _of_layers(matrices: Matrices, layer: int | str) -> dict[int, typing.Any]:
    """The scores `[N, T, S]` of the layers to draw, by number."""
    return dict(enumerate(matrices.layers)) if isinstance(layer, str) else {layer: matrices.layers[layer]}


def _panels(matrices: Matrices, layer: int | str, head: int | str | None) -> tuple[dict[str, typing.Any], int, str]:
    """The matrices `[T, S]` to draw by name, how many stand side by side, and the words for the title."""
    layers = _of_layers(matrices, layer)
    counts = [len(scores) for scores in layers.values()]
    many = len(layers) > 1
    chosen: dict[tuple[int, ...], typing.Any]
    if head is None:
        said = "the only head" if max(counts) == 1 else f"mean of {counts[0]} heads"
        chosen = {(n,): scores.mean(axis=0) for n, scores in layers.items()}
    elif head == "all":
        said = f"{counts[0]} heads"
        chosen = {(n, m): scores for n, every in layers.items() for m, scores in enumerate(every)}
    else:
        said = f"head {head}"
        chosen = {(n,): scores[head] for n, scores in layers.items()}
    if many:
        names = {place: f"layer {place[0]}" + (f", head {place[1]}" if len(place) > 1 else "") for place in chosen}
        said = f"{len(layers)} layers, {said}"
    else:
        names = {place: f"head {place[1]}" if len(place) > 1 else "" for place in chosen}
        said = f"layer {next(iter(layers))}, {said}"
    columns = max(counts) if many and head == "all" else math.ceil(math.sqrt(len(chosen)))
    return {names[place]: scores for place, scores in chosen.items()}, columns, said


def _index(name: str, value: typing.Any, count: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -count <= value < count:
        alternatives = ', "all" or None for their mean' if name == "head" else ""
        raise ValueError(f"Expected {name} to be from {-count} to {count - 1}{alternatives}, got {value!r}.")
    return value % count


def _draw_panels(panels: dict[str, typing.Any], columns: int, matrices: Matrices) -> typing.Any:
    """Draw matrices `[T, S]` side by side, each with its title, on one colour scale. The pieces label the outer
    edges."""
    queries, keys = matrices.queries, matrices.keys
    rows = math.ceil(len(panels) / columns)
    # Inches for a token: readable, but smaller if the picture would get too wide.
    cell = min(0.32 if len(panels) == 1 else 0.2, 24 / (columns * len(keys)), 24 / (rows * len(queries)))
    font_size = min(11, max(4, 72 * 0.5 * cell))
    longest_query, longest_key = (0.65 * font_size / 72 * max(map(len, pieces)) for pieces in (queries, keys))
    width = max(4.0, columns * (cell * len(keys) + (0.15 if len(panels) > 1 else 0)) + longest_query + 1.8)
    height = max(3.0, rows * (cell * len(queries) + (0.35 if len(panels) > 1 else 0)) + longest_key + 1.3)
    figure = figure_of(width, height)
    all_axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    highest = max(scores.max() for scores in panels.values())
    for axes in all_axes.flat[len(panels) :]:
        axes.set_visible(False)
    for number, (axes, (name, scores)) in enumerate(zip(all_axes.flat, panels.items(), strict=False)):
        image = axes.imshow(scores, cmap="Blues", vmin=0, vmax=highest, aspect="equal", interpolation="nearest")
        axes.set_xticks(range(len(keys)), list(map(_visible, keys)), parse_math=False)
        axes.set_yticks(range(len(queries)), list(map(_visible, queries)), parse_math=False)
        axes.tick_params(
            length=0, labelsize=font_size, top=True, labeltop=number < columns, bottom=False, labelbottom=False
        )
        axes.tick_params(axis="y", labelleft=number % columns == 0)
        for label in axes.get_xticklabels():
            label.set(rotation=60, ha="left", va="center", rotation_mode="anchor")
        axes.set_xticks([place - 0.5 for place in range(len(keys) + 1)], minor=True)
        axes.set_yticks([place - 0.5 for place in range(len(queries) + 1)], minor=True)
        axes.grid(which="minor", color="0.88", linewidth=0.5)
        axes.tick_params(which="minor", length=0)
        axes.spines[:].set_visible(False)
        if name:
            axes.set_xlabel(name, fontsize=min(10, 72 * cell * len(keys) / (0.6 * len(name))))
    if len(panels) > 1:
        figure.supylabel(matrices.query_name)
        figure.supxlabel(f"columns: {matrices.key_name}", fontsize="medium")
    else:
        all_axes[0, 0].set_ylabel(matrices.query_name)
        all_axes[0, 0].set_xlabel(matrices.key_name)
        all_axes[0, 0].xaxis.set_label_position("top")
    figure.colorbar(image, ax=all_axes, label="attention weight", shrink=0.8, aspect=30)
    return figure


def _visible(piece: str) -> str:
    """The label of a piece: spaces as "␣", line ends and tabs as arrows."""
    arrows = {"\n": "↵", "\r": "↵", "\t": "⇥"}
    shown = "".join(arrows.get(c, "␣" if c.isspace() else c if c.isprintable() else "\ufffd") for c in piece)
    return shown if len(shown) <= 24 else f"{shown[:23]}…"
