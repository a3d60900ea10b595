"""Python functions as JSON schemas, by which a chat template tells a model of its tools.

    def weather(city: str, days: int = 1):          {"type": "function", "function": {"name": "weather",
        '''The weather of a city.                     "description": "The weather of a city.",
                                                      "parameters": {"type": "object", "properties": {
        Args:                                            "city": {"type": "string", "description": "Its name."},
            city: Its name.                              "days": {"type": "integer", "description": "How many."}},
            days: How many.                              "required": ["city"]}}}
        '''

Source: `transformers.utils.get_json_schema`, which gives the same.
"""

import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal, Union

_SCALARS = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
_TYPES = {**_SCALARS, list: "array", tuple: "array", dict: "object"}
# The key of a container's items, and the place of their type in its type.
_ITEMS = {list: ("items", 0), dict: ("additionalProperties", 1)}
_SECTIONS = ("Args:", "Returns:", "Raises:")
_ARGUMENT = re.compile(r"\*{0,2}(\w+)(?: \([^)]*\))?:\s*(.*)")
_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)


def tool_schema(function: Callable[..., Any]) -> dict[str, Any]:
    """The JSON schema of a function, from its type hints and its docstring.

    Args:
        function: with a type hint for each argument, and a docstring in Google's style that describes the function,
            and under `Args:` each argument. A description that ends in `(choices: ["a", "b"])` lists the values.

    Returns: `{"type": "function", "function": {"name", "description", "parameters"}}`, and "return" if that has a hint.

    Raises:
        ValueError: for a function without a docstring, and an argument without a hint or a description, or whose hint
            has no JSON schema.

    Example:
        >>> def double(x: int):
        ...     '''Twice a number.
        ...
        ...     Args:
        ...         x: The number.
        ...     '''
        >>> tool_schema(double)["function"]["parameters"]["required"]
        ['x']
    """
    name = getattr(function, "__name__", "operation")
    text = (inspect.getdoc(function) or "").strip()
    if not text:
        raise ValueError(
            f"Expected a docstring that says what the tool {name} does, got none. Write one, with each argument under "
            "Args:."
        )
    description, described, returned = _sections(text)
    hints = typing.get_type_hints(function)
    properties: dict[str, Any] = {}
    required = []
    for argument, parameter in inspect.signature(function).parameters.items():
        if parameter.annotation is inspect.Parameter.empty:
            if not properties and argument in ("self", "cls"):
                continue
            raise ValueError(f"Expected a type hint for each argument of the tool {name}, got none for {argument}.")
        if argument not in described:
            raise ValueError(
                f"Expected a description of each argument in the docstring of the tool {name}, got none of {argument}. "
                "Write it under Args:."
            )
        if parameter.default is inspect.Parameter.empty:
            required.append(argument)
        schema = _schema(hints[argument], f"{argument} of the tool {name}")
        properties[argument] = schema | _description(described[argument], f"{argument} of the tool {name}")
    parameters = {"type": "object", "properties": properties} | ({"required": required} if required else {})
    schema = {"name": name, "description": description, "parameters": parameters}
    if "return" in hints:
        try:
            schema["return"] = _schema(hints["return"], "") | ({} if returned is None else {"description": returned})
        except ValueError:
            pass  # no model writes what a function returns
    return {"type": "function", "function": schema}


def _sections(text: str) -> tuple[str, dict[str, str], str | None]:
    """The description of a function in its docstring, those of its arguments, and that of its result."""
    blocks: dict[str, list[str]] = {"": []}
    current = ""
    for line in text.split("\n"):
        if line.strip() in _SECTIONS:
            current = line.strip()
            blocks[current] = []
        else:
            blocks[current].append(line)
    described: dict[str, str] = {}
    last, outer = "", 0
    for line in filter(str.strip, blocks.get("Args:", [])):
        depth, found = len(line) - len(line.lstrip()), _ARGUMENT.match(line.strip())
        if found and (not described or depth <= outer):
            last, outer = found[1], depth
            described[last] = found[2].strip()
        elif last:
            described[last] = f"{described[last]} {line.strip()}".strip()
    returned = "\n".join(blocks["Returns:"]).strip() if "Returns:" in blocks else None
    return "\n".join(blocks[""]).strip(), described, returned


def _description(text: str, where: str) -> dict[str, Any]:
    choices = _CHOICES.search(text)
    if choices is None:
        return {"description": text}
    try:
        values = json.loads(choices[1])
    except ValueError:
        raise ValueError(
            f'Expected choices of the argument {where} as JSON, (choices: ["a", "b"]), got {choices[0]!r}.'
        ) from None
    values = [value.strip() if isinstance(value, str) else value for value in values]
    return {"enum": values, "description": text[: choices.start()].strip()}


def _schema(hint: Any, where: str) -> dict[str, Any]:
    """The JSON schema of a type hint."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _one_of([member.value for member in hint], hint, where)
    if hint is Any:
        return {}
    bare = origin or hint
    if not parts and bare in _TYPES:
        return {"type": _TYPES[bare]}
    if origin in (Union, types.UnionType):
        return _union(parts, where)
    if origin is Literal:
        return _one_of(parts, hint, where)
    if origin in _ITEMS:
        key, place = _ITEMS[origin]
        return {"type": _TYPES[origin], key: _schema(parts[place], where)}
    if origin is tuple and len(parts) > 1 and ... not in parts:
        return {"type": "array", "prefixItems": [_schema(part, where) for part in parts]}
    raise ValueError(
        f"Expected a type hint that JSON has a word for, for the argument {where}, got {hint!r}. Use int, float, str, "
        "bool, list, dict, Literal or an Enum, or write the JSON schema of the tool yourself."
    )


def _union(parts: Sequence[Any], where: str) -> dict[str, Any]:
    schemas = [_schema(part, where) for part in parts if part is not type(None)]
    if len(schemas) == 1:
        union = schemas[0]
    elif all(each.keys() == {"type"} and isinstance(each["type"], str) for each in schemas):
        names = sorted({each["type"] for each in schemas})
        union = {"type": names[0] if len(names) == 1 else names}
    else:
        union = {"anyOf": schemas}
    return union | ({"nullable": True} if type(None) in parts else {})


def _one_of(values: Sequence[Any], hint: Any, where: str) -> dict[str, Any]:
    if not values or any(type(value) not in _SCALARS for value in values):
        raise ValueError(
            f"Expected strings, numbers, booleans or None to choose from for the argument {where}, got {hint!r}."
        )
    names = list(dict.fromkeys(_SCALARS[type(value)] for value in values))
    return {"type": names[0] if len(names) == 1 else names, "enum": list(values)}
