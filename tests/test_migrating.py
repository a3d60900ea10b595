"""Pages for users of other libraries: each name of ours in their tables exists. Notebooks hold each block."""

import functools
import inspect
import pathlib
import re

import pytest

import keras_transformers as kt
from tests import pages

pytestmark = pytest.mark.one_backend("torch")

DOCS = pathlib.Path(__file__).parents[1] / "docs"
ROWS = [
    (page.name, *(cell.strip() for cell in line.strip("|").split("|")))
    for page in sorted((DOCS / "migrating").glob("*.md"))
    for line in page.read_text("utf-8").splitlines()
    if line.startswith("| `")
]


def found(name, of):
    return functools.reduce(getattr, name.split(".")[1:], of)


@pytest.mark.parametrize("page", sorted({row[0] for row in ROWS}))
def test_every_name_of_ours_exists(page):
    for _, theirs, ours in (row for row in ROWS if row[0] == page):
        names = re.findall(r"`(kt\.[\w.]+)`", ours)
        assert names or "kt." not in ours, (theirs, ours)
        assert all(found(name, kt) is not None for name in names)
        keywords = re.findall(r"`(\w+)=?[^`]*`", ours.partition(" with ")[2])
        for keyword in keywords:
            known = {*kt.GenerationConfig.__dataclass_fields__, "task", "forced_words"}
            assert keyword in known, keyword


def test_every_key_of_a_configuration_is_one_of_ours():
    rows = [ours for page, _, ours in ROWS if page == "transformers.md" and "kt." not in ours]
    arguments = {*inspect.signature(kt.models.encoder).parameters, "token_ids", "padding_mask", "segment_ids"}
    names = [name for ours in rows for name in re.findall(r"`(\w+)`", ours)]
    assert len(names) >= 9 and set(names) <= arguments


@pytest.mark.slow
def test_every_name_of_theirs_exists():
    for library in ("keras_hub", "sentence_transformers"):
        module = pytest.importorskip(library)
        for _, theirs, _ in ROWS:
            for name in re.findall(rf"`({library}\.[\w.]+)`", theirs):
                assert found(name, module) is not None


def test_notebooks_hold_every_block_of_a_guide():
    jupytext = pytest.importorskip("jupytext")
    text = (DOCS / "guides" / "attention-from-the-ground-up.md").read_text("utf-8")
    cells = [cell.source for cell in jupytext.reads(text, "md").cells if cell.cell_type == "code"]
    assert cells == [code.rstrip("\n") for code, _ in pages.BLOCK.findall(text)]
