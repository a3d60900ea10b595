"""Changes to a model that its configuration does not describe (LoRA, quantization), as plain JSON for files.

A transform is a module with three functions: `describe(model)`, `problem_of(described)`, `restore(model, described)`.
`registered.TRANSFORMS` names the modules. They load when the changes of a model or a file are needed.
"""

import importlib
import types
import typing
from collections.abc import Callable, Iterator, Mapping

import keras

from keras_transformers import registered
from keras_transformers.files.reading import shown


def problem_of_groups(groups: typing.Any, kinds: Mapping[str, Callable[[typing.Any], bool]]) -> str | None:
    """The problem with described groups of layers, in words; None without a problem.

    Args:
        groups: a list of dictionaries with `layers`, a list of distinct names, and the keys of `kinds`.
        kinds: for each key, a function that returns whether a value is valid.
    """
    if not isinstance(groups, (list, tuple)):
        return f"{shown(groups)} instead of groups of layers"
    seen = set()
    for group in groups:
        if not isinstance(group, dict) or set(group) != {"layers", *kinds}:
            return f"{shown(group)} instead of {', '.join([*kinds, 'layers'])}"
        layers = group["layers"]
        if not isinstance(layers, (list, tuple)) or not all(isinstance(name, str) for name in layers):
            return f"layers={shown(layers)}"
        if twice := [name for name in layers if name in seen] or len(set(layers)) < len(layers):
            return f"{twice[0] if isinstance(twice, list) else 'a layer'} twice"
        seen |= set(layers)
        for key, is_right in kinds.items():
            if not is_right(group[key]):
                return f"{key}={shown(group[key])}"
    return None


def _transforms() -> dict[str, types.ModuleType]:
    """The modules by name, in the order in which their changes are restored."""
    return {
        name: importlib.import_module(f"{registered.PACKAGE}.{module}")
        for name, module in registered.TRANSFORMS.items()
    }


def describe(model: keras.Model) -> dict[str, typing.Any]:
    """The changes to a model, by the name of the transform; an empty dictionary without changes."""
    described = {name: transform.describe(model) for name, transform in _transforms().items()}
    return {name: each for name, each in described.items() if each is not None}


def in_config(model: keras.Model) -> dict[str, typing.Any]:
    """The changes to a model and the paths of its frozen layers, as a part of the result of `get_config`."""
    described, frozen = describe(model), _frozen(model)
    return {**({"transforms": described} if described else {}), **({"frozen": frozen} if frozen else {})}


def from_config(config: Mapping[str, typing.Any], make: Callable[[dict[str, typing.Any]], typing.Any]) -> typing.Any:
    """The inverse of `in_config`: calls `make` with the rest of a configuration, and restores the changes."""
    rest = {name: value for name, value in config.items() if name not in ("transforms", "frozen")}
    model = make(rest)
    restore(model, config.get("transforms", {}))
    frozen = set(config.get("frozen", ()))
    for layer in model._flatten_layers(include_self=True):
        if _path(layer, model) in frozen:
            layer.trainable = False
    return model


def _path(layer: keras.layers.Layer, model: keras.Model) -> str:
    return "" if layer is model else layer.path or layer.name


def _frozen(model: keras.Model) -> list[str]:
    """The paths of the outermost layers that are not trainable; "" is the model itself."""

    def walk(layer: keras.layers.Layer) -> Iterator[str]:
        if not layer.trainable:
            yield _path(layer, model)
        else:
            for inner in layer._layers:
                yield from walk(inner)

    return sorted(set(walk(model)))


def restore(model: keras.Model, described: typing.Any) -> None:
    """Restore the changes that `describe` returned for another model, so that its weights fit this one.

    Raises:
        ValueError: for unknown transforms, and for values that `describe` cannot return.
    """
    transforms = _transforms()
    if not isinstance(described, dict):
        raise ValueError(f"Expected transforms by name, got {shown(described)}.")
    unknown = sorted(set(described) - set(transforms))
    if unknown:
        raise ValueError(f"Expected transforms among {', '.join(transforms)}, got {', '.join(unknown)}.")
    for name, transform in transforms.items():
        if name in described:
            problem = transform.problem_of(described[name])
            if problem is not None:
                raise ValueError(f"Expected the {name} of a model as this library saves it, got {problem}.")
            transform.restore(model, described[name])
