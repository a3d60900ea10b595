"""Loading weights directly into the variables of a model, without random initialisation first."""

import typing
from collections.abc import Callable, Collection, Mapping

import keras

from keras_transformers.spelling import did_you_mean

try:
    from keras.src.backend.common import global_state
except ImportError:  # another version of Keras: build with random weights, then load over them
    global_state = None


_WAITING = "uninitialized_variables"  # a name in the global state of Keras
_EMPTY = "_made_empty"  # an attribute of a model: its own uninitialized variables
# The first parts of the names of a backbone's weights.
BODY = ("embedding", "decoder_embedding", "encoder", "decoder")


def is_head(name: str) -> bool:
    """Whether a weight belongs to a head, not to the backbone."""
    return name.split(".")[0] not in BODY


def build_empty(make: Callable[[], typing.Any]) -> typing.Any:
    """The model from `make()`, with variables without values; call `assign` next.

    Building a model of 108 million parameters with values, then loading it, takes 5 to 30 times as long.
    """
    if global_state is None:
        return make()
    # At the end of a scope Keras initializes all variables in this list, even those of a model that was refused.
    waiting = list(global_state.get_global_attribute(_WAITING) or [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = make()
        made = global_state.get_global_attribute(_WAITING) or []
        object.__setattr__(model, _EMPTY, made[len(waiting) :])  # bypasses the attribute tracking of Keras
        return model
    finally:
        global_state.set_global_attribute(_WAITING, waiting)


def named_weights(model: keras.layers.Layer) -> dict[str, keras.Variable]:
    """The weights of a model by their names in files, such as `encoder.block_0.self_attention.query.kernel`, without
    the state of random generators."""
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
    """Fill every weight of `model` from `tensors`, one at a time, cast to the dtype of the weight.

    Args:
        model: a model from `build_empty`, or one with values.
        tensors: a mapping of names to arrays. If it has a method `shape(name)`, shapes are compared without reading.
        source: where the tensors come from, for error messages.
        new: names of weights that may be missing; these are initialized by the layers of the model.

    Raises:
        ValueError: for tensors that are missing, unknown, or of another shape or kind of dtype. The error lists all of
            them, with the nearest names, and the model stays unchanged.
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
    """The names of unused tensors in the result of a checkpoint's `read`: those of other heads, or outside of any."""
    return [*getattr(tensors, "heads", ()), *getattr(tensors, "outside", ())]


_FLOATS = {"F16", "F32", "F64", "BF16", "float16", "float32", "float64", "bfloat16"}
_INTEGERS = {"I8", "U8", "int8", "uint8"}


def _is_kind(dtype: str | None, wanted: str) -> bool:
    """Whether the dtype in a file is of the same kind as that of a weight: floating-point, or quantized."""
    return dtype is None or dtype in (_INTEGERS if "int" in wanted else _FLOATS)


def _kind(dtype: str) -> str:
    return "8-bit integers" if "int" in dtype else "floating-point numbers"


def fill(weight: keras.Variable, array: typing.Any) -> None:
    """Set the value of a weight, cast to its dtype. The weight may have a value already, or have been built empty."""
    if weight._value is not None or global_state is None:
        weight.assign(array)
        return
    weight._initialize(weight._convert_to_tensor(array, dtype=weight._dtype))
    weight._initializer = None


def _finish(model: keras.Model) -> None:
    """Initialize the variables that no file holds: new heads, metrics, and the state of random generators."""
    if global_state is None:
        return
    for variable in getattr(model, _EMPTY, ()):
        if variable._value is None:
            variable._deferred_initialize()
    object.__setattr__(model, _EMPTY, [])
