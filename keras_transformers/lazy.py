"""A package's names, loaded when they are first used, so that importing it imports nothing heavy."""

import importlib
import sys


def names(package, modules, *others):
    """The `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: its `__name__`.
        modules: the names that each of its modules gives, a tuple; () for a module that is a name itself.
        others: names that are there already.

    Example:
        >>> __getattr__, __dir__, __all__ = names(__name__, {"losses": ("token_cross_entropy",), "schedules": ()})
    """
    homes = {name: module for module, given in modules.items() for name in given or (module,)}
    every = sorted((*homes, *others))

    def load(name):
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}. It has: {', '.join(every)}.")
        value = importlib.import_module(f"{package}.{homes[name]}")
        if modules[homes[name]]:
            value = getattr(value, name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: every, every
