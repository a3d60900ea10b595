"""Functions that change a model which is there: adapters beside its weights (LoRA), and weights of fewer bits."""

import importlib

_modules = {
    "lora": ("add_lora", "load_lora", "merge_lora", "remove_lora", "save_lora"),
    "quantization": ("quantize",),
}
_home = {name: module for module, names in _modules.items() for name in names}
__all__ = sorted(_home)


def __getattr__(name):
    if name in _home:
        return getattr(importlib.import_module(f"{__name__}.{_home[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}. It has: {', '.join(__all__)}.")


def __dir__():
    return __all__
