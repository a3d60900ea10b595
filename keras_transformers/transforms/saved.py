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
    """The same as a part of what a model's `get_config` returns."""
    described = describe(model)
    return {"transforms": described} if described else {}


def from_config(config, make):
    """The inverse: `make`, called with the rest of a configuration, and what was done to the model done again."""
    rest = {name: value for name, value in config.items() if name != "transforms"}
    model = make(rest)
    restore(model, config.get("transforms", {}))
    return model


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
