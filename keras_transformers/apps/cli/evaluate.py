"""`keras-transformers evaluate`: BLEU and chrF of a preset's translations, with their signatures."""

import dataclasses
import pathlib
import sys
import time
from typing import Annotated

import typer

from keras_transformers.apps.cli.options import (
    BatchSize,
    Languages,
    MaxNewTokens,
    NumBeams,
    PairFiles,
    Preset,
    command_of_records,
)


@command_of_records
def evaluate(
    preset: Preset,
    files: PairFiles,
    languages: Languages,
    num_beams: NumBeams = None,
    max_new_tokens: MaxNewTokens = None,
    batch_size: BatchSize = 32,
    picture: Annotated[pathlib.Path | None, typer.Option(help="Draw BLEU by sentence length here (PNG).")] = None,
    translations: Annotated[pathlib.Path | None, typer.Option(help="Write the translations here.")] = None,
) -> None:
    """Translate a test set and score it: BLEU and chrF by sacreBLEU, each with its signature."""
    from keras_transformers.apps.cli.texts import given, progress
    from keras_transformers.extras import require

    require(sacrebleu=True, matplotlib=picture)
    sources, references = files.read()
    for path in (picture, translations):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    import keras_transformers as kt
    from keras_transformers import backends
    from keras_transformers.apps.files import one_line
    from keras_transformers.training.curves import plot_quality_by_length
    from keras_transformers.training.metrics import bleu, chrf

    task = kt.Seq2SeqLM.from_preset(preset)
    options = given(
        num_beams=num_beams,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        **dataclasses.asdict(languages),
    )
    names = [f"line {number}" for number in range(1, len(sources) + 1)]
    begin = time.perf_counter()
    with progress("translating", total=len(sources)) as advance:
        hypotheses = [one_line(text) for text in task.translate(sources, names=names, progress=advance, **options)]
    seconds = time.perf_counter() - begin
    print(f"{len(sources)} sentences in {seconds:.1f} s on {backends.NAME}", file=sys.stderr)
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
