"""Arguments and options that several commands take."""

import pathlib
from typing import Annotated

import typer

# What typer checks of a file to read.
TEXT_FILE = {"exists": True, "dir_okay": False}

Preset = Annotated[str, typer.Argument(help="A preset: a name, a folder, hf://…, package://…")]
PresetFolder = Annotated[pathlib.Path, typer.Argument(help="The preset folder to write.")]

# Sentence pairs
Sources = Annotated[pathlib.Path | None, typer.Option(**TEXT_FILE, help="Source sentences, one a line (.gz too).")]
Targets = Annotated[pathlib.Path | None, typer.Option(**TEXT_FILE, help="Their translations, line by line.")]
Pairs = Annotated[pathlib.Path | None, typer.Option(**TEXT_FILE, help="Instead: source<TAB>target lines.")]

HeldOut = Annotated[pathlib.Path | None, typer.Option(**TEXT_FILE, help="The same, held out.")]

# Translation
Language = Annotated[str | None, typer.Option(help="A name, a code, or as the model calls it.")]
NumBeams = Annotated[int | None, typer.Option(min=1, help="Beams, not the preset's own number; 1: greedy.")]
MaxNewTokens = Annotated[int | None, typer.Option(min=1, help="The longest translation, in tokens.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Sentences computed at a time.")]

# Training
HiddenDim = Annotated[int, typer.Option(min=1, help="The width of the model.")]
NumHeads = Annotated[int, typer.Option(min=1, help="Attention heads.")]
Dropout = Annotated[float, typer.Option(min=0, max=1, help="The share of activations dropped.")]
BatchTokens = Annotated[int, typer.Option(min=1, help="Tokens in a batch.")]
Seed = Annotated[int, typer.Option(help="Of the first weights, dropout and the order of batches.")]
Checkpoints = Annotated[pathlib.Path | None, typer.Option(help="Keep checkpoints here, and go on from the newest.")]
Curve = Annotated[
    pathlib.Path | None, typer.Option(help="Draw loss, perplexity and accuracy here (PNG), after each epoch.")
]
