"""`keras-transformers run`: a translation model from raw parallel text, set up by one YAML file."""

import pathlib
import sys
from typing import Annotated

import typer

from keras_transformers.apps.cli.options import TEXT_FILE


def run(
    file: Annotated[
        pathlib.Path | None, typer.Argument(**TEXT_FILE, help="The run: a YAML file with the sections of the guide.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a value of the run, such as training.epochs=3; repeat for more."),
    ] = None,
) -> None:
    """Train a translation model: clean parallel text, learn a vocabulary, train, watch BLEU, average, save and test.
    Settings come from a YAML file, from --set, or both. The same command resumes a stopped run."""
    from keras_transformers.apps.runs.settings import read_run

    settings = read_run(file, changes or ())

    from keras_transformers.apps.runs.translation import train_translation

    train_translation(settings, verbose=1 if sys.stdout.isatty() else 2)
    print(f"Try: keras-transformers translate --preset {settings.output}/preset '…'", file=sys.stderr)
