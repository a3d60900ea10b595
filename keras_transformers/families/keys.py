"""A `config.json` as rows. A row names a key there and the fields of a `ModelConfig` that hold its value; reading,
writing and the check for unknown keys go through the same rows.

    key("hidden_size", 768, "hidden_dim")                                        one field
    key("hidden_dropout", 0.0, "embeddings.dropout", "decoder.block.dropout")    one value in two fields
    key(("n_embd", "hidden_size"), 768, "hidden_dim")                            two names; the first is written
    activation("hidden_act", "gelu", "decoder.block.feed_forward.activation")    transformers' name, and ours
    choice("parallel", True, "decoder.block.residual", {True: "parallel", False: "sequential"})
    optional("n_inner", int, None, "…intermediate_dim", null=lambda values: 4 * values["hidden_dim"])
    expect("is_decoder", False)                                                  no field; other values are refused
    repeat("head_dim", lambda values: values["hidden_dim"], "hidden_size")       no field; it may not contradict
    inert("n_ctx")                                                               no field; any value passes
    Group(("layer_types", "sliding_window"), read, write)                        keys that only together have a meaning

Reading fills `Values`, from which the records are built: values by the dotted path of their field (`fields.py`). A row
sees the values of the rows before it. A value that differs from layer to layer is a `PerLayer`.
"""

import collections.abc
import dataclasses
import functools
import typing
from typing import Any

from keras_transformers.families.config_reader import ConfigReader
from keras_transformers.families.fields import Fields, Values, build
from keras_transformers.families.spellings import Activation, Choice, Nullable, Plain, Spelling, TokenId
from keras_transformers.models.config import ModelConfig

Derived = collections.abc.Callable[[Values], Any]

OMITTED: Any = object()  # the value of a key that is not written


# Rows


