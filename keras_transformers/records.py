"""Records: frozen dataclasses that say what a layer or a model is, and their JSON.

A record is a value. Two records with equal fields are equal, a record never changes, and it flattens to plain JSON with
a `"kind"` tag at every level, so that a field may hold one of several alternatives (`Rotary`, `Alibi`, …) without a
flag to tell them apart.
"""

import dataclasses
import types
import typing

from keras_transformers.spelling import did_you_mean

_kinds: dict[str, type] = {}


@typing.dataclass_transform(frozen_default=True)
def record(cls):
    """Make `cls` a frozen dataclass that checks the types of its fields, and that `from_json` knows by its class name.

    Example:
        >>> @record
        ... class Point:
        ...     x: int = 0
        >>> Point("far")
        ValueError: Point does not fit its fields (x): field 'x' is 'far', expected int.
    """
    check = cls.__dict__.get("__post_init__", lambda self: None)

    def __post_init__(self):
        _raise_for(type(self), _wrong_types(type(self), vars(self)))
        check(self)

    cls.__post_init__ = __post_init__
    cls = dataclasses.dataclass(frozen=True)(cls)
    _kinds[cls.__name__] = cls
    return cls


def is_record(value):
    """Whether `value` is an instance of a class made by `record`."""
    return type(value) in _kinds.values()


def to_json(value):
    """Flatten a record, or a structure that holds some, to JSON values; anything else comes back as it is."""
    if is_record(value):
        fields = {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def from_json(value):
    """Rebuild what `to_json` flattened. Lists come back as tuples where a record holds them.

    Raises:
        ValueError: for an unknown kind, unknown or missing fields, naming all of them at once.
    """
    if isinstance(value, dict) and "kind" in value:
        return _record_from_json(value)
    if isinstance(value, (list, tuple)):
        return tuple(from_json(item) for item in value)
    return value


def _record_from_json(value):
    kind, values = value["kind"], {name: item for name, item in value.items() if name != "kind"}
    if kind not in _kinds:
        raise ValueError(
            f"Expected a record of a known kind, got kind={kind!r}{did_you_mean(kind, _kinds)}. "
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


def _wrong_types(cls, values):
    return [
        f"field {field.name!r} is {values[field.name]!r}, expected {_name(field.type)}."
        for field in dataclasses.fields(cls)
        if field.name in values and not _fits(values[field.name], field.type)
    ]


def _raise_for(cls, problems):
    if problems:
        names = ", ".join(field.name for field in dataclasses.fields(cls))
        raise ValueError(f"{cls.__name__} does not fit its fields ({names}): {' '.join(problems)}")


def _fits(value, annotation):
    """Whether a value is of an annotated type, so far as a class can tell."""
    alternatives = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    for each in alternatives:
        each = typing.get_origin(each) or each
        if each is typing.Any or (isinstance(value, each) and not (isinstance(value, bool) and each is not bool)):
            return True
        if each is float and type(value) is int:
            return True
    return False


def _name(annotation):
    return getattr(annotation, "__name__", str(annotation))
