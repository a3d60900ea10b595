import enum
import typing
from typing import Any, Literal, Optional, Union

import pytest

from keras_transformers.tokenizers.chat.tool_schemas import tool_schema

pytestmark = pytest.mark.one_backend("torch")


class Unit(enum.Enum):
    CELSIUS = "celsius"
    KELVIN = 3


def basic(a: int, b: float, c: str, d: bool, e: Any):
    """Basic types.

    Args:
        a: An integer.
        b: A number.
        c: A text.
        d: Yes or no.
        e: Whatever.
    """


def defaults(place: str, days: int = 3, exact: bool = False) -> dict:
    """
    The weather of a place,
    over some days.

    Args:
        place: Its name, such as "Paris: Texas".
        days: How many days,
            counted from today: the first is today.

        exact: Whether to be exact
    Returns:
        The weather,
        day by day.

    Raises:
        KeyError: for an unknown place.
    """


def containers(
    a: list[int],
    b: dict[str, float],
    c: tuple[int, str],
    d: list,
    e: dict,
    f: tuple,
    g: list[dict[str, list[int]]],
    h: typing.List,  # noqa: UP006
    i: typing.Dict[str, int],  # noqa: UP006
):
    """Containers.

    Args:
        a: a
        b: b
        c: c
        d: d
        e: e
        f: f
        g: g
        h: h
        i: i
    """


def unions(
    a: Optional[int],  # noqa: UP045
    b: Union[int, str],  # noqa: UP007
    c: int | str | None = None,
    d: list[int] | None = None,
    e: int | list[str] = 1,
    f: list | tuple | None = None,
):
    """Unions.

    Args:
        a: a
        b: b
        c: c
        d: d
        e: e
        f: f
    """


def choices(a: Literal["x", "y"], b: Literal[1, "x", None], c: Unit, d: str, e: int = 1):
    """Choices.

    Args:
        a: a
        b: b
        c: c
        d: A drink (choices: ["tea ", "coffee"])
        e: A number (Choices: [1, 2])
    """


def nothing_to_give():
    """Now."""


def returns(x: int) -> list[str]:
    """Something.

    Args:
        x: A number
    """


def returns_a_class(x: int) -> Unit | object:
    """Something.

    Args:
        x: A number

    Returns:
        An object
    """


class Tools:
    def method(self, x: "int"):
        """A method.

        Args:
            x: A number
        """


FUNCTIONS = [basic, defaults, containers, unions, choices, nothing_to_give, returns, returns_a_class, Tools().method]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_a_schema_is_that_of_transformers(function):
    from transformers.utils import get_json_schema

    expected, schema = get_json_schema(function), tool_schema(function)
    assert schema == expected
    assert list(schema["function"]["parameters"]["properties"]) == list(
        expected["function"]["parameters"]["properties"]
    )
    assert list(schema["function"]) == list(expected["function"])


def test_types_in_a_docstring_are_passed_over():
    def typed(x: int):
        """Twice a number.

        Args:
            x (int): The number.
        """

    assert tool_schema(typed)["function"]["parameters"]["properties"]["x"]["description"] == "The number."


def without_docstring(x: int): ...


def without_hint(x):
    """Something.

    Args:
        x: A number
    """


def without_description(x: int):
    """Something."""


def with_a_class(x: Tools):
    """Something.

    Args:
        x: A number
    """


def with_odd_choices(x: Literal[b"x"]):
    """Something.

    Args:
        x: A number
    """


def with_broken_choices(x: str):
    """Something.

    Args:
        x: A drink (choices: tea, coffee)
    """


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (without_docstring, "Expected a docstring that says what the tool without_docstring does, got none"),
        (without_hint, "Expected a type hint for each argument of the tool without_hint, got none for x"),
        (without_description, "Expected a description of each argument in .* without_description, got none of x"),
        (with_a_class, "Expected a type hint that JSON has a word for, for the argument x of the tool with_a_class"),
        (with_odd_choices, "Expected strings, numbers, booleans or None to choose from for the argument x"),
        (with_broken_choices, "Expected choices of the argument x .* as JSON"),
    ],
)
def test_a_function_that_says_too_little_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        tool_schema(function)
