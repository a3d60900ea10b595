"""An interactive page of attention: one HTML file without dependencies, with all kinds, layers and heads."""

import base64
import html
import json
import os
import pathlib
import typing

import numpy as np

from keras_transformers.tasks.attention_reading import Matrices

_TEMPLATE = pathlib.Path(__file__).with_suffix(".html")


class AttentionPage:
    """A page of attention, as a string of HTML in `html`, which notebooks show."""

    def __init__(self, page: str) -> None:
        self.html = page

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{html.escape(self.html)}" style="width:100%;height:760px;border:0"></iframe>'


def make_page(
    found: dict[str, Matrices],
    layer: int | str,
    head: int | str | None,
    title: str,
    path: str | os.PathLike[str],
) -> AttentionPage:
    """Write the page to `path`, and the folders above it.

    Args:
        found: the attention of each kind.
        layer, head: the matrix that the page begins with; "all" for the sheet, and None for the mean of all heads.
        title: the title, a plain text.
        path: the file to write.
    """
    kinds = [
        {
            "title": matrices.title,
            "names": [matrices.query_name, matrices.key_name],
            "queries": matrices.queries,
            "keys": matrices.keys,
            "layers": [{"heads": len(scores), "scores": _packed(scores)} for scores in matrices.layers],
        }
        for matrices in found.values()
    ]
    sheet = "all" in (layer, head)
    begin = {"layer": layer if isinstance(layer, int) else 0, "head": head if isinstance(head, int) else -1}
    data = json.dumps({"kinds": kinds, "begin": begin, "sheet": sheet}).replace("<", "\\u003c")
    page = _TEMPLATE.read_text(encoding="utf-8").replace("{{title}}", html.escape(title)).replace("{{data}}", data)
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    return AttentionPage(page)


def _packed(scores: typing.Any) -> str:
    """Scores from 0 to 1 as 16-bit numbers, little-endian, in base64."""
    return base64.b64encode(np.round(scores * 65535).clip(0, 65535).astype("<u2").tobytes()).decode("ascii")
