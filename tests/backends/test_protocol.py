"""Every backend gives the functions of the protocol, and nobody outside of `backends/` asks which one runs."""

import ast
import pathlib

import pytest

import keras_transformers

PACKAGE = pathlib.Path(keras_transformers.__file__).parent
BACKENDS = PACKAGE / "backends"

pytestmark = pytest.mark.one_backend


def defined(path):
    """The public functions, classes and values of a module, by name: the arguments of functions, else None."""
    names = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names[node.name] = [each.arg for each in (*node.args.args, *node.args.kwonlyargs)]
        elif isinstance(node, ast.ClassDef):
            names[node.name] = None
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                names |= {each.id: None for each in ast.walk(target) if isinstance(each, ast.Name)}
    return {name: arguments for name, arguments in names.items() if not name.startswith("_")}


@pytest.mark.parametrize("concern", sorted(path.stem for path in (BACKENDS / "default").glob("[!_]*.py")))
def test_each_backend_gives_the_functions_of_the_protocol(concern):
    protocol = defined(BACKENDS / "default" / f"{concern}.py")
    for path in BACKENDS.glob(f"*/{concern}.py"):
        own = defined(path)
        unknown = own.keys() - protocol.keys()
        assert not unknown, f"{path}: {unknown} are not in the protocol"
        for name, arguments in own.items():
            if arguments is not None and protocol[name] is not None:
                assert arguments == protocol[name][: len(arguments)], f"{path}: {name}"


FRAMEWORKS = {"jax", "tensorflow", "torch"}
# TensorFlow's graphs that compute tokens, and the files that PyTorch writes, exist on every backend.
ABOUT_ONE = ("tokenizers/in_graph/", "tasks/in_graph/", "formats/tensor_files.py")


def frameworks(tree):
    """The frameworks that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_nobody_else_asks_which_backend_runs():
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("backends/"):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        called = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        asked = [each for each in called if each.endswith(("backend.backend", "config.backend"))]
        assert not asked, f"{name} asks which backend runs: name the reason in `backends/`"
        imported = FRAMEWORKS.intersection(frameworks(tree)) if not name.startswith(ABOUT_ONE) else None
        assert not imported, f"{name} imports {imported}"


@pytest.mark.parametrize("backend", sorted(FRAMEWORKS))
def test_a_backend_imports_its_own_framework_and_no_other(backend):
    for path in (BACKENDS / backend).glob("*.py"):
        imported = FRAMEWORKS.intersection(frameworks(ast.parse(path.read_text("utf-8"))))
        assert imported <= {backend}, path
    for path in (BACKENDS / "default").glob("*.py"):
        assert not FRAMEWORKS.intersection(frameworks(ast.parse(path.read_text("utf-8")))), path
