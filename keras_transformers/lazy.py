"""A package's names, loaded when they are first used, so that importing it imports nothing heavy."""

import importlib
import sys

from keras_transformers.spelling import missing_name


def names(package, modules, *others):
    """The `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: its `__name__`.
        modules: the names that each module gives, a tuple; () for a module that is itself given, by its last name. A
            module beside the package, instead of in it, begins with a dot.
        others: names that are there already.

    Example:
        >>> __getattr__, __dir__, __all__ = names(__name__, {"losses": ("token_cross_entropy",), "schedules": ()})
    """
    homes = {name: module for module, given in modules.items() for name in given or (module.rpartition(".")[2],)}
    every = sorted((*homes, *others))

    def load(name):
        if name not in homes:
            raise missing_name(package, name, every)
        value = importlib.import_module(f".{homes[name]}", package)
        if modules[homes[name]]:
            value = getattr(value, name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: every, every


def refusal(package, every):
    """The `__getattr__` of a package whose names are all loaded, a sequence: it says which are near."""

    def load(name):
        raise missing_name(package, name, sorted(every))

    return load
