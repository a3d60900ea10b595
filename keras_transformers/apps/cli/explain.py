"""`keras-transformers explain`: the parts of a preset's model."""

from typing import Annotated

import typer


def explain(preset: Annotated[str, typer.Argument(help="A preset: a name, a folder, hf://…, package://…")]) -> None:
    """Print the resolved recipe of a model: each active layer, norm, bias and position scheme, with shapes."""
    import keras_transformers as kt

    print(kt.explain(kt.Seq2SeqLM.from_preset(preset)))
