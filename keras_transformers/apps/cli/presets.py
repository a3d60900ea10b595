"""`keras-transformers presets`: the presets that ship with the library."""

import math
import pathlib
import sys


def presets() -> None:
    """List the presets that ship with the library: a table on a terminal, tab-separated lines otherwise."""
    from keras_transformers.formats.sources import embedded_presets

    rows = [describe(folder) for folder in embedded_presets().values()]
    headings = ("name", "task", "parameters", "size", "about")
    if not sys.stdout.isatty():
        for row in (headings, *rows):
            print("\t".join(row))
        return
    import rich
    import rich.table

    table = rich.table.Table(*headings)
    for row in rows:
        table.add_row(*row)
    rich.print(table)


def describe(folder: pathlib.Path) -> tuple[str, ...]:
    """Return a preset's row: name, task, parameters in millions, megabytes of weights, and the title of its card."""
    from keras_transformers.formats import preset, safetensors_files

    tensors = safetensors_files.read_tensors(folder)
    values = preset.read_json(folder, "config.json")
    parameters = sum(math.prod(tensors.shape(name)) for name in tensors)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    card = folder / "README.md"
    titles = [line for line in card.read_text("utf-8").splitlines() if line.startswith("# ")] if card.is_file() else []
    return (
        folder.name,
        str(values.get("task") or next(iter(values.get("architectures") or [""]))),
        f"{parameters / 1e6:.1f} M",
        f"{size / 1e6:.1f} MB",
        titles[0].removeprefix("# ") if titles else "",
    )
