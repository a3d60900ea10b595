"""Other values for a value, and a model's configuration with one field changed: does anything depend on it?"""

import dataclasses
import types
import typing

from keras_transformers.layers.attention import BIASES
from keras_transformers.layers.blocks import NORM_PLACEMENTS, RESIDUALS
from keras_transformers.layers.disentangled import TERMS
from keras_transformers.layers.embeddings import PROJECTED
from keras_transformers.layers.heads import POOLINGS
from keras_transformers.layers.stack import StackConfig
from keras_transformers.records import is_record

# Of activations those that are hardest to tell apart.
_NAMES = ("gelu", "gelu_tanh", *NORM_PLACEMENTS, *RESIDUALS, *POOLINGS, *PROJECTED, *TERMS)
_NAMES += ("interleaved", "halves")
# In the place of None. The texts of the cases hold the token 6, and it is no padding.
_OF_A_TYPE = {int: (1,), float: (0.5,)}
_OF_A_NAME = {"zero_id": 6}


def others(value):
    """Other values than a number, a flag or a name; not all of them are legal where it stands."""
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (2 * value, 3 * value) if value else (1,)
    if isinstance(value, float):
        return (2 * value + 1e-3,)
    return tuple(name for name in _NAMES if name != value)


def corruptions(config):
    """`(path, ModelConfig)` for each legal way to change one field of a record or of one inside it; a number is changed
    once."""
    return _corrupted(config, "")


def _corrupted(record, path):
    changed = [
        (where, {field.name: other})
        for field in dataclasses.fields(record)
        for where, other in _others_of(getattr(record, field.name), field.type, f"{path}{field.name}")
    ]
    if isinstance(record, StackConfig):
        for name, field, own in PATTERNS:
            changed += _other_patterns(record, path, name, field, own)
    numbers = set()
    for where, fields in changed:
        is_number = all(type(value) in (int, float) for value in fields.values())
        if is_number and where in numbers:
            continue
        try:
            yield where, dataclasses.replace(record, **fields)
        except ValueError:  # the record refuses it
            continue
        if is_number:
            numbers.add(where)


def _others_of(value, annotation, path):
    """Other values for a field: `(path, value)`."""
    kinds = _kinds(annotation)
    if is_record(value):
        inside = list(_corrupted(value, f"{path}."))
        return inside + [(path, None)] * (type(None) in kinds)
    if set(kinds) == {bool, str}:
        return [(path, other) for other in BIASES if other != value]
    if value is None and (name := path.rpartition(".")[2]) in _OF_A_NAME:
        return [(path, _OF_A_NAME[name])]
    if value is None:
        simple = [other for kind in kinds for other in _OF_A_TYPE.get(kind, ())]
        return [(path, other) for other in (*simple, *filter(None, map(_made, kinds)))]
    return [] if isinstance(value, tuple) else [(path, other) for other in others(value)]


def _kinds(annotation):
    """The classes of an annotation: of a `Size | None`, int and that of None."""
    is_union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    alternatives = typing.get_args(annotation) if is_union else (annotation,)
    return tuple(each.__origin__ if typing.get_origin(each) is typing.Annotated else each for each in alternatives)


def _made(kind):
    """A record of a kind, where it needs no arguments."""
    try:
        return kind() if dataclasses.is_dataclass(kind) else None
    except TypeError:
        return None


# A stack's patterns: what each is called, the block's field that is its first, and what of it layers of a family have
# of their own.
PATTERNS = (
    ("pattern", "attention", ("positions", "window", "scale")),
    ("feed_forward_pattern", "feed_forward", ("intermediate_dim", "experts")),
)


def _other_patterns(stack, path, name, field, own):
    """One of a stack's patterns, with the block's field, which is its first: another order, no pattern, and each field
    of each part. Fields that all of a stack share change in all."""
    usual, path = getattr(stack, name), f"{path}{name}"
    patterns = [(path, usual[1:] + usual[:1]), (path, ())] if usual else []
    for number, one in enumerate(usual):
        for where, other in _corrupted(one, f"{path}[{number}]."):
            changed = {
                each.name: getattr(other, each.name)
                for each in dataclasses.fields(one)
                if getattr(one, each.name) != getattr(other, each.name)
            }
            shared = not changed.keys() <= set(own)
            try:
                pattern = tuple(
                    dataclasses.replace(each, **changed) if shared or each == one else each for each in usual
                )
            except ValueError:  # another part refuses it
                continue
            patterns.append((where, pattern))
    return [
        (where, {name: pattern, "block": dataclasses.replace(stack.block, **{field: (pattern or usual)[0]})})
        for where, pattern in patterns
    ]
