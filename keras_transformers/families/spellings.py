"""How the value of a key is spelled in a `config.json`: read and written."""

import dataclasses
import typing
from typing import Any

from keras_transformers.families.config_reader import HUGGING_FACE_ACTIVATIONS, ConfigReader, activation_name
from keras_transformers.families.fields import Inexpressible


class Spelling(typing.Protocol):
    """The spelling of a value in a file. `read` may return None, which means the family's own value for null."""

    def read(self, read: ConfigReader, name: str, default: Any) -> Any: ...

    def write(self, value: Any) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Plain:
    """A value that is stored unchanged."""

    def read(self, read: ConfigReader, name: str, default: Any) -> Any:
        return read(name, default)

    def write(self, value: Any) -> Any:
        return value


@dataclasses.dataclass(frozen=True)
class Nullable(Plain):
    """A value of one type, or null."""

    kind: type

    def read(self, read: ConfigReader, name: str, default: Any) -> Any:
        return read.optional(name, self.kind, default)


@dataclasses.dataclass(frozen=True)
class TokenId(Plain):
    """A token id; null or a negative number means none."""

    def read(self, read: ConfigReader, name: str, default: Any) -> Any:
        return read.token_id(name, default)


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some values, as pairs of the value in a file and the value of this library."""

    pairs: tuple[tuple[Any, Any], ...]

    def read(self, read: ConfigReader, name: str, default: Any) -> Any:
        value, ours = read(name, default), dict(self.pairs)
        if value not in ours:
            raise ValueError(f"{name}: expected {' or '.join(map(str, ours))}, got {value!r}")
        return ours[value]

    def write(self, value: Any) -> Any:
        for theirs, ours in self.pairs:
            if ours == value:
                return theirs
        raise Inexpressible(f"Expected one of {[ours for _, ours in self.pairs]}, got {value!r}.")


@dataclasses.dataclass(frozen=True)
class Activation:
    """The name of an activation; the first of several names is written."""

    def read(self, read: ConfigReader, name: str, default: Any) -> Any:
        return read.activation(name, default)

    def write(self, value: Any) -> Any:
        if value not in HUGGING_FACE_ACTIVATIONS.values():
            raise Inexpressible(f"Expected an activation that transformers has a name for, got {value!r}.")
        return activation_name(value)
