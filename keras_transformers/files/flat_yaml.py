"""YAML files without nesting, as Marian writes them: one key a line, whose value is a scalar or a list of scalars.

    enc-depth: 6                        {"enc-depth": 6,
    transformer-preprocess: ""           "transformer-preprocess": "",
    dim-vocabs:                          "dim-vocabs": [32000, 32000],
      - 32000                            "input-types": []}
      - 32000
    input-types: []

All else that YAML knows (nesting, anchors, blocks of text) is refused. Vocabularies have a piece a line, with escapes.

Source: https://yaml.org/spec/1.2.2/, sections 5.7 (escapes) and 10.3 (scalars).
"""

import math
import re
import typing

from keras_transformers.files.reading import shown

Scalar = str | int | float | bool | None

_ESCAPES = {
    **{"0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"},
    **{"e": "\x1b", " ": " ", '"': '"', "/": "/", "\\": "\\"},
    **{"N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029"},
}
_LENGTHS = {"x": 2, "u": 4, "U": 8}
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_DOUBLE, _SINGLE = re.compile(r'"((?:[^"\\]|\\.)*)"'), re.compile(r"'((?:[^']|'')*)'")
_INTEGER, _FLOAT = re.compile(r"[-+]?[0-9]+"), re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_CONSTANTS: dict[str, Scalar] = {"true": True, "false": False, "null": None, "~": None, "": None}
_PLAIN = re.compile(r"[A-Za-z0-9_./^]([A-Za-z0-9_./^ :+-]*[A-Za-z0-9_./^+-])?")  # text that needs no quotes
_SPACE = " \t\r"  # other spaces, and other ends of lines, belong to a text


def parse(text: str, where: object) -> dict[str, typing.Any]:
    """Parse a flat YAML text.

    Args:
        text: the text; a zero byte ends it.
        where: the file's name in messages.

    Returns: values by key: strings, numbers, booleans, None, or lists of those.

    Raises:
        ValueError: for anything that is no flat YAML, and for a key that stands there twice; with the line.

    Example:
        >>> parse("dim-vocabs:\\n  - 8\\n  - 9\\nskip: false", "model.yml")
        {'dim-vocabs': [8, 9], 'skip': False}
    """
    read = _Reader()
    for number, line in enumerate(text.partition("\0")[0].split("\n"), start=1):
        bare = line.strip(_SPACE)
        if not bare or bare.startswith("#") or bare in ("---", "...") or line.startswith("%YAML"):
            continue
        try:
            read.line(bare, indented=line[0] in _SPACE)
        except ValueError as error:
            raise ValueError(
                f"Expected flat YAML, such as 'enc-depth: 6', in line {number} of {where}, got {error}: "
                f"{shown(bare)}. Download it again."
            ) from None
    if read.asked is not None:
        raise ValueError(
            f"Expected a value for {shown(read.asked)} at the end of {where}, got none. Download it again."
        )
    return read.values


class _Reader:
    """What the lines of a file have said so far."""

    def __init__(self) -> None:
        self.values: dict[str, typing.Any] = {}
        self.key: str | None = None  # the key that awaits a value, or further items
        self.asked: str | None = None  # the key of a line that begins with "?"

    def line(self, bare: str, indented: bool) -> None:
        if bare == "-" or bare.startswith("- "):
            self._item(bare[1:].strip(_SPACE))
        elif indented:
            self._list(bare)
        elif self.asked is not None and not bare.startswith(":"):
            raise ValueError(f"no value for {shown(self.asked)}")
        elif bare.startswith("? "):
            self.asked, rest = _key(bare[2:].strip(_SPACE))
            if rest:
                raise ValueError("nesting")
        else:
            self._pair(*(_entry(bare) if self.asked is None else (self.asked, bare[1:])))

    def _item(self, item: str) -> None:
        if self.key is None or not isinstance(self.values[self.key], list | None):
            raise ValueError("an item of no list")
        self.values[self.key] = self.values[self.key] or []
        self.values[self.key].append(_scalar(item))

    def _list(self, bare: str) -> None:
        """A list in brackets, on a line of its own."""
        if self.key is None or self.values[self.key] is not None or not bare.startswith("["):
            raise ValueError("nesting")
        self.values[self.key], self.key = _value(bare), None

    def _pair(self, name: str, rest: str) -> None:
        self.asked = None
        if name in self.values:
            raise ValueError(f"{name!r} twice")
        self.values[name] = _value(rest.strip(_SPACE))
        self.key = name if self.values[name] is None else None


def _entry(line: str) -> tuple[str, str]:
    """The key of a line, and the text after its colon."""
    name, rest = _key(line)
    if not rest.startswith(":") or rest[1:2] not in ("", " "):
        raise ValueError("no key with a value")
    return name, rest[1:]


def _key(text: str) -> tuple[str, str]:
    """The key at the beginning of a text, and the rest."""
    for pattern, unquoted in ((_DOUBLE, _unescaped), (_SINGLE, lambda each: each.replace("''", "'"))):
        if match := pattern.match(text):
            return unquoted(match[1]), text[match.end() :].lstrip(_SPACE)
    name, colon, rest = text.partition(": ")
    if colon:
        return name, ": " + rest
    return (text[:-1], ":") if text.endswith(":") else (text, "")


def _value(text: str) -> typing.Any:
    if text.startswith("["):
        if not text.endswith("]") or "[" in text[1:]:
            raise ValueError("a list that does not end, or lists in a list")
        return [_scalar(each.strip(_SPACE)) for each in text[1:-1].split(",")] if text[1:-1].strip(_SPACE) else []
    return _scalar(text)


def _scalar(text: str) -> Scalar:
    for pattern, unquoted in ((_DOUBLE, _unescaped), (_SINGLE, lambda each: each.replace("''", "'"))):
        if match := pattern.fullmatch(text):
            return unquoted(match[1])
    text = "" if text.startswith("#") else text.split(" #")[0].rstrip(_SPACE)
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text) and len(text) < 20:
        return int(text)
    if _FLOAT.fullmatch(text) and len(text) < 40:
        if not math.isfinite(float(text)):
            raise ValueError("a number that is too large")
        return float(text)
    if text[0] in "&*!|>{}[]%@`\"'" or ": " in text or text.endswith(":"):
        raise ValueError("a value that is no plain scalar")
    return text


def _unescaped(text: str) -> str:
    def replaced(match: re.Match[str]) -> str:
        kind = match[0][1]
        if kind in _LENGTHS:
            number = int(match[0][2:], 16)
            if len(match[0]) != 2 + _LENGTHS[kind] or number > 0x10FFFF or 0xD800 <= number < 0xE000:
                raise ValueError(f"the escape {match[0]!r}")
            return chr(number)
        if kind not in _ESCAPES:
            raise ValueError(f"the escape {match[0]!r}")
        return _ESCAPES[kind]

    return _ESCAPE.sub(replaced, text)


def dump(values: typing.Mapping[str, typing.Any]) -> str:
    """Write flat YAML, as Marian does: the inverse of `parse`."""
    lines = []
    for name, value in values.items():
        if isinstance(value, list | tuple):
            lines += [f"{_written(name)}:", *(f"  - {_written(each)}" for each in value)]
            lines[-1] += "" if value else " []"
        else:
            lines.append(f"{_written(name)}: {_written(value)}")
    return "\n".join(lines) + "\n"


def _written(value: Scalar) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "~"
    if not isinstance(value, str):
        return repr(value)
    if _PLAIN.fullmatch(value) and isinstance(_scalar(value) if ": " not in value else None, str):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _escape(c) for c in escaped) + '"'


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\U{number:08x}"