class Row(typing.Protocol):
    """The row of one key, or of several that belong together.

    Attributes:
        names: the keys, the usual name first.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    def read(self, read: ConfigReader, values: Values) -> None:
        """Read the keys and add to the values by path."""

    def write(self, fields: Fields) -> dict[str, Any]:
        """Return the keys that `read` would read as these fields."""


@dataclasses.dataclass(frozen=True)
class Key:
    """A key whose value is stored in fields.

    Attributes:
        names: the name that is written, and other names that transformers understands as well.
        default: the value of a missing key, in the file's spelling; or a function of the values so far.
        paths: the fields; the first one's value is written.
        spelling: the spelling of the value in the file.
        null: a function of the values so far, for null and for a missing key whose `default` is None.
        adapt: a function of the value read and the values so far, which returns the fields' value.
        restore: a function of the fields, which returns the file's value or `OMITTED`.
    """

    names: tuple[str, ...]
    default: Any
    paths: tuple[str, ...]
    spelling: Spelling = Plain()
    null: Derived | None = None
    adapt: collections.abc.Callable[[Any, Values], Any] | None = None
    restore: collections.abc.Callable[[Fields], Any] | None = None

    def read(self, read: ConfigReader, values: Values) -> None:
        default = self.default(values) if callable(self.default) else self.default
        value = self.spelling.read(read, self.names[0], default)
        if value is None and self.null is not None:
            value = self.null(values)
        if self.adapt is not None:
            value = self.adapt(value, values)
        values.update(dict.fromkeys(self.paths, value))

    def write(self, fields: Fields) -> dict[str, Any]:
        value = self.spelling.write(fields(self.paths[0])) if self.restore is None else self.restore(fields)
        return {} if value is OMITTED else {self.names[0]: value}


class _Unwritten:
    """A row that is read but never written."""

    def write(self, fields: Fields) -> dict[str, Any]:
        return {}


@dataclasses.dataclass(frozen=True)
class Expect:
    """A key that must hold one of the `allowed` values, the first of which is the default. It is written only if files
    should state it."""

    names: tuple[str, ...]
    allowed: tuple[Any, ...]
    is_stated: bool = False

    def read(self, read: ConfigReader, values: Values) -> None:
        read.expect(self.names[0], *self.allowed)

    def write(self, fields: Fields) -> dict[str, Any]:
        return {self.names[0]: self.allowed[0]} if self.is_stated else {}


@dataclasses.dataclass(frozen=True)
class Repeat(_Unwritten):
    """A key that may repeat, but not contradict, the value of `of`: another key, or a description for the error."""

    names: tuple[str, ...]
    value: Derived
    of: str

    def read(self, read: ConfigReader, values: Values) -> None:
        read.repeats(self.names[0], self.value(values), self.of)


@dataclasses.dataclass(frozen=True)
class InTraining(_Unwritten):
    """A key that changes only how transformers trains; its default changes nothing."""

    names: tuple[str, ...]
    default: Any

    def read(self, read: ConfigReader, values: Values) -> None:
        read.in_training(self.names[0], self.default)


@dataclasses.dataclass(frozen=True)
class Inert(_Unwritten):
    """Keys that change nothing, whatever their values are."""

    names: tuple[str, ...]

    def read(self, read: ConfigReader, values: Values) -> None:
        pass


@dataclasses.dataclass(frozen=True)
class Group:
    """Keys that only together have a meaning; no keys, for values that follow from others.

    Attributes:
        names: the keys.
        reading: a function of the reader and the values so far, which changes the values.
        writing: a function of the fields, which returns the keys; None for keys that are not written.
    """

    names: tuple[str, ...]
    reading: collections.abc.Callable[[ConfigReader, Values], None]
    writing: collections.abc.Callable[[Fields], dict[str, Any]] | None = None

    def read(self, read: ConfigReader, values: Values) -> None:
        self.reading(read, values)

    def write(self, fields: Fields) -> dict[str, Any]:
        return {} if self.writing is None else self.writing(fields)


def _names(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def key(
    names: str | tuple[str, ...],
    default: Any,
    *paths: str,
    adapt: collections.abc.Callable[[Any, Values], Any] | None = None,
    restore: collections.abc.Callable[[Fields], Any] | None = None,
) -> Key:
    """Return a row for a key that holds a value of the type of its default. See `Key`."""
    return Key(_names(names), default, paths, adapt=adapt, restore=restore)


def optional(
    names: str | tuple[str, ...],
    kind: type,
    default: Any,
    *paths: str,
    null: Derived | None = None,
    adapt: collections.abc.Callable[[Any, Values], Any] | None = None,
    restore: collections.abc.Callable[[Fields], Any] | None = None,
) -> Key:
    """Return a row for a key that holds a value of a type, or null. See `Key`."""
    return Key(_names(names), default, paths, Nullable(kind), null, adapt, restore)


def token_id(names: str | tuple[str, ...], default: int | None, *paths: str) -> Key:
    """Return a row for a key that holds a token id, or none."""
    return Key(_names(names), default, paths, TokenId())


def choice(names: str | tuple[str, ...], default: Any, path: str, pairs: dict[Any, Any]) -> Key:
    """Return a row for a key that holds one of some values; `pairs` maps them to this library's values."""
    return Key(_names(names), default, (path,), Choice(tuple(pairs.items())))


def activation(names: str | tuple[str, ...], default: str, *paths: str) -> Key:
    """Return a row for a key that holds transformers' name of an activation."""
    return Key(_names(names), default, paths, Activation())


def expect(name: str, *allowed: Any) -> Expect:
    """Return a row for a key that holds one of the `allowed` values; a missing key means the first."""
    return Expect((name,), allowed)


def state(name: str, value: Any) -> Expect:
    """Return a row for a key that has one `value` in all files. It is written, and may be missing."""
    return Expect((name,), (value,), is_stated=True)


def repeat(name: str, value: Derived, of: str) -> Repeat:
    """Return a row for a key that may only repeat the value of `of`: `value`, a function of the values so far."""
    return Repeat((name,), value, of)


def in_training(name: str, default: Any) -> InTraining:
    """Return a row for a key that changes only how transformers trains."""
    return InTraining((name,), default)


