"""The site of the documentation: its pages build strictly, name all that is public, and the pages of tasks run."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

import keras_transformers as kt
from tests import pages

pytestmark = pytest.mark.one_backend("torch")

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
TASKS = sorted(path.name for path in (DOCS / "tasks").glob("*.md"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", TASKS)
def test_a_page_of_a_task_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages.run(DOCS / "tasks" / page)


def test_every_task_has_a_page():
    listed = (DOCS / "tasks" / "README.md").read_text("utf-8")
    assert [page for page in TASKS if page != "README.md" and f"({page})" not in listed] == []
    tasks = {
        name for name in dir(kt) if isinstance(getattr(kt, name), type) and issubclass(getattr(kt, name), kt.tasks.Task)
    }
    assert [name for name in tasks if f"`{name}`" not in listed] == []


def test_the_site_builds_strictly(tmp_path):
    """Links, anchors and the navigation; the reference, which takes longer, is part of `make docs`."""
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings_handlers.python")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "DOCS_REFERENCE": "false", "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = {page.stem: page.read_text("utf-8") for page in (tmp_path / "site" / "reference").glob("*.html")}
    for room in ("layers", "models", "generation", "tokenizers", "training", "transforms", "data", "tasks", "losses"):
        names = dir(getattr(kt, room))
        assert [name for name in names if f".{name}" not in reference[room]] == [], room
    assert [name for name in dir(kt) if name[0].isupper() and name not in reference["top"]] == []
    table = (tmp_path / "site" / "presets.html").read_text("utf-8")
    assert re.search(r"english-french.*Seq2SeqLM", table, re.DOTALL)


def test_transformers_has_lost_what_the_readme_says():
    transformers = pytest.importorskip("transformers", minversion="5")
    from transformers.pipelines import SUPPORTED_TASKS

    lost = {"translation", "summarization", "question-answering", "text2text-generation"}
    assert lost.isdisjoint(SUPPORTED_TASKS) and not hasattr(transformers, "TFAutoModel")
