"""What all tests share: the backend, where data and published checkpoints lie, and which tests one backend is enough
for."""

import gc
import os
import pathlib
import re
import sys

import pytest

from tests import assets
from tests.forks import Forks
from tests.quick_building import build_quickly
from tests.quick_compilation import compile_quickly
from tests.quick_imports import sitecustomize

os.environ.setdefault("KERAS_BACKEND", "jax")
# This process, by the import above, and the programs that tests start.
_IMPORTS = os.path.dirname(sitecustomize.__file__)
os.environ["PYTHONPATH"] = os.pathsep.join([_IMPORTS, *filter(None, [os.environ.get("PYTHONPATH")])])
# Tests compile a lot and compute a little, so XLA spends half of the time on each compilation.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # the conformance suite compiles as users do
compile_quickly(os.environ["KERAS_BACKEND"])
# What one process has compiled, another reads, and so does the next run.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(assets.CACHE.with_name("jax")))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


BACKEND = os.environ["KERAS_BACKEND"]
_WHOLE_MODULE = re.compile(r"^pytestmark = \[?pytest\.mark\.one_backend(?:\(\"(\w+)\"\))?", re.MULTILINE)
_EACH_KERAS = "torch"  # where tests marked `each_keras` run: it compiles nothing


def pytest_ignore_collect(collection_path, config):
    """Do not even import a module whose tests are all left to another backend: many make models for their parameters.
    One that is named on the command line is imported."""
    if collection_path.suffix != ".py" or any(collection_path.name in argument for argument in config.args):
        return None
    marker = _WHOLE_MODULE.search(collection_path.read_text(encoding="utf-8"))
    left_out = marker and ((marker[1] or "jax") != BACKEND or "not one_backend" in config.option.markexpr)
    return True if left_out else None


def pytest_collection_modifyitems(config, items):
    """Leave the `one_backend` tests to the one backend that they name (JAX if they name none), and those marked
    `each_keras` to PyTorch."""
    kept, left_out = [], []
    for item in items:
        marker = item.get_closest_marker("one_backend")
        wanted = (marker.args[0] if marker.args else marker.kwargs.get("name", "jax")) if marker else BACKEND
        if marker is None and item.get_closest_marker("each_keras"):
            wanted = _EACH_KERAS
        (kept if wanted == BACKEND else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def pytest_collection_finish():
    """The tests build many small models: on PyTorch, which has most of them, with a Keras that does so quickly (other
    backends and the oldest Keras take Keras as it is); and without looking for garbage among the million objects of the
    libraries again and again, and seldom among the models that tests share."""
    if BACKEND == "torch" and "keras" in sys.modules and not os.environ.get("KERAS_AS_IT_IS"):
        build_quickly()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 20)


MEMORY = 3 << 30  # bytes that a process of tests may hold before JAX forgets what it compiled


@pytest.fixture(scope="module", autouse=True)
def _forget_what_was_compiled():
    """JAX keeps all that it compiles: gigabytes, over a whole run of the tests."""
    yield
    if BACKEND == "jax" and "jax" in sys.modules and _resident() > MEMORY:
        sys.modules["jax"].clear_caches()


def _resident():
    """The bytes of memory that this process holds; where it cannot be read, too many."""
    try:
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return MEMORY + 1
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="session")
def data_folder():
    """The folder of real data sets that KERAS_TRANSFORMERS_DATA names; a test that asks for it skips where there is
    none."""
    folder = os.environ.get("KERAS_TRANSFORMERS_DATA")
    if not folder:
        pytest.skip("KERAS_TRANSFORMERS_DATA names no folder of data sets")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def asset_folder():
    """Where a published checkpoint lies, by the name of its package in tests/assets.txt; skips where it was not
    fetched."""

    def find(name):
        folder = assets.folder(name)
        if not folder.is_dir():
            pytest.skip(f"{name} is not in the cache: run `make test-assets`")
        return folder

    return find


@pytest.fixture(scope="session")
def forks(tmp_path_factory):
    """Programs that begin where Keras and the command line are imported. For PyTorch: threads of JAX end in a fork."""
    started = Forks(tmp_path_factory.mktemp("forks"), "keras", "keras_transformers.apps.cli.app")
    yield started
    started.stop()