def inert(*names: str) -> Inert:
    """Return a row for keys that change nothing."""
    return Inert(names)


def derive(change: collections.abc.Callable[[Values], None]) -> Group:
    """Return a row for values that follow from others: `change` takes the values so far and adds to them."""
    return Group((), lambda read, values: change(values))


def written_if(path: str, row: Key) -> Key:
    """Return a row whose key is written only if the field at `path` is not None."""
    return dataclasses.replace(
        row, restore=lambda fields: OMITTED if fields(path) is None else row.write(fields).get(row.names[0], OMITTED)
    )


def unwritten(row: Key) -> Key:
    """Return a row whose key is read and not written."""
    return dataclasses.replace(row, restore=lambda fields: OMITTED)


# Keys for other kinds of models, which any file may have.
ONE_STACK: tuple[Row, ...] = (
    expect("is_encoder_decoder", False),
    expect("add_cross_attention", False),
    expect("cross_attention_hidden_size", None),
    expect("pruned_heads", {}, None),
)
TWO_STACKS: tuple[Row, ...] = (expect("is_decoder", False), *ONE_STACK[1:])


# A family's table


@dataclasses.dataclass(frozen=True)
class Keys:
    """The `config.json` of one family.

    Attributes:
        rows: in the order in which they are read.
        always: the values, by path, that all models of the family share.
    """

    rows: tuple[Row, ...]
    always: collections.abc.Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def read(self, read: ConfigReader) -> ModelConfig:
        """Return the `ModelConfig` of a file.

        Raises:
            ValueError: for values that fit no `ModelConfig`; `read` lists further problems.
        """
        values = dict(self.always)
        for row in self.rows:
            row.read(read, values)
        config: ModelConfig = build(ModelConfig, values)
        return config

    def write(self, config: ModelConfig) -> dict[str, Any]:
        """Return the keys that `read` would read as `config`, if this family can express all of it.

        Raises:
            Inexpressible: if `config` lacks the field of a key.
        """
        fields = Fields(config)
        return {name: value for row in self.rows for name, value in row.write(fields).items()}

    @functools.cached_property
    def known(self) -> frozenset[str]:
        """All keys that rows name."""
        return frozenset(name for row in self.rows for name in row.names)

    @functools.cached_property
    def inert(self) -> tuple[str, ...]:
        """The keys that change nothing."""
        return tuple(name for row in self.rows if isinstance(row, Inert) for name in row.names)

    @functools.cached_property
    def aliases(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a second name and the name that is written."""
        keys = [row for row in self.rows if isinstance(row, Key)]
        return tuple((alias, row.names[0]) for row in keys for alias in row.names[1:])

    def but(
        self,
        defaults: collections.abc.Mapping[str, Any] | None = None,
        *rows: Row,
        without: collections.abc.Container[str] = (),
        always: collections.abc.Mapping[str, Any] | None = None,
    ) -> "Keys":
        """Return the table of a related family, with changes.

        Args:
            defaults: other defaults, by the name of the key here.
            *rows: further rows, read after the rows here. A row with the same first name as a row here replaces it.
            without: names of keys that the related family lacks.
            always: further values that all models of the related family share.

        Raises:
            ValueError: for a name that no row has.
        """
        defaults = dict(defaults or {})
        own = {row.names[0]: row for row in rows if row.names}
        kept: list[Row] = []
        replaced = set()
        for row in self.rows:
            name = row.names[0] if row.names else ""
            if name in without:
                continue
            if name in own:
                row = own[name]
                replaced.add(name)
            if isinstance(row, Key) and name in defaults:
                row = dataclasses.replace(row, default=defaults.pop(name))
            kept.append(row)
        if defaults:
            raise ValueError(f"Expected names of keys that have a row, got {', '.join(sorted(defaults))}.")
        further = [row for row in rows if not row.names or row.names[0] not in replaced]
        return Keys((*kept, *further), {**self.always, **(always or {})})
