"""The base of every layer here: it records its constructor arguments, so that one `get_config` serves them all."""

import functools
import inspect

import keras

from keras_transformers import memory
from keras_transformers.records import from_json, to_json

if keras.backend.backend() == "torch":
    memory.keep_what_is_freed()


class Layer(keras.layers.Layer):
    """A Keras layer whose configuration is the arguments it was made with.

    Subclasses write neither `get_config` nor `from_config`. An argument that has no place in JSON (an array of initial
    weights, say) is named in `_transient` and
    left out of the configuration: after saving, the weights carry it.
    """

    _transient: tuple[str, ...] = ()

    def __new__(cls, *args, **kwargs):
        layer = super().__new__(cls, *args, **kwargs)
        bound = _signature(cls).bind(layer, *args, **kwargs)
        bound.apply_defaults()
        values = dict(list(bound.arguments.items())[1:])
        for name, parameter in _signature(cls).parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                values.pop(name, None)  # what Keras's own constructor takes; it records that itself
        values = {name: value for name, value in values.items() if name not in cls._transient}
        object.__setattr__(layer, "_arguments", values)
        return layer

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def get_config(self):
        return {**super().get_config(), **{name: to_json(value) for name, value in self._arguments.items()}}

    @classmethod
    def from_config(cls, config):
        return cls(**{name: from_json(value) for name, value in config.items()})


class ShapePreserving(Layer):
    """A layer whose output has the shape of its first input, unless the call asks for more than that output."""

    def compute_output_spec(self, *args, **kwargs):
        extras = ("cache", "return_attention_scores", "return_hidden_states")
        if any(kwargs.get(name) for name in extras):
            return super().compute_output_spec(*args, **kwargs)
        first = args[0] if args else kwargs[list(_signature(type(self), "call").parameters)[1]]
        return keras.KerasTensor(first.shape, dtype=self.compute_dtype)


def outputs(x, *extras):
    """`x` alone, or followed by those of the extras (an updated cache, attention scores) that the call asked for."""
    asked = tuple(extra for extra in extras if extra is not None)
    return (x, *asked) if asked else x


@functools.cache
def _signature(cls, method="__init__"):
    return inspect.signature(getattr(cls, method))
