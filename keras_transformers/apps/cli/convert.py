"""`keras-transformers convert`: a preset → a folder in another format."""

import pathlib
import sys
from typing import Annotated

import typer

from keras_transformers.apps.cli.texts import given

FORMATS = ("hugging-face", "ctranslate2", "marian")

_NAMES = {"ctranslate2": "CTranslate2", "marian": "Marian"}
# The files whose presence allows replacing an earlier export.
_MARKERS = {"ctranslate2": "model.bin", "marian": "decoder.yml"}


def convert(
    preset: Annotated[str, typer.Argument(help="A preset: a name, a folder, a GGUF file, hf://…")],
    output: Annotated[pathlib.Path, typer.Argument(help="The folder to write.")],
    to: Annotated[
        str, typer.Option(help="hugging-face, or, for translation models, ctranslate2 or marian.")
    ] = "hugging-face",
    task: Annotated[str, typer.Option(help="The task of the preset.")] = "Seq2SeqLM",
    dtype: Annotated[
        str | None, typer.Option(help="With --to hugging-face: the dtype of stored floats, such as float16.")
    ] = None,
    quantization: Annotated[
        str | None, typer.Option(help="With --to ctranslate2: int8, int8_float16, float16, … With --to marian: int8.")
    ] = None,
) -> None:
    """Write a preset as a folder for transformers, CTranslate2 or Marian; refuse a model that they cannot compute."""
    if to not in FORMATS:
        raise ValueError(f"Expected --to to be one of {', '.join(FORMATS)}, got {to!r}.")
    leaving = to != "hugging-face"
    other = {"--dtype": dtype} if leaving else {"--quantization": quantization}
    if given(**other):
        raise ValueError(f"Expected no {next(iter(other))} with --to {to}. Leave it out.")
    if leaving and task != "Seq2SeqLM":
        raise ValueError(f"Expected a Seq2SeqLM for {_NAMES[to]}, got --task {task}.")

    from keras_transformers.extras import require
    from keras_transformers.formats.preset import check_replaceable

    require("ctranslate2", ctranslate2=to == "ctranslate2")
    check_replaceable(output, *([_MARKERS[to]] if leaving else []))

    import keras_transformers as kt

    tasks = [name for name in dir(kt) if name.endswith(("LM", "Classifier", "Embedder", "Answerer"))]
    if task not in tasks:
        raise ValueError(f"Expected --task to be one of {', '.join(tasks)}, got {task!r}.")
    model = getattr(kt, task).from_preset(preset)
    export = getattr(model, f"export_{to.replace('-', '_')}")
    export(output, quantization if leaving else dtype)
    print(f"Saved {output}.", file=sys.stderr)
