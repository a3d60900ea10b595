"""Attention plots of translations: cross-attention and self-attention by token.

Legend: `N` heads, `T` query length, `S` key length.
"""

import math
import os
import typing

from keras_transformers.extras import require
from keras_transformers.generation.settings import GenerationConfig
from keras_transformers.spelling import spelled
from keras_transformers.tasks.directions import Direction
from keras_transformers.training.curves import figure_of, save

# which → (name of the scores in the backbone's outputs, title of the picture, names of the axes: rows, columns)
_KINDS = {
    "cross": ("cross_attention_scores", "Cross-attention", "target", "source"),
    "encoder": ("encoder_attention_scores", "Encoder self-attention", "source", "source"),
    "decoder": ("attention_scores", "Decoder self-attention", "target", "target"),
}


@spelled
def plot_attention(
    model: typing.Any,
    source: str,
    target: str | None = None,
    *,
    source_language: str | None = None,
    target_language: str | None = None,
    layer: int = -1,
    head: int | str | None = None,
    which: str = "cross",
    path: str | os.PathLike[str] | None = None,
    title: str | None = None,
    **generation: typing.Any,
) -> typing.Any:
    """Plot the attention of a translation, by default that of each target token to the source tokens.

    Each row is a query and sums to 1. In cross-attention a row has the name of the token that the decoder wrote there.
    In the decoder's self-attention, rows and columns are the tokens that the decoder read, from the start token on. "␣"
    is a space.

    Args:
        model: a `Seq2SeqLM` with a tokenizer.
        source: the text to translate, one string.
        target: a given translation; by default the model's own.
        source_language, target_language: as for `Seq2SeqLM.translate`.
        layer: which layer, from 0; a negative number counts from the last one.
        head: which head, from 0; None for the mean of all, "all" for a grid of every head.
        which: "cross", "encoder" or "decoder".
        path: where to write the picture; its suffix chooses the format. Missing folders are created.
        title: a title in place of the default one.
        **generation: settings of the translation, such as `num_beams=4`: see `Seq2SeqLM.translate`.

    Returns:
        A `matplotlib.figure.Figure`, which notebooks show.

    Raises:
        TypeError, ValueError: for values that are not texts, an empty text, and a missing layer, head or kind.
        ImportError: without matplotlib.

    Example:
        >>> kt.plot_attention(translator, "The house is small.", path="attention.png")  # doctest: +SKIP

    Source: the pictures of Bahdanau et al. 2015, figure 3.
    """
    if which not in _KINDS:
        raise ValueError(f"Expected which to be one of {', '.join(map(repr, _KINDS))}, got {which!r}.")
    require(matplotlib=True)
    name, kind, query_name, key_name = _KINDS[which]
    direction = model.direction(source_language, target_language, **generation)
    layers, queries, keys = _attention(model, source, target, which, *direction)
    layer = _index("layer", layer, len(layers))
    scores_NTS = layers[layer]
    num_heads = len(scores_NTS)
    if head is None:
        panels, heads = (
            {"": scores_NTS.mean(axis=0)},
            "the only head" if num_heads == 1 else f"mean of {num_heads} heads",
        )
    elif head == "all":
        panels, heads = {f"head {n}": scores_TS for n, scores_TS in enumerate(scores_NTS)}, f"{num_heads} heads"
    else:
        head = _index("head", head, num_heads)
        panels, heads = {"": scores_NTS[head]}, f"head {head}"
    figure = _draw_panels(panels, queries, keys, query_name, key_name)
    figure.suptitle(f"{kind}, layer {layer}, {heads}" if title is None else title, parse_math=False)
    save(figure, path)
    return figure


def _attention(
    model: typing.Any, source: str, target: str | None, which: str, direction: Direction, config: GenerationConfig
) -> tuple[typing.Any, list[str], list[str]]:
    """The scores of every layer, numpy `[N, T, S]` each, and the pieces of the rows and of the columns."""
    import numpy as np

    from keras_transformers.tasks.alignment import attention

    for name, text in {"source": source, "target": target}.items():
        if not isinstance(text, str) and not (name == "target" and text is None):
            raise TypeError(
                f"Expected {name} to be one string, got {type(text).__name__}. Draw one translation at a time."
            )
    (source_ids,) = model.encode_sources([source], direction)
    if not source_ids:
        raise ValueError(f"Expected a source with some text, got {source!r}. An empty text is not translated.")
    tokenizer = model.tokenizer
    if target is not None:
        (target_ids,) = tokenizer.encode_targets([target], direction.target_language)
    elif which == "encoder":
        target_ids = [tokenizer.end_id]
    else:
        written = model.generate([source_ids], config).token_ids[0].tolist()
        ends = [place for place, token_id in enumerate(written) if token_id in config.end_ids]
        target_ids = written[: ends[0] + 1] if ends else written
    read_ids = [config.start_id, *target_ids[:-1]]
    layers = attention(model, source_ids, read_ids, _KINDS[which][0])
    # and whether they are of the target
    rows, columns = {
        "cross": ((target_ids, True), (source_ids, False)),
        "encoder": ((source_ids, False), (source_ids, False)),
        "decoder": ((read_ids, True), (read_ids, True)),
    }[which]
    return layers, *(tokenizer.tokens(np.array(ids), target=side) for ids, side in (rows, columns))


def _index(name: str, value: typing.Any, count: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -count <= value < count:
        alternatives = ', "all" or None for their mean' if name == "head" else ""
        raise ValueError(f"Expected {name} to be from {-count} to {count - 1}{alternatives}, got {value!r}.")
    return value % count


def _draw_panels(
    panels: dict[str, typing.Any], queries: list[str], keys: list[str], query_name: str, key_name: str
) -> typing.Any:
    """Draw matrices `[T, S]` side by side, each with its title, on one colour scale. The pieces label the outer
    edges."""
    columns = math.ceil(math.sqrt(len(panels)))
    rows = math.ceil(len(panels) / columns)
    # Inches for a token: readable, but smaller if the picture would get too wide.
    cell = min(0.32 if len(panels) == 1 else 0.2, 24 / (columns * len(keys)), 24 / (rows * len(queries)))
    font_size = min(11, max(4, 72 * 0.5 * cell))
    longest_query, longest_key = (0.65 * font_size / 72 * max(map(len, pieces)) for pieces in (queries, keys))
    width = max(4.0, columns * cell * len(keys) + longest_query + 1.8)
    height = max(3.0, rows * cell * len(queries) + longest_key + 1.3)
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
            axes.set_xlabel(name)
    figure.supylabel(query_name) if len(panels) > 1 else all_axes[0, 0].set_ylabel(query_name)
    if len(panels) == 1:
        all_axes[0, 0].set_xlabel(key_name)
        all_axes[0, 0].xaxis.set_label_position("top")
    figure.colorbar(image, ax=all_axes, label="attention weight", shrink=0.8, aspect=30)
    return figure


def _visible(piece: str) -> str:
    """The label of a piece: spaces as "␣", line ends and tabs as arrows."""
    arrows = {"\n": "↵", "\r": "↵", "\t": "⇥"}
    shown = "".join(arrows.get(c, "␣" if c.isspace() else c if c.isprintable() else "\ufffd") for c in piece)
    return shown if len(shown) <= 24 else f"{shown[:23]}…"
