"""Weights of eight or four bits, by Keras's own quantized layers, and what a file says of them.

    int8   one scale for each output of a matrix, for each row of a table        a quarter of float32
    int4   a scale and a zero point for each `block_size` inputs of an output    about an eighth

Only weights are quantized: they are widened where they are used, and what flows between layers stays float. Keras's
default rounds that too, which costs accuracy and gains speed on no backend's CPU.
"""

import collections
import gc
import typing

import keras
import numpy as np

from keras_transformers.models.changes import problem_of_groups
from keras_transformers.models.weights import fill
from keras_transformers.spelling import spelled
from keras_transformers.transforms.sublayers import ROUTER, label_weights, named_sublayers, renew

MODES = ("int8", "int4")
_KINDS = (keras.layers.Dense, keras.layers.Embedding, keras.layers.ReversibleEmbedding)


@spelled
def quantize(model, mode="int8", *, block_size=32):
    """Store a model's matrices and tables in fewer bits, in place.

    The body is quantized, and what scores the vocabulary; norms, biases, heads of labels, LoRA adapters, experts and
    their routers stay as they are. Quantized weights do not train: `add_lora` gives the model some that do. The model
    is saved as a preset of this library, or as a `.keras` file. Compile it anew.

    Args:
        model: a task or a `Backbone` with float weights.
        mode: "int8" or "int4".
        block_size: with "int4", how many inputs of an output share a scale; None for all of them.

    Raises:
        ValueError: for another mode, and a model that is quantized already.
        ImportError: when Keras is older than 3.13.

    Example:
        >>> kt.transforms.quantize(model, "int8")
        >>> model.save_to_preset("smaller")
    """
    if mode not in MODES:
        raise ValueError(f"Expected mode to be one of {', '.join(MODES)}, got {mode!r}.")
    config = _config(mode, False, block_size)
    kept = {name.rpartition(".")[0] for name in label_weights(model)}
    layers = {name: layer for name, layer in named_sublayers(model, *_KINDS).items() if name not in kept}
    layers = {name: layer for name, layer in layers.items() if not name.endswith(f".{ROUTER}")}
    done = [name for name, layer in layers.items() if layer.quantization_mode]
    if done:
        raise ValueError(f"Expected a model with float weights, got quantized ones in {', '.join(sorted(done)[:3])}.")
    _quantize(layers.values(), config)
    renew(model)


def _config(mode, activations, block_size):
    options = {} if activations else {"activation_quantizer": None}
    if mode == "int4":
        options["block_size"] = block_size
    try:
        return getattr(keras.quantizers, f"{mode.capitalize()}QuantizationConfig")(**options)
    except AttributeError:
        raise ImportError(f"Expected Keras 3.13 or later for quantized weights, got {keras.__version__}.") from None


def _quantize(layers, config):
    # Keras collects garbage after each matrix that it frees: what is there already need not be looked through.
    gc.freeze()
    try:
        for layer in layers:
            layer.quantize(config.mode, config=config)
    finally:
        gc.unfreeze()


# What Keras's own files and presets of ours say of quantized weights.


def describe(model):
    """What `restore` needs to quantize the layers that are quantized in this model, plain JSON; None where none is.

    Raises:
        ValueError: for modes of Keras's that this library does not save.
    """
    alike = collections.defaultdict(list)
    for name, layer in named_sublayers(model, *_KINDS).items():
        mode = layer.quantization_mode
        config: typing.Any = getattr(layer, "quantization_config", None)
        if mode is None:
            continue
        if mode not in MODES:
            raise ValueError(f"Expected weights of {' or '.join(MODES)} to save, got {mode} in {name}.")
        if config is None:
            _config(mode, True, None)  # an older Keras, which says so
        alike[mode, config.activation_quantizer is not None, getattr(config, "block_size", None)].append(name)
    return [
        {"mode": mode, "activations": activations, "block_size": block_size, "layers": names}
        for (mode, activations, block_size), names in alike.items()
    ] or None


def problem_of(described):
    """What is wrong with what `describe` is to have told, in words; None for nothing."""
    return problem_of_groups(
        described,
        {
            "mode": lambda mode: mode in list(MODES),
            "activations": lambda value: isinstance(value, bool),
            "block_size": lambda size: size is None or type(size) is int and 1 <= size < 2**31,
        },
    )


def restore(model, described):
    """Quantized layers as `describe` told, what they hold to be loaded. Layers that the model has not are left out."""
    layers = named_sublayers(model, *_KINDS)
    for each in described:
        there = [layers[name] for name in each["layers"] if name in layers]
        for layer in there:
            for weight in layer.weights:
                if weight._value is None:  # of a model that is built empty
                    fill(weight, np.zeros(weight.shape, "float32"))
        _quantize(there, _config(each["mode"], each["activations"], each["block_size"]))
    renew(model)
