"""Keras builds layers in about half of the time, for the tests alone: they build some hundred thousand.

What a layer holds and computes stays the same. Three things are left out that Keras does anew each time: to find out
the signature of a function; to look for variables, layers and metrics in what can hold none; and to note the arguments
of a constructor, if the class has a `get_config` of its own.
"""

import functools
import inspect
import types

_PLAIN = {bool, int, float, str, type(None), types.FunctionType, types.MethodType}


class _RemembersSignatures(types.ModuleType):
    """The module `inspect`, which finds out the signature of a function once; a signature never changes."""

    def __init__(self):
        super().__init__("inspect")
        remember = functools.lru_cache(maxsize=4096)
        self._of_function, self.getfullargspec = remember(inspect.signature), remember(inspect.getfullargspec)
        # By its function: the method of another layer is another object.
        self._of_method = remember(lambda function: inspect.signature(types.MethodType(function, object())))

    def __getattr__(self, name):
        return getattr(inspect, name)

    def signature(self, function):
        is_method = type(function) is types.MethodType
        return self._of_method(function.__func__) if is_method else self._of_function(function)


def build_quickly():
    """Change the Keras of this process."""
    from keras.src.layers import layer
    from keras.src.ops import operation
    from keras.src.utils import python_utils, tracking

    operation.inspect = layer.inspect = _RemembersSignatures()
    holds_nothing = _WhatHoldsNothing()
    track, new = tracking.Tracker.track, operation.Operation.__new__

    def __new__(cls, *args, **kwargs):
        if python_utils.is_default(cls.get_config):
            return new(cls, *args, **kwargs)
        instance = object.__new__(cls)
        instance.__dict__.update(_lock=True, _auto_config=None)
        return instance

    operation.Operation.__new__ = __new__
    tracking.Tracker.track = lambda self, value: value if holds_nothing[type(value)] else track(self, value)
    _set_attributes_quickly(layer.Layer)


class _WhatHoldsNothing(dict):
    """Of each class, whether its objects are and hold nothing that Keras or PyTorch tracks."""

    def __missing__(self, cls):
        import keras
        import torch

        tracked = (keras.Variable, keras.Metric, keras.random.SeedGenerator, torch.nn.Module, torch.Tensor)
        self[cls] = not issubclass(cls, (*tracked, tuple, list, dict, set))
        return self[cls]


def _set_attributes_quickly(cls):
    """Without PyTorch's own search for parameters and modules, for an attribute that neither is nor replaces one.
    `torch.compile` traces through it, so that it is of plain parts."""
    import torch

    set_attribute = cls.__setattr__

    def __setattr__(self, name, value):
        held = self.__dict__
        if "_tracker" not in held or name == "_tracker" or isinstance(value, (torch.nn.Module, torch.Tensor)):
            return set_attribute(self, name, value)
        if name in held.get("_modules", ()) or name in held.get("_parameters", ()) or name in held.get("_buffers", ()):
            return set_attribute(self, name, value)
        if type(value) not in _PLAIN:
            value = held["_tracker"].track(value)
        return object.__setattr__(self, name, value)

    cls.__setattr__ = __setattr__
