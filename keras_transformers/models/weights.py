"""Weights straight into a model's variables, with no random initialisation before."""

import typing
from collections.abc import Callable, Collection, Mapping

import keras

from keras_transformers.spelling import did_you_mean

try:
    from keras.src.backend.common import global_state
except ImportError:  # a Keras that keeps it elsewhere: build with random weights, then load over them
    global_state = None


_WAITING = "uninitialized_variables"  # of Keras's global state
_EMPTY = "_made_empty"  # of a model: its share of those
# How the names of a backbone's weights begin.
BODY = ("embedding", "decoder_embedding", "encoder", "decoder")


def is_head(name: str) -> bool:
    """Whether a weight is a head's, and not the backbone's."""
    return name.split(".")[0] not in BODY


def build_empty(make: Callable[[], typing.Any]) -> typing.Any:
    """The model that `make()` builds, its variables without values; `assign` must follow.

    Building and then loading a model of 108 million parameters takes 5 to 30 times as long.
    """
    if global_state is None:
        return make()
    # Keras gives values to all that wait in this list when a scope ends: also to those of a model that was refused.
    waiting = list(global_state.get_global_attribute(_WAITING) or [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = make()
        made = global_state.get_global_attribute(_WAITING) or []
        object.__setattr__(model, _EMPTY, made[len(waiting) :])  # past Keras's attribute tracking
        return model
    finally:
        global_state.set_global_attribute(_WAITING, waiting)


def named_weights(model: keras.layers.Layer) -> dict[str, keras.Variable]:
    """The model's weights by their names in files, `encoder.block_0.self_attention.query.kernel`; random state is no
    weight."""
    weights = {}
    for weight in model.weights:
        name = weight.path.replace("/", ".")
        if "seed_generator" in name:
            continue
        if name in weights:
            raise ValueError(f"Expected one weight of each name in {type(model).__name__}, got two of {name!r}.")
        weights[name] = weight
    return weights


def assign(model: keras.Model, tensors: Mapping[str, typing.Any], source: object, new: Collection[str] = ()) -> None:
    """Fill every weight of `model` from `tensors`, one at a time, cast to the dtype that the weight has.

    Args:
        model: as `build_empty` returns it, or one that has values.
        tensors: a mapping of names to arrays; one with a method `shape(name)` is not read to compare shapes.
        source: where they come from, for the message.
        new: names of weights that may be missing, and then begin as the model's layers say.

    Raises:
        ValueError: listing all that is missing, unknown, or of another shape or kind of number, with the nearest names.
            The model is untouched then.
    """
    weights = named_weights(model)
    shape_of = getattr(tensors, "shape", lambda name: tensors[name].shape)
    dtype_of = getattr(tensors, "dtype", lambda name: None)
    problems = []
    for name, weight in weights.items():
        if name not in tensors:
            if name in new:
                continue
            problems.append(f"missing {name} {list(weight.shape)}{did_you_mean(name, set(tensors) - set(weights))}")
        elif tuple(shape_of(name)) != tuple(weight.shape):
            problems.append(f"{name}: expected shape {list(weight.shape)}, got {list(shape_of(name))}")
        elif not _is_kind(dtype := dtype_of(name), weight.dtype):
            problems.append(f"{name}: expected {_kind(weight.dtype)}, got {dtype}")
    problems += [f"unknown {name} {list(shape_of(name))}" for name in tensors if name not in weights]
    if problems:
        shown = "\n  ".join(problems[:20])
        more = f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ValueError(
            f"The weights in {source} do not fit the model that its configuration describes:\n  {shown}{more}"
        )
    for name, weight in weights.items():
        if name in tensors:
            fill(weight, tensors[name])
    _finish(model)


def unused_tensors(tensors: typing.Any) -> list[str]:
    """The names of tensors of other heads, or outside of any, in what a checkpoint's `read` returned."""
    return [*getattr(tensors, "heads", ()), *getattr(tensors, "outside", ())]


_FLOATS = {"F16", "F32", "F64", "BF16", "float16", "float32", "float64", "bfloat16"}
_INTEGERS = {"I8", "U8", "int8", "uint8"}


def _is_kind(dtype: str | None, wanted: str) -> bool:
    """Whether a file's dtype is of the kind of a weight's: floating-point, or what quantized weights are kept in."""
    return dtype is None or dtype in (_INTEGERS if "int" in wanted else _FLOATS)


def _kind(dtype: str) -> str:
    return "8-bit integers" if "int" in dtype else "floating-point numbers"


def fill(weight: keras.Variable, array: typing.Any) -> None:
    """Give a weight its value, cast to its dtype, whether it has one or was built empty."""
    if weight._value is not None or global_state is None:
        weight.assign(array)
        return
    weight._initialize(weight._convert_to_tensor(array, dtype=weight._dtype))
    weight._initializer = None


def _finish(model: keras.Model) -> None:
    """Give values to what no file holds: heads that begin anew, metrics, and the state of random generators."""
    if global_state is None:
        return
    for variable in getattr(model, _EMPTY, ()):
        if variable._value is None:
            variable._deferred_initialize()
    object.__setattr__(model, _EMPTY, [])
