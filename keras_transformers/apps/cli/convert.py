"""`keras-transformers convert`: a preset → a folder in another format."""

import pathlib
import sys
from typing import Annotated

import typer

from keras_transformers.apps.cli.texts import given

FORMATS = ("hugging-face", "ctranslate2")


def convert(
    preset: Annotated[str, typer.Argument(help="A preset: a name, a folder, a GGUF file, hf://…")],
    output: Annotated[pathlib.Path, typer.Argument(help="The folder to write.")],
    to: Annotated[str, typer.Option(help="hugging-face, or ctranslate2 for translation models.")] = "hugging-face",
    task: Annotated[str, typer.Option(help="The task of the preset.")] = "Seq2SeqLM",
    dtype: Annotated[
        str | None, typer.Option(help="With --to hugging-face: the dtype of stored floats, such as float16.")
    ] = None,
    quantization: Annotated[
        str | None, typer.Option(help="With --to ctranslate2: int8, int8_float16, float16, …")
    ] = None,
) -> None:
    """Write a preset as a folder for transformers (if one of its model families fits) or for CTranslate2."""
    if to not in FORMATS:
        raise ValueError(f"Expected --to to be {' or '.join(FORMATS)}, got {to!r}.")
    leaving = to == "ctranslate2"
    other = {"--dtype": dtype} if leaving else {"--quantization": quantization}
    if given(**other):
        raise ValueError(f"Expected no {next(iter(other))} with --to {to}. Leave it out.")
    if leaving and task != "Seq2SeqLM":
        raise ValueError(f"Expected a Seq2SeqLM for CTranslate2, got --task {task}.")

    from keras_transformers.extras import require
    from keras_transformers.formats.ctranslate2 import MODEL
    from keras_transformers.formats.preset import check_replaceable

    require("ctranslate2", ctranslate2=leaving)
    check_replaceable(output, *([MODEL] if leaving else []))

    import keras_transformers as kt

    tasks = [name for name in dir(kt) if name.endswith(("LM", "Classifier", "Embedder", "Answerer"))]
    if task not in tasks:
        raise ValueError(f"Expected --task to be one of {', '.join(tasks)}, got {task!r}.")
    model = getattr(kt, task).from_preset(preset)
    if leaving:
        model.export_ctranslate2(output, quantization)
    else:
        model.save_to_preset(output, dtype)
    print(f"Saved {output}.", file=sys.stderr)
