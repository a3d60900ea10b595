"""`keras-transformers evaluate`: BLEU and chrF of a preset's translations, with their signatures."""

import pathlib
import sys
import time
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
    source_language: Annotated[str | None, typer.Option(help="A name, a code, or as the model calls it.")] = None,
    target_language: Annotated[str | None, typer.Option(help="A name, a code, or as the model calls it.")] = None,
    num_beams: Annotated[int | None, typer.Option(min=1, help="Beams, not the preset's own number; 1: greedy.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="The longest translation, in tokens.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Sentences computed at a time.")] = 32,
    picture: Annotated[pathlib.Path | None, typer.Option(help="Draw BLEU by sentence length here (PNG).")] = None,
    translations: Annotated[pathlib.Path | None, typer.Option(help="Write the translations here.")] = None,
):
    """Translate a test set and score it: BLEU and chrF by sacreBLEU, each with its signature."""
    from keras_transformers.cli.texts import given, progress
    from keras_transformers.extras import require
    from keras_transformers.line_files import read_pairs

    require(sacrebleu=True, matplotlib=picture)
    sources, references = read_pairs(source, target, pairs)
    for path in (picture, translations):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    import keras

    import keras_transformers as kt
    from keras_transformers.plotting import plot_quality_by_length
    from keras_transformers.tasks.files import one_line
    from keras_transformers.training.metrics import bleu, chrf

    task = kt.Seq2SeqLM.from_preset(preset)
    options = given(
        num_beams=num_beams,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        source_language=source_language,
        target_language=target_language,
    )
    begin = time.perf_counter()
    with progress("translating", total=len(sources)) as advance:
        hypotheses = [one_line(text) for text in task.translate(sources, progress=advance, **options)]
    seconds = time.perf_counter() - begin
    print(f"{len(sources)} sentences in {seconds:.1f} s on {keras.backend.backend()}", file=sys.stderr)
    for name, (score, signature) in {
        "BLEU": bleu(hypotheses, references),
        "chrF": chrf(hypotheses, references),
    }.items():
        print(f"{name}\t{score:.2f}\t{signature}")
    if translations is not None:
        translations.write_text("".join(line + "\n" for line in hypotheses), "utf-8")
    if picture is not None:
        plot_quality_by_length(sources, hypotheses, references, picture)
        print(f"picture\t{picture}")
