"""The rooms of the package and the arrows between them: every import goes down, and no imports make a circle."""

import ast
import graphlib
import pathlib

import pytest

pytestmark = pytest.mark.one_backend

PACKAGE = pathlib.Path(__file__).resolve().parents[1] / "keras_transformers"
# Each room imports from those to its left alone; "" stands for the modules beside the rooms.
ROOMS = ("", "files", "backends", "layers", "models", "generation", "families", "transforms", "data", "tokenizers")
ROOMS += ("formats", "training", "tasks", "apps")
# Modules beside the rooms that are more than vocabulary: what they may import besides each other.
BESIDE = {"records": {"files"}, "__main__": {"apps"}}


def imports():
    """Pairs of modules, importing and imported, by their paths below the package: ("layers.stack", "layers.blocks")."""
    paths = {path.relative_to(PACKAGE).with_suffix("").parts: path for path in PACKAGE.rglob("*.py")}
    modules = {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for parts, path in paths.items()}
    for module, path in sorted(modules.items()):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{module} imports by a relative name"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                head, _, below = name.partition(".")
                if head == PACKAGE.name:
                    yield module, below if below in modules else below.rpartition(".")[0]


def room(module):
    head = module.partition(".")[0]
    return head if (PACKAGE / head).is_dir() else ""


def test_every_import_goes_down():
    up = []
    for module, imported in imports():
        own, other = room(module), room(imported)
        allowed = ROOMS[: ROOMS.index(own) + 1] if own else {"", *BESIDE.get(module, ())}
        if other not in allowed:
            up.append(f"{module} → {imported}")
    assert not up


def test_no_imports_make_a_circle():
    graph = {}
    for module, imported in imports():
        graph.setdefault(module, set()).add(imported)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, naming the circle


def test_every_folder_is_a_room():
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert folders <= set(ROOMS), "name new rooms in ROOMS, in the order of their imports"
