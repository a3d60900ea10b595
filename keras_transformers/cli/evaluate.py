"""`keras-transformers evaluate`: BLEU and chrF of a preset's translations, with their signatures."""

import pathlib
from typing import Annotated

import typer

from keras_transformers.cli.texts import TEXT_FILE


def evaluate(
    preset: Annotated[str, typer.Argument(help="A preset: a name, a folder, hf://…, package://…")],
    source: Annotated[
        pathlib.Path | None, typer.Option(**TEXT_FILE, help="Sentences to translate, one a line (.gz too).")
    ] = None,
    target: Annotated[
        pathlib.Path | None, typer.Option(**TEXT_FILE, help="Their reference translations, line by line.")
    ] = None,
    pairs: Annotated[pathlib.Path | None, typer.Option(**TEXT_FILE, help="Instead: source<TAB>target lines.")] = None,
    num_beams: Annotated[int | None, typer.Option(min=1, help="Beams, not the preset's own number; 1: greedy.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="The longest translation, in tokens.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Sentences computed at a time.")] = 32,
    picture: Annotated[pathlib.Path | None, typer.Option(help="Draw BLEU by sentence length here (PNG).")] = None,
    translations: Annotated[pathlib.Path | None, typer.Option(help="Write the translations here.")] = None,
):
    """Translate a test set and score it: BLEU and chrF by sacreBLEU, each with its signature."""
    from keras_transformers.cli.texts import progress, read_pairs
    from keras_transformers.cli.translate import given, one_line

    sources, references = read_pairs(source, target, pairs)
    for path in (picture, translations):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    import keras_transformers as kt
    from keras_transformers.training.metrics import bleu, chrf

    task = kt.Seq2SeqLM.from_preset(preset)
    options = given(num_beams=num_beams, max_new_tokens=max_new_tokens, batch_size=batch_size)
    with progress("translating", total=len(sources)) as advance:
        hypotheses = [one_line(text) for text in task.translate(sources, progress=advance, **options)]
    for name, (score, signature) in {
        "BLEU": bleu(hypotheses, references),
        "chrF": chrf(hypotheses, references),
    }.items():
        print(f"{name}\t{score:.2f}\t{signature}")
    if translations is not None:
        translations.write_text("".join(line + "\n" for line in hypotheses), "utf-8")
    if picture is not None:
        draw_bleu_by_length(picture, sources, hypotheses, references)
        print(f"picture\t{picture}")


def draw_bleu_by_length(path, sources, hypotheses, references, groups=6):
    """Draw BLEU for groups of equally many sentences, from the shortest sources to the longest.

    Args:
        path: the picture to write; its suffix says the format.
        sources, hypotheses, references: lists of as many strings.
        groups: how many bars, where there are sentences enough for 20 each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from keras_transformers.training.metrics import bleu

    lengths = [len(text.split()) for text in sources]
    order = sorted(range(len(sources)), key=lengths.__getitem__)
    groups = max(1, min(groups, len(order) // 20))
    cuts = [round(index * len(order) / groups) for index in range(groups + 1)]
    labels, scores = [], []
    for begin, end in zip(cuts, cuts[1:], strict=False):
        rows = order[begin:end]
        labels.append(f"{lengths[rows[0]]}–{lengths[rows[-1]]}\n{len(rows)} sentences")
        scores.append(bleu([hypotheses[row] for row in rows], [references[row] for row in rows])[0])
    figure = Figure(figsize=(1.5 + 1.2 * groups, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.bar_label(axes.bar(labels, scores), fmt="%.1f")
    axes.set(xlabel="source length in words", ylabel="BLEU", title="BLEU by sentence length", ylim=(0, 100))
    figure.savefig(path)
