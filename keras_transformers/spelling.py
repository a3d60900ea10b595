"""Hints for unknown names, "did you mean …?", and the refusal of unknown arguments.

An unknown name is a misspelling or another library's name (`other_libraries.py`); the hint is this library's name.
"""

import collections.abc
import difflib
import functools
import inspect
import itertools
import typing
from typing import Any

from keras_transformers import other_libraries

_P = typing.ParamSpec("_P")
_R = typing.TypeVar("_R")


def nearest(name: object, known: collections.abc.Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the known names most similar to `name`, the most similar first.

    If `name` is another library's name, this library's name for it is returned. If no name is similar, dotted names
    that end in `name` are.

    Args:
        name: the given name.
        known: the possible names.
        count: the most names to return.
        cutoff: the least similarity, from 0 to 1.
    """
    known = list(known)
    ours = [each for each in other_libraries.NAMES.get(str(name), ()) if each in known]
    near = ours or difflib.get_close_matches(str(name), known, n=count, cutoff=cutoff)
    if not near:  # such as `Seq2SeqLm` for `Seq2SeqLM`
        plain = {each.lower().replace("_", ""): each for each in known}
        near = [plain[each] for each in [str(name).lower().replace("_", "")] if each in plain]
    return near[:count] or [each for each in known if each.endswith(f".{name}")][:count]


def did_you_mean(name: object, known: collections.abc.Iterable[str], cutoff: float = 0.6) -> str:
    """Return a hint to put after an unknown `name` in an error: the nearest known name, or "" if none is near.

    `name`, `known` and `cutoff` are as for `nearest`.

    Example:
        >>> did_you_mean("num_beam", ["num_beams", "top_k"])
        " (did you mean 'num_beams'?)"
    """
    near = nearest(name, known, cutoff=cutoff)
    return f" (did you mean {near[0]!r}?)" if near else ""


def listed(names: collections.abc.Iterable[str], most: int = 10) -> str:
    """Join names for a sentence; if there are more than `most`, the first ones and the number of the others.

    Example:
        >>> listed("abcd", most=2)
        'a, b and 2 more'
    """
    names = list(names)
    return f"{', '.join(names[:most])}{f' and {len(names) - most} more' if len(names) > most else ''}"


def check_arguments(
    what: str,
    given: collections.abc.Iterable[str],
    known: collections.abc.Iterable[str],
    beside: collections.abc.Iterable[str] = (),
    advice: str = "",
) -> None:
    """Refuse unknown names of arguments.

    Args:
        what: a description of the names, such as "arguments of encoder".
        given: the given names.
        known: the possible names, which the error lists.
        beside: more possible names, which the error does not list.
        advice: the end of the error.

    Raises:
        TypeError: naming each unknown name, and the nearest possible name.
    """
    known, beside = list(known), list(beside)
    unknown = [name for name in given if name not in known and name not in beside and not name.startswith("_")]
    if unknown:
        known = [name for name in dict.fromkeys(known) if not name.startswith("_")]
        possible = [*known, *beside]
        named = ", ".join(f"{name!r}{did_you_mean(name, possible)}" for name in unknown)
        advised = [other_libraries.ADVICE[name] for name in unknown if name in other_libraries.ADVICE] + [advice]
        raise TypeError(" ".join([f"Expected {what} among {', '.join(known)}, got {named}.", *filter(None, advised)]))


_OPEN = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def known_arguments(
    function: collections.abc.Callable, owner: type | None = None
) -> tuple[tuple[str, ...], str | None]:
    """Return the names of a function's arguments, and the name of its `**kwargs` if these may have any names.

    A method with `**kwargs` is taken to pass them to the method that it overrides, up to a method of Keras.
    """
    names: list[str] = []
    homes = (
        [vars(each)[function.__name__] for each in owner.__mro__ if function.__name__ in vars(each)] if owner else []
    )
    for each in homes or [function]:
        each = inspect.unwrap(getattr(each, "__func__", each))
        names += _named(each)
        parameters = inspect.signature(each).parameters.values()
        rest = next((one.name for one in parameters if one.kind is one.VAR_KEYWORD and not _unpacked(one)), None)
        if rest is None or each.__module__.startswith("keras."):
            return tuple(names), None
    return tuple(names), rest


def _named(function: collections.abc.Callable) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    names = [one.name for one in parameters if one.kind not in _OPEN and one.name not in ("self", "cls")]
    return names + [name for one in parameters for name in _unpacked(one)]


def _unpacked(parameter: inspect.Parameter) -> list[str]:
    """Return the names that `**kwargs: Unpack[SomeTypedDict]` stands for; none for other parameters."""
    annotation = parameter.annotation
    return (
        list(typing.get_args(annotation)[0].__annotations__) if typing.get_origin(annotation) is typing.Unpack else []
    )


_known_arguments = functools.cache(known_arguments)


def spelled(function: collections.abc.Callable[_P, _R]) -> collections.abc.Callable[_P, _R]:
    """Wrap a function so that it refuses unknown keyword arguments, with the nearest known names."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if kwargs:
            _check_call(function, args, kwargs)
        return function(*args, **kwargs)

    return call


def _check_call(function: collections.abc.Callable, args: tuple, kwargs: dict[str, typing.Any]) -> None:
    owner = None
    if args and "." in function.__qualname__.replace("<locals>.", ""):
        owner = args[0] if isinstance(args[0], type) else type(args[0])
        owner = owner if function.__name__ in dir(owner) else None
    known, rest = _known_arguments(function, owner)
    passed_on = getattr(owner, "passes_on", {}).get(rest)
    advice = getattr(owner, "advice", {}).get(function.__name__, "")
    if passed_on is not None:
        what, names = passed_on
        check_arguments(what, kwargs, names, known, advice)
    elif rest is None:
        known += tuple(getattr(owner, "reading_options", ())) if function.__name__ in ("fit", "evaluate") else ()
        where = function.__name__ if owner is None else f"{owner.__name__}.{function.__name__}"
        check_arguments(f"arguments of {where}", kwargs, known, advice=advice)
    progress = kwargs.get("progress")
    if progress is not None and not callable(progress):
        raise TypeError(
            f"Expected progress to be a function that is called with how many are done, got {progress!r}. Give one, "
            "such as tqdm.tqdm(total=len(texts)).update, or leave it out."
        )


# Arguments of Keras's constructors of layers and models, and dtypes that Keras knows.
OF_KERAS = ("trainable", "autocast", "activity_regularizer", "input_shape", "input_dim")
_DTYPES = ("float32", "bfloat16", "float16", "float64", "mixed_bfloat16", "mixed_float16")


def check_constructor(cls: type, given: collections.abc.Mapping[str, Any]) -> None:
    """Refuse unknown dtypes, and arguments that neither the constructor of a layer or model takes nor the constructors
    that it passes arguments on to."""
    check_arguments(f"arguments of {cls.__name__}", given, constructor_arguments(cls), OF_KERAS)
    check_dtype(given.get("dtype"))


@functools.cache
def constructor_arguments(cls: type) -> tuple[str, ...]:
    """Return the names of a layer's or model's constructor arguments, without those that only Keras defines."""
    ours = itertools.takewhile(lambda each: not each.__module__.startswith("keras."), cls.__mro__)
    names = [
        name for each in ours if "__init__" in vars(each) for name in _named(inspect.unwrap(vars(each)["__init__"]))
    ]
    return tuple(dict.fromkeys((*names, "name", "dtype")))


def check_dtype(dtype: object) -> None:
    """Refuse the name of a dtype that Keras does not know.

    Raises:
        ValueError: with the nearest known dtype.
    """
    if not isinstance(dtype, str) or dtype in _DTYPES:
        return
    import keras

    try:
        keras.dtype_policies.get(dtype)
    except ValueError:
        raise ValueError(
            f"Expected dtype to be one of {', '.join(_DTYPES)}, or another policy of Keras, got {dtype!r}"
            f"{did_you_mean(dtype, _DTYPES)}."
        ) from None


def spell_out(cls: type, but: collections.abc.Container[str] = ()) -> None:
    """Make the public methods that a class defines `spelled` functions, except those named in `but`.

    The constructor gets the docstring of the class; otherwise editors would show the docstring of Keras or PyTorch.
    """
    if "__init__" in vars(cls) and cls.__init__.__doc__ is None:  # type: ignore[misc]
        cls.__init__.__doc__ = cls.__doc__  # type: ignore[misc]
    for name, value in list(vars(cls).items()):
        if name.startswith("_") or name in but:
            continue
        if inspect.isfunction(value):
            value.__qualname__ = f"{cls.__qualname__}.{name}"  # the function may be defined in another module
            setattr(cls, name, spelled(value))
        elif isinstance(value, classmethod):
            setattr(cls, name, classmethod(spelled(value.__func__)))


def missing_attribute(owner: object, name: str) -> AttributeError:
    """Return the error for an attribute that an object or a class does not have."""
    cls = owner if isinstance(owner, type) else type(owner)
    text = f"{cls.__name__!r} has no attribute {name!r}"
    if name.startswith("_"):
        return AttributeError(f"{text}.")
    advice = other_libraries.attribute_advice(cls.__name__, name)
    known = [each for each in dir(cls) if not each.startswith("_")]
    return AttributeError(f"{text}{'' if advice else did_you_mean(name, known)}.{advice}")


def missing_name(module: str, name: str, known: collections.abc.Sequence[str]) -> AttributeError:
    """Return the error for a name that a module does not have."""
    advice = "" if name.startswith("_") else other_libraries.class_advice(name)
    hint = "" if advice else did_you_mean(name, known)
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}.{advice} It has: {', '.join(known)}.")


class Elsewhere:
    """A class attribute that exists in other libraries only; the error on access says what to use instead."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        raise missing_attribute(owner, self._name)
