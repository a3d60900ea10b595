"""Quantization: weights of eight or four bits by Keras's quantized layers, and their description in files.

    int8   one scale for each output of a matrix, for each row of a table        a quarter of float32
    int4   a scale and a zero point for each `block_size` inputs of an output    about an eighth

Weights are dequantized for each use, and activations stay float. With `activations`, the inputs of each product are
rounded to eight bits too: a processor then multiplies whole numbers, which is faster than float32.
"""

import collections
import gc
import typing
from collections.abc import Iterable

import keras
import numpy as np

from keras_transformers.models.changes import problem_of_groups
from keras_transformers.models.weights import fill
from keras_transformers.spelling import spelled
from keras_transformers.transforms.grids import Grid
from keras_transformers.transforms.sublayers import ADAPTER, ROUTER, label_weights, named_sublayers, uncompile

MODES = ("int8", "int4")
RULES = ("int8", "marian")  # of quantization-aware training
_KINDS = (keras.layers.Dense, keras.layers.Embedding, keras.layers.ReversibleEmbedding)


@spelled
def quantize(model: keras.Model, mode: str = "int8", *, activations: bool = False, block_size: int | None = 32) -> None:
    """Quantize a model's matrices and tables in place.

    The body and the vocabulary head are quantized. Norms, biases, heads of labels, LoRA adapters, experts and their
    routers are not. Quantized weights do not train; for fine-tuning, `add_lora` adds weights that do. The model can be
    saved as a preset of this library or as a `.keras` file. Compile it again.

    Args:
        model: a task or a `Backbone` with float weights.
        mode: "int8" or "int4".
        activations: whether "int8" rounds the inputs of each product to eight bits too, while the model computes. It
            generates and predicts faster, and is slightly less exact. A model that rounds them does not train:
            `add_lora` makes it stop.
        block_size: for "int4", the number of inputs of an output that share a scale; None for all of them.

    Raises:
        ValueError: for another mode, a model that is quantized already, and activations that cannot be rounded.
        ImportError: if Keras is older than 3.13.

    Example:
        >>> kt.transforms.quantize(model, "int8")
        >>> model.save_to_preset("smaller")
    """
    if mode not in MODES:
        raise ValueError(f"Expected mode to be one of {', '.join(MODES)}, got {mode!r}.")
    adapted = any(layer.name in ADAPTER for layer in model._flatten_layers())
    if activations and (adapted or mode != "int8"):
        raise ValueError(
            f"Expected mode='int8' and a model without adapters with activations=True, got {mode!r}"
            f"{' and adapters' if adapted else ''}. Leave activations out."
        )
    config = _config(mode, activations, block_size)
    layers = _quantizable(model)
    done = [name for name, layer in layers.items() if layer.quantization_mode]
    if done:
        raise ValueError(f"Expected a model with float weights, got quantized ones in {', '.join(sorted(done)[:3])}.")
    _quantize(layers.values(), config)
    uncompile(model)


def keep_inputs(model: keras.Model) -> None:
    """Make a model's int8 layers multiply with inputs as they are, so that gradients pass."""
    for layer in rounding_layers(model):
        layer.inputs_quantizer = None
        if getattr(layer, "quantization_config", None) is not None:
            layer.quantization_config.activation_quantizer = None


def rounding_layers(model: keras.Model) -> list[typing.Any]:
    """The quantized layers that round their inputs."""
    layers = named_sublayers(model, *_KINDS).values()
    return [layer for layer in layers if layer.quantization_mode and getattr(layer, "inputs_quantizer", None)]


def check_trains(model: keras.Model) -> None:
    """Refuse to train a model that rounds inputs.

    Raises:
        ValueError: with the ways on.
    """
    if rounding_layers(model):
        raise ValueError(
            "Expected a model whose int8 products take inputs as they are, got one that rounds them: no gradient "
            "passes a rounding. Quantize with activations=False, or add adapters with kt.transforms.add_lora."
        )


