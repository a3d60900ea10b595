"""What was done to a model since its configuration described it, for files to say: plain JSON, there and back."""


def _transforms():
    """The modules, in the order in which they are done again; they import what imports this one."""
    from keras_transformers.transforms import lora, quantization

    return {"quantization": quantization, "lora": lora}


def describe(model):
    """What was done to a model, by the transform's name; an empty dictionary for nothing."""
    described = {name: transform.describe(model) for name, transform in _transforms().items()}
    return {name: each for name, each in described.items() if each is not None}


def in_config(model):
    """The same as a part of what a model's `get_config` returns, and the paths of its layers that are frozen."""
    described, frozen = describe(model), _frozen(model)
    return {**({"transforms": described} if described else {}), **({"frozen": frozen} if frozen else {})}


def from_config(config, make):
    """The inverse: `make`, called with the rest of a configuration, and what was done to the model done again."""
    rest = {name: value for name, value in config.items() if name not in ("transforms", "frozen")}
    model = make(rest)
    restore(model, config.get("transforms", {}))
    frozen = set(config.get("frozen", ()))
    for layer in model._flatten_layers(include_self=True):
        if _path(layer, model) in frozen:
            layer.trainable = False
    return model


def _path(layer, model):
    return "" if layer is model else layer.path or layer.name


def _frozen(model):
    """The paths of layers that are not trainable, without the layers inside of those; "" is the model itself."""

    def walk(layer):
        if not layer.trainable:
            yield _path(layer, model)
        else:
            for inner in layer._layers:
                yield from walk(inner)

    return sorted(set(walk(model)))


def restore(model, described):
    """Do to a model what `describe` told, so that the weights of the one have a place in the other.

    Raises:
        ValueError: for transforms that are not known.
    """
    transforms = _transforms()
    unknown = sorted(set(described) - set(transforms))
    if unknown:
        raise ValueError(f"Expected transforms among {', '.join(transforms)}, got {', '.join(unknown)}.")
    for name, transform in transforms.items():
        if name in described:
            transform.restore(model, described[name])
