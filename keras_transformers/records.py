"""Records: frozen dataclasses that describe a layer or a model, and their JSON.

A record is a value: records with equal fields are equal, and a record never changes. It flattens to plain JSON with a
`"kind"` tag at every level, so that a field may hold one of several alternatives (`Rotary`, `Alibi`, …) without a flag.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping

from keras_transformers.files.reading import shown
from keras_transformers.spelling import check_arguments, did_you_mean

_MOST = 2**31 - 1  # the largest size: ids are int32


@dataclasses.dataclass(frozen=True)
class Range:
    """The range of a number in a record: from `least` to `most`, both included, but without `least` if `above`."""

    least: float
    most: float = math.inf
    above: bool = False

    def holds(self, number: float) -> bool:
        """Return whether a number is in the range."""
        return (self.least < number if self.above else self.least <= number) and number <= self.most

    def __str__(self) -> str:
        if self.most >= _MOST:
            return f"{'above' if self.above else 'of at least'} {self.least:g}"
        return (
            f"{'above' if self.above else 'from'} {self.least:g} {'and at most' if self.above else 'to'} {self.most:g}"
        )


# Annotations of fields.
Size = typing.Annotated[int, Range(1, _MOST)]
Count = typing.Annotated[int, Range(0, _MOST)]
Rate = typing.Annotated[float, Range(0, 1)]
Positive = typing.Annotated[float, Range(0, above=True)]

_T = typing.TypeVar("_T")
_kinds: dict[str, type] = {}


@typing.dataclass_transform(frozen_default=True)
def record(cls: type[_T]) -> type[_T]:
    """Make `cls` a frozen dataclass that checks the types of its fields, and register its name for `from_json`.

    Numbers must be finite and in the `Range` of an annotation such as `Size`.

    Example:
        >>> @record
        ... class Point:
        ...     x: int = 0
        >>> Point("far")
        ValueError: Point does not fit its fields (x): field 'x' is 'far', expected int.
    """
    made: typing.Any = cls  # the checker does not follow methods that are put in later
    check = made.__dict__.get("__post_init__", lambda self: None)

    def __post_init__(self: typing.Any) -> None:
        _raise_for(type(self), _wrong_types(type(self), vars(self)))
        check(self)

    made.__post_init__ = __post_init__
    made = dataclasses.dataclass(frozen=True)(made)
    make = made.__init__

    @functools.wraps(make)
    def __init__(self: typing.Any, *args: typing.Any, **kwargs: typing.Any) -> None:
        check_arguments(f"arguments of {made.__name__}", kwargs, made.__dataclass_fields__)
        make(self, *args, **kwargs)

    made.__init__ = __init__
    _kinds[made.__name__] = made
    return made


def is_record(value: typing.Any) -> bool:
    """Return whether `value` is an instance of a class made by `record`."""
    return _kinds.get(type(value).__name__) is type(value)


def arguments_of(value: typing.Any) -> dict[str, typing.Any]:
    """Return the fields of a record as keyword arguments; nested records stay records."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def to_json(value: typing.Any) -> typing.Any:
    """Flatten a record, or a structure that holds records, to JSON values; other values are returned unchanged."""
    if is_record(value):
        fields = {name: to_json(each) for name, each in arguments_of(value).items()}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def from_json(value: typing.Any) -> typing.Any:
    """Rebuild records from the JSON of `to_json`. Lists in a record become tuples.

    Raises:
        ValueError: for an unknown kind, or unknown or missing fields, all of which are named at once.
    """
    if isinstance(value, dict) and "kind" in value:
        return _record_from_json(value)
    if isinstance(value, (list, tuple)):
        return tuple(from_json(item) for item in value)
    return value


def _record_from_json(value: dict[str, typing.Any]) -> typing.Any:
    kind, values = value["kind"], {name: item for name, item in value.items() if name != "kind"}
    if not isinstance(kind, str) or kind not in _kinds:
        raise ValueError(
            f"Expected a record of a known kind, got kind={shown(kind)}{did_you_mean(kind, _kinds)}. "
            f"Known kinds: {', '.join(sorted(_kinds))}."
        )
    cls = _kinds[kind]
    fields = {field.name: field for field in dataclasses.fields(cls)}
    problems = [f"unknown field {name!r}{did_you_mean(name, fields)}." for name in values if name not in fields]
    problems += [
        f"missing field {name!r}."
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    values = {name: from_json(item) for name, item in values.items()}
    _raise_for(cls, problems + _wrong_types(cls, values))
    return cls(**values)


def _wrong_types(cls: typing.Any, values: Mapping[str, typing.Any]) -> list[str]:
    wrong = [
        (field, values[field.name])
        for field in dataclasses.fields(cls)
        if field.name in values and not _fits(values[field.name], field.type)
    ]
    return [
        f"field {field.name!r} is {shown(value)}, expected {_finite(value)}{_name(field.type)}."
        for field, value in wrong
    ]


def _finite(value: typing.Any) -> str:
    return "finite " if isinstance(value, float) and not math.isfinite(value) else ""


def _raise_for(cls: typing.Any, problems: list[str]) -> None:
    if problems:
        names = ", ".join(field.name for field in dataclasses.fields(cls))
        raise ValueError(f"{cls.__name__} does not fit its fields ({names}): {' '.join(problems)}")


def _fits(value: typing.Any, annotation: typing.Any) -> bool:
    """Return whether a value is of an annotated type, so far as its class tells, and in its range."""
    for kind, items, limits in _allowed(annotation):
        if kind is typing.Any:
            return True
        if _is_of(value, kind):
            within = all(limit.holds(value) for limit in limits) if limits else True
            if within and (items is None or all(_fits(each, items) for each in value)):
                return True
    return False


@functools.cache  # the fields of each record ask
def _allowed(annotation: typing.Any) -> tuple[tuple[typing.Any, typing.Any, tuple[Range, ...]], ...]:
    """Return for each alternative of an annotation its class, the annotation of a tuple's items, and its limits."""
    allowed = []
    for each in alternatives(annotation):
        limits = getattr(each, "__metadata__", ())
        kind = each.__origin__ if limits else typing.get_origin(each) or each
        items = typing.get_args(each)
        allowed.append((kind, items[0] if kind is tuple and items[1:] == (...,) else None, limits))
    return tuple(allowed)


def _is_of(value: typing.Any, kind: type) -> bool:
    """Return whether a value is of a class: an int is a float too, a bool is no number, and numbers are finite."""
    if isinstance(value, bool):
        return kind is bool
    if type(value) is float and not math.isfinite(value) or type(value) is int and abs(value) >= 2**63:
        return False
    return isinstance(value, kind) or kind is float and type(value) is int


def alternatives(annotation: typing.Any) -> tuple[typing.Any, ...]:
    """Return the types that an annotation allows: `(Size, NoneType)` for `Size | None`."""
    is_union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    return typing.get_args(annotation) if is_union else (annotation,)


def _name(annotation: typing.Any) -> str:
    names = []
    for each in alternatives(annotation):
        limits = getattr(each, "__metadata__", ())
        kind = each.__origin__ if limits else each
        name = "None" if kind is types.NoneType else getattr(kind, "__name__", str(kind))
        names.append(" ".join([name, *map(str, limits)]))
    return " or ".join(names)