def grids(model: keras.Model, rule: str | None) -> dict[int, Grid]:
    """The grids of the trainable weights that `quantize` would quantize, by `id(variable)`.

    Args:
        model: a task.
        rule: "int8", the rule of `quantize`: one scale for each output or row; "marian", that of
            `Seq2SeqLM.export_marian`: one scale for each matrix; None for no grids.

    Raises:
        ValueError: for another rule, and for a model without weights to quantize.
    """
    if rule is None:
        return {}
    if rule not in RULES:
        raise ValueError(f"Expected quantization_aware to be one of {', '.join(RULES)}, or None, got {rule!r}.")
    found = {}
    for layer in _quantizable(model).values():
        if layer.quantization_mode:
            continue
        is_table = type(layer) is not keras.layers.Dense
        weight = layer.embeddings if is_table else layer.kernel
        axis = None if rule == "marian" else -1 if is_table else 0
        if weight.trainable:
            found[id(weight)] = Grid(axis, 0.0 if rule == "marian" else keras.config.epsilon())
    if not found:
        raise ValueError(
            f"Expected trainable matrices for quantization_aware={rule!r}, got none: all are frozen, or quantized "
            "already."
        )
    return found


def _quantizable(model: keras.Model) -> dict[str, typing.Any]:
    """The layers that `quantize` quantizes, by name."""
    kept = {name.rpartition(".")[0] for name in label_weights(model)}
    layers = {name: layer for name, layer in named_sublayers(model, *_KINDS).items() if name not in kept}
    return {name: layer for name, layer in layers.items() if not name.endswith(f".{ROUTER}")}


def _config(mode: str, activations: bool, block_size: int | None) -> typing.Any:
    options: dict[str, int | None] = {} if activations else {"activation_quantizer": None}
    if mode == "int4":
        options["block_size"] = block_size
    try:
        return getattr(keras.quantizers, f"{mode.capitalize()}QuantizationConfig")(**options)
    except AttributeError:
        raise ImportError(f"Expected Keras 3.13 or later for quantized weights, got {keras.__version__}.") from None


def _quantize(layers: Iterable[keras.layers.Layer], config: typing.Any) -> None:
    # Keras collects garbage after each matrix that it frees; frozen objects are skipped, which saves time.
    gc.freeze()
    try:
        for layer in layers:
            layer.quantize(config.mode, config=config)
    finally:
        gc.unfreeze()


# Quantized weights in `.keras` files and in presets of this library.


def describe(model: keras.Model) -> list[dict[str, typing.Any]] | None:
    """Describe a model's quantized layers for `restore`, as plain JSON; None if no layer is quantized.

    Raises:
        ValueError: for modes of Keras that this library does not save.
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
            _config(mode, True, None)  # raises an error on an older Keras
        alike[mode, config.activation_quantizer is not None, getattr(config, "block_size", None)].append(name)
    return [
        {"mode": mode, "activations": activations, "block_size": block_size, "layers": names}
        for (mode, activations, block_size), names in alike.items()
    ] or None


def problem_of(described: typing.Any) -> str | None:
    """Return the problem of a description that should be from `describe`; None if it is valid."""
    return problem_of_groups(
        described,
        {
            "mode": lambda mode: mode in list(MODES),
            "activations": lambda value: isinstance(value, bool),
            "block_size": lambda size: size is None or type(size) is int and 1 <= size < 2**31,
        },
    )


def restore(model: keras.Model, described: list[dict[str, typing.Any]]) -> None:
    """Quantize the layers that `describe` described, without values. Layers that the model lacks are skipped."""
    layers = named_sublayers(model, *_KINDS)
    for each in described:
        there = [layers[name] for name in each["layers"] if name in layers]
        for layer in there:
            for weight in layer.weights:
                if weight._value is None:  # in a model that is built without values
                    fill(weight, np.zeros(weight.shape, "float32"))
        _quantize(there, _config(each["mode"], each["activations"], each["block_size"]))
    uncompile(model)
