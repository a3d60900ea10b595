"""Lazy loading of a package's names on first use, so that importing the package imports nothing heavy.

The names are listed in the package's stub, `__init__.pyi`, which editors and type checkers read too:

    from keras_transformers.tasks.seq2seq_lm import Seq2SeqLM as Seq2SeqLM       a name of a module
    from keras_transformers import layers as layers                              a module
"""

import ast
import collections.abc
import importlib
import pathlib
import sys
from typing import Any

from keras_transformers.spelling import missing_name


def names(
    package: str, *others: str
) -> tuple[collections.abc.Callable[[str], Any], collections.abc.Callable[[], list[str]], list[str]]:
    """Return the `__getattr__`, `__dir__` and `__all__` of a package with a stub.

    Args:
        package: the package's `__name__`.
        others: public names that the package defines itself.

    Example:
        >>> __getattr__, __dir__, __all__ = names(__name__)
    """
    homes = _homes(pathlib.Path(str(sys.modules[package].__file__)).with_suffix(".pyi"))
    every = sorted((*homes, *others))

    def load(name: str) -> Any:
        if name not in homes:
            raise missing_name(package, name, every)
        home = importlib.import_module(homes[name])
        value = vars(home)[name] if name in vars(home) else importlib.import_module(f"{homes[name]}.{name}")
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: every, every


def _homes(stub: pathlib.Path) -> dict[str, str]:
    """Return the module that each name of a stub comes from."""
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    return {
        alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
