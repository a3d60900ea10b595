"""The sublayers of a built model: finding them by name, and replacing them.

A layer's name is the start of its weights' names in files: `encoder.block_0.self_attention.query`.
"""

import typing
from collections.abc import Iterable

import keras

from keras_transformers.families import naming
from keras_transformers.families.family import Family, Head
from keras_transformers.families.weight_map import WeightMap
from keras_transformers.generation import executors
from keras_transformers.models.weights import is_head, named_weights

ADAPTER = ("lora_A", "lora_B")  # the layers of an adapter
ROUTER = "router"  # the layer that chooses experts: small, and a slight error would choose another expert


def named_sublayers(model: keras.Model, *kinds: type) -> dict[str, typing.Any]:
    """Return the built sublayers of exactly these classes (not subclasses), by name, without those of adapters."""
    found = [layer for layer in model._flatten_layers(include_self=False) if type(layer) in kinds]
    return {name_of(layer): layer for layer in found if layer.name not in ADAPTER}


def name_of(layer: keras.layers.Layer) -> str:
    """Return a built layer's name in files."""
    return layer.path.replace("/", ".")


def naming_of(model: keras.Model) -> tuple[Family, Head] | None:
    """Return the family that describes a task or a `Backbone`, and the family's `Head` for it; None if missing."""
    task = "TextEmbedder" if type(model).__name__ == "Backbone" else model._checkpoint_task()
    return naming.naming_of(model.config, task, getattr(model, "origin", None))


def label_weights(model: keras.Model) -> list[str]:
    """Return the names of the weights of a head of labels: not in a checkpoint of the body, and no vocabulary head."""
    heads = {name: weight for name, weight in named_weights(model).items() if is_head(name)}
    weights = {name: weight for name, weight in heads.items() if name.partition(".")[0] != "head"}
    naming = naming_of(model)
    return list(weights if naming is None else WeightMap(naming[1].entries).places(weights))


def replace(model: keras.Model, replacements: Iterable[tuple[keras.layers.Layer, keras.layers.Layer]]) -> None:
    """Replace sublayers of a model.

    Args:
        model: a built model.
        replacements: pairs of an old sublayer and its replacement. Every attribute that holds the old sublayer gets the
            new one.
    """
    places = {id(old): new for old, new in replacements}
    for parent in list(model._flatten_layers()):
        for old in list(parent._layers):
            new = places.get(id(old))
            if new is None:
                continue
            parent._tracker.replace_tracked_value("layers", old, new)
            attributes = {**vars(parent), **getattr(parent, "_modules", {})}  # on PyTorch a layer is a module
            for name in [name for name, value in attributes.items() if value is old]:
                setattr(parent, name, new)


def uncompile(model: keras.Model) -> None:
    """Drop a model's compiled functions and its optimizer, so that `compile` must be called again."""
    for layer in model._flatten_layers():
        getattr(layer, "_modules", {}).pop("_torch_params", None)  # PyTorch's parameters: collected again on access
    if isinstance(model, keras.Model):
        executors.forget(model)
        model.train_function = model.test_function = model.predict_function = None
        model.compiled, model.optimizer = False, None
