"""Whole runs, from files to a preset: what is in one YAML file, in one call."""

import importlib

_modules = {
    "settings": ("TranslationRun", "read_run", "run_yaml"),
    "translation": ("Trained", "train_translation"),
}
_home = {name: module for module, names in _modules.items() for name in names}
__all__ = sorted(_home)


def __getattr__(name):
    if name in _home:
        return getattr(importlib.import_module(f"{__name__}.{_home[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}. It has: {', '.join(__all__)}.")


def __dir__():
    return __all__
