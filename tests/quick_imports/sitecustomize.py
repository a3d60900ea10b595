"""Keras is imported in two thirds of the time, for the tests alone: some thirty processes of them import it.

If scikit-learn, pandas, Matplotlib or JAX is installed, Keras imports it for wrappers, pictures and checkpoints of its
own that this library does not use. Here it finds them missing while it is imported. Later imports find them.

Python runs a module of this name when it starts, if the folder is on its path (see `tests/conftest.py`).
"""

import importlib.machinery
import os
import sys

_HIDDEN = ("sklearn", "pandas", "matplotlib", "jax")


class _KerasAlone(importlib.machinery.PathFinder):
    """Finds Keras alone, for a loader that hides packages from it."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        spec = super().find_spec(fullname, path, target) if fullname == "keras" else None
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module
            spec.loader.exec_module = lambda module: _without(run, module)
        return spec


def _without(run, module):
    kept = os.environ.get("KERAS_BACKEND", "")
    hidden = [name for name in _HIDDEN if name not in sys.modules and name != kept]
    sys.modules.update(dict.fromkeys(hidden))  # an import of what is None there is an error
    try:
        run(module)
    finally:
        for name in hidden:
            del sys.modules[name]


sys.meta_path.insert(0, _KerasAlone)
