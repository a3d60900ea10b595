"""`keras-transformers embed`: writes the vectors of the lines of a file."""

import pathlib
import sys
import time
from typing import Annotated, Any

import typer

from keras_transformers.apps.cli.options import TEXT_FILE, Preset


def embed(
    preset: Preset,
    input: Annotated[pathlib.Path, typer.Option(**TEXT_FILE, help="Embed the lines of this file (.gz too).")],
    output: Annotated[
        pathlib.Path,
        typer.Option(help="… into this one, .npy or .parquet. After a kill, the same command goes on."),
    ],
    column: Annotated[
        str | None, typer.Option(help="Of a file with tabs: the column to embed, a number or a name in line 1.")
    ] = None,
    field: Annotated[str | None, typer.Option(help="Of a file of JSON objects, one a line: the field.")] = None,
    prompt_name: Annotated[str | None, typer.Option(help="The name of one of the prompts of the model.")] = None,
    task: Annotated[str | None, typer.Option(help="query or document: use the prompt of the model for it.")] = None,
    truncate_dim: Annotated[
        int | None, typer.Option(min=1, help="Keep so many numbers of each vector (Matryoshka).")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    batch_size: Annotated[int, typer.Option(min=1, help="Lines computed at a time.")] = 32,
) -> None:
    """Write the vectors of the lines of a file, one for each line, in order. `kt.search` searches the output."""
    if column is not None and field is not None:
        raise ValueError("Expected one of --column, for a file with tabs, and --field, for JSON lines, got both.")

    from keras_transformers.apps.cli.texts import file_progress, given
    from keras_transformers.apps.files import LINES, Columns, JSONLines
    from keras_transformers.apps.vectors import embed_file

    rows: Any = LINES
    if field is not None:
        rows = JSONLines(field, "embedding")
    elif column is not None:
        rows = Columns(int(column) if column.isdecimal() else column, "embedding")

    import keras_transformers as kt

    embedder, begin = kt.TextEmbedder.from_preset(preset), time.perf_counter()
    options: dict[str, Any] = {"rows": rows, "batch_size": batch_size, "dtype": dtype}
    options |= given(prompt_name=prompt_name, task=task, truncate_dim=truncate_dim)
    with file_progress("embedding") as report:
        count = embed_file(embedder, input, output, progress=report, **options)
    print(f"{count:,} vectors in {output}; {time.perf_counter() - begin:.1f} s", file=sys.stderr)
