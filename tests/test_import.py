"""What `import keras_transformers` loads, costs and chooses, each time in a new Python."""

import ast
import importlib
import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.one_backend

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Python runs a `sitecustomize` module when it starts: this one hides packages from every later import.
SITECUSTOMIZE = """
import importlib.machinery, os

def find_spec(name, path=None, target=None, find=importlib.machinery.PathFinder.find_spec):
    return None if name.partition(".")[0] in os.environ["HIDDEN"].split(",") else find(name, path, target)

importlib.machinery.PathFinder.find_spec = staticmethod(find_spec)
"""
BACKEND = "import keras_transformers, keras; print(keras.backend.backend())"
# The same without Keras, which takes seconds to import: the variable that it obeys.
WHICH = "import os, keras_transformers; print(os.environ.get('KERAS_BACKEND'))"


@pytest.fixture
def python(tmp_path):
    """A function that runs code in a new Python with an empty home, some packages hidden and KERAS_BACKEND unset."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KERAS")}
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

    def run(program, hidden="", **variables):
        environment = {**inherited, "HOME": str(tmp_path), "PYTHONPATH": path, "HIDDEN": hidden, **variables}
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        said = [line for line in done.stderr.splitlines() if line.startswith("keras_transformers:")]
        return done.stdout.strip(), said

    return run


def configure(tmp_path, text):
    (tmp_path / ".keras").mkdir(exist_ok=True)
    (tmp_path / ".keras" / "keras.json").write_text(text)


def chosen(backend, expected="tensorflow"):
    return [f"keras_transformers: KERAS_BACKEND is not set and {expected} is not installed: using {backend}."]


def test_an_installed_backend_is_chosen_where_keras_finds_no_tensorflow(python, tmp_path):
    assert python(BACKEND, hidden="tensorflow") == ("jax", chosen("jax"))
    # That very import has made Keras write down "tensorflow": the next one must not believe it.
    assert json.loads((tmp_path / ".keras" / "keras.json").read_text())["backend"] == "tensorflow"
    assert python(WHICH, hidden="tensorflow") == ("jax", chosen("jax"))


def test_torch_is_chosen_where_it_alone_is_installed(python, tmp_path):
    pytest.importorskip("torch")
    configure(tmp_path, json.dumps({"backend": "jax"}))
    assert python(WHICH, hidden="tensorflow,jax,jaxlib") == ("torch", chosen("torch", expected="jax"))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"backend": 3}', '{"backend": "a b"}', '{"floatx": "float32"}']
)
def test_a_configuration_that_names_no_backend_counts_as_none(python, tmp_path, text):
    configure(tmp_path, text)
    assert python(WHICH, hidden="tensorflow") == ("jax", chosen("jax"))


def test_a_configured_backend_that_is_installed_is_left_alone(python, tmp_path):
    configure(tmp_path, json.dumps({"backend": "jax"}))
    assert python(WHICH, hidden="tensorflow") == ("None", [])
    configure(tmp_path, json.dumps({"backend": "numpy"}))
    assert python(WHICH, hidden="tensorflow") == ("None", [])


def test_keras_home_is_where_the_configuration_is_read(python, tmp_path):
    configure(tmp_path, json.dumps({"backend": "jax"}))
    other = tmp_path / "other"
    other.mkdir()
    assert python(WHICH, hidden="tensorflow", KERAS_HOME=str(other)) == ("jax", chosen("jax"))
    assert python(WHICH, hidden="tensorflow", KERAS_HOME="~/.keras") == ("None", [])


def test_the_environment_and_an_imported_keras_have_the_last_word(python):
    assert python(WHICH, hidden="tensorflow", KERAS_BACKEND="torch") == ("torch", [])
    assert python("import sys; sys.modules['keras'] = sys; " + WHICH, hidden="tensorflow") == ("None", [])


def test_without_any_backend_the_import_works_and_keras_says_what_is_missing(python):
    assert python(WHICH, hidden="tensorflow,jax,torch") == ("None", [])


def test_a_folder_named_like_a_backend_is_no_backend(python, tmp_path):
    configure(tmp_path, json.dumps({"backend": "imagined"}))
    (tmp_path / "site" / "imagined").mkdir()
    assert python(WHICH, hidden="tensorflow") == ("jax", chosen("jax", expected="imagined"))


def test_the_import_loads_the_standard_library_alone_and_costs_little(python):
    program = """
import sys, time
before, begin = set(sys.modules), time.process_time()
import keras_transformers
spent = time.process_time() - begin
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(loaded - set(sys.stdlib_module_names)), spent)
"""
    loaded, spent = python(program)[0].rsplit(maxsplit=1)
    assert loaded == "['keras_transformers']"
    assert float(spent) < 0.15


def test_the_names_load_no_backend_that_keras_had_not_loaded(python):
    program = """
import sys
import keras
before = set(sys.modules)
import keras_transformers as kt
for name in kt.__all__:
    getattr(kt, name)
print({"jax", "tensorflow", "torch", "matplotlib", "sacrebleu", "typer"} & (set(sys.modules) - before) or None)
"""
    assert python(program, KERAS_BACKEND="jax") == ("None", [])


def test_an_unknown_name_is_refused():
    import keras_transformers as kt

    with pytest.raises(AttributeError, match="module 'keras_transformers' has no attribute 'Transformer'"):
        kt.Transformer  # noqa: B018
    assert "Seq2SeqLM" in dir(kt)


def test_an_editor_reads_each_name_off_a_stub():
    import keras_transformers as kt

    stubs = sorted((ROOT / "keras_transformers").rglob("__init__.pyi"))
    for stub in stubs:
        package = importlib.import_module(".".join(stub.parent.relative_to(ROOT).parts))
        imports = [node for node in ast.parse(stub.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)]
        for node in imports:
            for alias in node.names:
                home = importlib.import_module(node.module)
                # A module of the package with the name of a function would take the function's place.
                assert getattr(package, alias.name) is getattr(home, alias.name), (package.__name__, alias.name)
        assert {alias.name for node in imports for alias in node.names} == {*package.__all__} - {"__version__"}
    assert len(stubs) == 11 and kt.TextClassifier.__init__.__doc__ == kt.TextClassifier.__doc__
