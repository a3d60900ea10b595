"""The base class of all layers here. It records the constructor arguments, so that one `get_config` serves them all."""

import functools
import inspect
import typing

import keras

from keras_transformers.backends.types import Tensor
from keras_transformers.records import from_json, to_json
from keras_transformers.spelling import check_constructor


class ShapesOfSpec:
    """Mixin for layers and models that define `compute_output_spec` with the arguments of `call`.

    The default in Keras traces `call`: on PyTorch twice, with lengths 83 and 89 for unknown axes. A model with fewer
    positions refuses these.
    """

    compute_output_spec: typing.Callable[..., typing.Any]

    def compute_output_shape(self, *shapes: typing.Any, **named_shapes: typing.Any) -> typing.Any:
        """The shape of the output of a call from the shapes of its tensors, with None for unknown sizes.

        Args:
            *shapes, **named_shapes: shapes of the tensors in the order of `call`, or by name, such as `inputs_shape`; a
                dictionary of shapes for a dictionary of tensors.

        Returns: a tuple of sizes, or a structure of them if the call returns one.
        """
        if not shapes and len(named_shapes) == 1:  # whatever its name
            shapes, named_shapes = tuple(named_shapes.values()), {}
        named = {name.removesuffix("_shape"): _tensors(shape) for name, shape in named_shapes.items()}
        spec = self.compute_output_spec(*map(_tensors, shapes), **named)
        return keras.tree.map_structure(lambda each: None if each is None else tuple(each.shape), spec)

    def _set_mask_metadata(self, inputs: typing.Any, outputs: typing.Any, previous_mask: typing.Any) -> None:
        """Set the Keras mask of the output. The method of Keras would choose the first of several tensors by the order
        of their names."""
        if isinstance(outputs, dict):
            outputs = outputs["output"]
        super()._set_mask_metadata(  # type: ignore[misc]  # the layer or model that comes after this mixin has it
            inputs, outputs[0] if isinstance(outputs, tuple) else outputs, previous_mask
        )


def _tensors(shape: typing.Any) -> typing.Any:
    return None if shape is None else keras.tree.map_shape_structure(keras.KerasTensor, shape)


def _find_signature(cls: type, method: str = "__init__") -> inspect.Signature:
    """The signature of a method, including the arguments that it passes on to the same method of its base class."""
    signature = inspect.signature(getattr(cls, method))
    own = list(signature.parameters.values())
    if not {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= {each.kind for each in own}:
        return signature
    home = next(each for each in cls.__mro__ if method in vars(each))
    inherited = _signature(cls.__mro__[cls.__mro__.index(home) + 1], method).parameters.values()
    named = {each.name: each for each in (*inherited, *own) if each.kind is not inspect.Parameter.VAR_POSITIONAL}
    return signature.replace(parameters=sorted(named.values(), key=lambda each: each.kind))


_signature: typing.Callable[..., inspect.Signature] = functools.cache(_find_signature)


def given_as_call(spec: typing.Callable[..., typing.Any]) -> typing.Callable[..., typing.Any]:
    """Decorate `compute_output_spec`: it then takes all arguments of `call`, and passes on those that the method
    names."""
    wanted = list(inspect.signature(spec).parameters)[1:]

    @functools.wraps(spec)
    def compute_output_spec(self: "Layer", *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        bound = _signature(type(self), "call").bind(self, *args, **kwargs)
        bound.apply_defaults()
        return spec(self, **{name: bound.arguments[name] for name in wanted if name in bound.arguments})

    return compute_output_spec


def like(tensor: Tensor, *, dtype: str | None = None, width: int | None = None) -> keras.KerasTensor:
    """A symbolic tensor with the shape of `tensor`; if `width` is given, the last axis has that size."""
    shape = tuple(tensor.shape) if width is None else (*tensor.shape[:-1], width)
    return keras.KerasTensor(shape, dtype=dtype or keras.backend.standardize_dtype(tensor.dtype))


class Layer(ShapesOfSpec, keras.layers.Layer):
    """A Keras layer whose configuration is its constructor arguments.

    Subclasses define `compute_output_spec`, but neither `get_config` nor `from_config`. Arguments that JSON cannot
    hold, such as an array of initial weights, are named in `_transient` and left out of the configuration: the saved
    weights hold them.

    A subclass whose constructor passes on `*args` and `**kwargs` has the arguments of its base class too, in its
    signature and its configuration.
    """

    _transient: tuple[str, ...] = ()
    __signature__: inspect.Signature

    def __init_subclass__(cls, **kwargs: typing.Any) -> None:
        super().__init_subclass__(**kwargs)
        signature = _signature(cls)
        cls.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])

    def __new__(cls, *args: typing.Any, **kwargs: typing.Any) -> typing.Self:
        check_constructor(cls, kwargs)
        layer = super().__new__(cls, *args, **kwargs)
        bound = _signature(cls).bind(layer, *args, **kwargs)
        bound.apply_defaults()
        values = dict(list(bound.arguments.items())[1:])
        for name, parameter in _signature(cls).parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                values.pop(name, None)  # Keras records the arguments of its own constructor
        values = {name: value for name, value in values.items() if name not in cls._transient}
        object.__setattr__(layer, "_arguments", values)
        return layer

    def __init__(self, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def get_config(self) -> dict[str, typing.Any]:
        return {**super().get_config(), **{name: to_json(value) for name, value in self._arguments.items()}}

    @classmethod
    def from_config(cls, config: dict[str, typing.Any]) -> typing.Self:
        return cls(**{name: from_json(value) for name, value in config.items()})

    def rematerialized_call(
        self, layer_call: typing.Callable[..., typing.Any], *args: typing.Any, **kwargs: typing.Any
    ) -> typing.Callable[..., typing.Any]:
        """Rematerialize a call. The method of Keras passes options such as `training` to the backend as tensors: JAX
        then traces them, and TensorFlow refuses them."""
        names = [name for name, value in kwargs.items() if any(map(keras.ops.is_tensor, keras.tree.flatten(value)))]
        options = {name: value for name, value in kwargs.items() if name not in names}

        def of_tensors(*tensors: Tensor) -> typing.Any:
            named = dict(zip(names, tensors[len(args) :], strict=True))
            return layer_call(*tensors[: len(args)], **named, **options)

        call = super().rematerialized_call(of_tensors, *args, **kwargs)
        return lambda *args, **kwargs: call(*args, *(kwargs[name] for name in names))


class ShapePreserving(Layer):
    """A layer whose output has the shape of its first input."""

    def compute_output_spec(self, inputs: Tensor, training: bool | None = None) -> keras.KerasTensor:
        return like(inputs, dtype=self.compute_dtype)


def outputs(x: Tensor, *extras: typing.Any) -> typing.Any:
    """`x` alone, or followed by the extra outputs (updated cache, attention scores) that are not None."""
    asked = tuple(extra for extra in extras if extra is not None)
    return (x, *asked) if asked else x
