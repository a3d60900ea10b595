"""`keras-transformers export`: a preset → graphs for another runtime."""

import pathlib
import sys
from typing import Annotated

import typer


def export(
    preset: Annotated[str, typer.Argument(help="A preset: a name, a folder, a GGUF file, hf://…")],
    folder: Annotated[pathlib.Path, typer.Argument(help="The folder to write.")],
    format: Annotated[str, typer.Option(help="onnx, openvino, torch or tf_saved_model.")] = "onnx",
    task: Annotated[
        str | None, typer.Option(help="The task, such as TextClassifier; by default that of the preset.")
    ] = None,
) -> None:
    """Write a preset as graphs for ONNX Runtime, OpenVINO, PyTorch or TensorFlow, with labels and tokenizer."""
    from keras_transformers.formats.exports import kinds

    kinds.find(format).check_packages()  # before anything is loaded

    import keras_transformers as kt
    from keras_transformers.spelling import did_you_mean
    from keras_transformers.tasks import presets

    tasks = [name for name in dir(kt) if name.endswith(("LM", "Classifier", "Embedder", "Answerer"))]
    name = task or presets.opened(preset).task
    if name not in tasks:
        raise ValueError(
            f"Expected --task to be one of {', '.join(tasks)}, got {name!r}{did_you_mean(name, tasks)}. Name the task "
            "of the preset."
        )
    exported = getattr(kt, name).from_preset(preset).export(folder, format=format)
    print(f"Saved {folder}. Its outputs differ from the model's by {exported.difference:.1e}.", file=sys.stderr)
