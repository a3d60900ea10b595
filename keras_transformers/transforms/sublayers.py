"""The sublayers of a built model: found by name, and put in the place of one another.

A layer's name is the beginning of its weights' names in files: `encoder.block_0.self_attention.query`.
"""

import keras

from keras_transformers.families import naming
from keras_transformers.families.weight_map import WeightMap
from keras_transformers.generation import executors
from keras_transformers.models.weights import is_head, named_weights

ADAPTER = ("lora_A", "lora_B")  # the layers that an adapter is made of
ROUTER = "router"  # the layer that chooses experts: small, and no other choice is nearly the same


def named_sublayers(model, *kinds):
    """The built sublayers of these classes by name, but those of adapters. Subclasses are other classes."""
    found = [layer for layer in model._flatten_layers(include_self=False) if type(layer) in kinds]
    return {name_of(layer): layer for layer in found if layer.name not in ADAPTER}


def name_of(layer):
    """A built layer's name in files."""
    return layer.path.replace("/", ".")


def naming_of(model):
    """The family that describes a task or a `Backbone`, and its `Head` there; None where there is none."""
    task = type(model).__name__
    return naming.naming_of(
        model.config, "TextEmbedder" if task == "Backbone" else task, getattr(model, "origin", None)
    )


def label_weights(model):
    """The names of the weights of a head that is not in a checkpoint of the body alone, and scores no vocabulary."""
    heads = {name: weight for name, weight in named_weights(model).items() if is_head(name)}
    weights = {name: weight for name, weight in heads.items() if name.partition(".")[0] != "head"}
    naming = naming_of(model)
    return list(weights if naming is None else WeightMap(naming[1].entries).places(weights))


def replace(model, replacements):
    """Put layers in the place of others.

    Args:
        model: a built model.
        replacements: pairs of a sublayer of it and what is to stand there. Every attribute that holds the one holds the
            other afterwards.
    """
    replacements = {id(old): new for old, new in replacements}
    for parent in list(model._flatten_layers()):
        for old in list(parent._layers):
            new = replacements.get(id(old))
            if new is None:
                continue
            parent._tracker.replace_tracked_value("layers", old, new)
            attributes = {**vars(parent), **getattr(parent, "_modules", {})}  # on PyTorch a layer is a module
            for name in [name for name, value in attributes.items() if value is old]:
                setattr(parent, name, new)


def renew(model):
    """Forget all that was compiled for a model as it was, its optimizer too: `compile` is called anew."""
    for layer in model._flatten_layers():
        getattr(layer, "_modules", {}).pop("_torch_params", None)  # PyTorch's parameters: collected when asked for
    if isinstance(model, keras.Model):
        executors.forget(model)
        model.train_function = model.test_function = model.predict_function = None
        model.compiled, model.optimizer = False, None
