"""The fields of a `ModelConfig` by dotted path: building records from values by path, and reading values by path.

{"decoder.block.norm": RMSNorm,            a class, if the field may hold records of several
 "decoder.block.norm.epsilon": 1e-6,       a field of that record
 "decoder.block.attention.window": PerLayer((None, 128)),      becomes `StackConfig.pattern`
 "decoder_embeddings": None}               no record, even if its fields have values
"""

import collections.abc
import dataclasses
from typing import Any

from keras_transformers.layers.attention import AttentionConfig
from keras_transformers.layers.feed_forward import FeedForwardConfig
from keras_transformers.layers.stack import StackConfig
from keras_transformers.models.config import ModelConfig
from keras_transformers.records import alternatives

Values = dict[str, Any]

_MISSING: Any = object()


class Inexpressible(ValueError):
    """A `ModelConfig` that a family's keys cannot express, such as one that lacks the field of a key."""


@dataclasses.dataclass(frozen=True)
class PerLayer:
    """A value that differs from layer to layer, at the path of a field of `block.attention` or `block.feed_forward`."""

    values: tuple[Any, ...]


# Building


def build(cls: type, values: collections.abc.Mapping[str, Any]) -> Any:
    """Build a record of class `cls`, and the records in it, from values by dotted path.

    The value at the path of a record is its class, if records of several classes have such fields. It may also be the
    whole record, or None; values of its fields are then ignored.

    Raises:
        ValueError: for values that do not fit a record.
        AttributeError: for a path that no record has.
    """
    groups: dict[str, Values] = {}
    for path, value in (_with_patterns(values) if cls is StackConfig else values).items():
        name, _, rest = path.partition(".")
        groups.setdefault(name, {})[rest] = value
    annotations = {field.name: field.type for field in dataclasses.fields(cls)}
    if unknown := groups.keys() - annotations.keys():
        raise AttributeError(f"{cls.__name__} has no field {', '.join(map(repr, sorted(unknown)))}.")
    return cls(**{name: _field(annotations[name], groups[name]) for name in annotations if name in groups})


def _field(annotation: Any, values: Values) -> Any:
    whole = values.get("", _MISSING)
    if whole is not _MISSING and not isinstance(whole, type):
        return whole
    inner = {path: value for path, value in values.items() if path}
    kinds = _record_classes(annotation) if whole is _MISSING else (whole,)
    having = kinds
    if len(kinds) > 1:  # the fields may tell which
        names = {path.partition(".")[0] for path in inner}
        having = tuple(kind for kind in kinds if names <= {field.name for field in dataclasses.fields(kind)})
    if len(having) != 1:
        raise AttributeError(f"Expected one class of a record with the fields {', '.join(inner)}, got {kinds}.")
    return build(having[0], inner)


def _record_classes(annotation: Any) -> tuple[type, ...]:
    """Return the classes of the records that an annotated field may hold."""
    return tuple(kind for kind in alternatives(annotation) if isinstance(kind, type) and dataclasses.is_dataclass(kind))


# The parts of a block that may differ from layer to layer, and the fields of a stack that then list them.
_PARTS: tuple[tuple[str, type, str], ...] = (
    ("attention", AttentionConfig, "pattern"),
    ("feed_forward", FeedForwardConfig, "feed_forward_pattern"),
)


def _with_patterns(values: collections.abc.Mapping[str, Any]) -> Values:
    """Return the values of a stack, with records for the parts of a block that differ from layer to layer."""
    found = dict(values)
    for part, kind, pattern in _PARTS:
        inner = {path: value for path, value in values.items() if path.startswith(f"block.{part}.")}
        lengths = [len(value.values) for value in inner.values() if isinstance(value, PerLayer)]
        if lengths:
            layers = [_layer(inner, f"block.{part}.", n) for n in range(min(lengths))]
            if not layers:  # the stack refuses its number of layers
                found = {path: value for path, value in found.items() if not isinstance(value, PerLayer)}
                continue
            found = {path: value for path, value in found.items() if path not in inner}
            first, repeated = _repeating([build(kind, layer) for layer in layers])
            found |= {f"block.{part}": first, pattern: repeated}
    return found


def _layer(values: collections.abc.Mapping[str, Any], prefix: str, n: int) -> Values:
    """Return the values of layer `n`, by their paths without the prefix."""
    return {
        path.removeprefix(prefix): value.values[n] if isinstance(value, PerLayer) else value
        for path, value in values.items()
    }


def _repeating(items: list[Any]) -> tuple[Any, tuple[Any, ...]]:
    """Return the first layer's record and the pattern of a stack: the shortest beginning of the records that gives all
    of them when repeated; `()` if all records are the same."""
    lengths = range(1, len(items) + 1)
    length = next(each for each in lengths if all(item == items[n % each] for n, item in enumerate(items)))
    return items[0], tuple(items[:length]) if length > 1 else ()


# Reading


class Fields:
    """The fields of a `ModelConfig` by dotted path.

    Example:
        >>> fields = Fields(config)
        >>> fields("decoder.block.attention.num_heads"), fields.layers("decoder.block.attention.window")
        (8, (None, 128))
    """

    def __init__(self, config: ModelConfig) -> None:
        self.config = config

    def __call__(self, path: str) -> Any:
        """Return the value at a path; the first layer's value if the field differs from layer to layer.

        Raises:
            Inexpressible: if this configuration lacks the field, because it has no decoder, or other positions.
            AttributeError: if no configuration has the field.
        """
        return _value(self.config, ModelConfig, path)

    def layers(self, path: str) -> tuple[Any, ...]:
        """Return the value of each layer at the path of `block.attention`, `block.feed_forward`, or a field of them.

        Raises:
            Inexpressible, AttributeError: as for a single value.
        """
        stack, _, rest = path.partition(".block.")
        part, _, rest = rest.partition(".")
        kind = {name: kind for name, kind, _ in _PARTS}[part]
        config = self(stack)
        if config is None:
            raise Inexpressible(f"This ModelConfig has no {stack}.")
        records = config.attentions if part == "attention" else config.feed_forwards
        return tuple(_value(each, kind, rest) if rest else each for each in records)


def _value(record: Any, annotation: Any, path: str) -> Any:
    name, _, rest = path.partition(".")
    annotations = {field.name: field.type for kind in _record_classes(annotation) for field in dataclasses.fields(kind)}
    if name not in annotations:
        raise AttributeError(f"{annotation} has no field {name!r}.")
    if not hasattr(record, name):
        raise Inexpressible(f"{type(record).__name__} has no field {name!r}.")
    value = getattr(record, name)
    return _value(value, annotations[name], rest) if rest else value
