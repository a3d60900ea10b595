"""What was done to a model since its configuration described it, for files to say: plain JSON, there and back."""

from keras_transformers.transforms import lora, quantization

# In the order in which they are done again.
_TRANSFORMS = {"quantization": quantization, "lora": lora}


def describe(model):
    """What was done to a model, by the transform's name; an empty dictionary for nothing."""
    described = {name: transform.describe(model) for name, transform in _TRANSFORMS.items()}
    return {name: each for name, each in described.items() if each is not None}


def restore(model, described):
    """Do to a model what `describe` told, so that the weights of the one have a place in the other.

    Raises:
        ValueError: for transforms that are not known.
    """
    unknown = sorted(set(described) - set(_TRANSFORMS))
    if unknown:
        raise ValueError(f"Expected transforms among {', '.join(_TRANSFORMS)}, got {', '.join(unknown)}.")
    for name, transform in _TRANSFORMS.items():
        if name in described:
            transform.restore(model, described[name])
