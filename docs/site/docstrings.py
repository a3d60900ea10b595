"""An extension of griffe, the reader of docstrings: it renames their sections, and shows records as dataclasses."""

import re
import typing

import griffe

# Our names of sections → those of the reader, perhaps with a title.
_SECTIONS = {
    "Example": "Examples:",
    "Call arguments": "Other Parameters: Call arguments:",
}
_LINES = re.compile(r"^(Shape|Source|Returns|Legend|Call arguments): (?=\S)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Prepare each docstring of the package for the reader of Google's style."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: typing.Any) -> None:
        if obj.docstring is None:
            return
        text = obj.docstring.value
        for ours, theirs in _SECTIONS.items():
            text = re.sub(rf"^{ours}:$", theirs, text, flags=re.MULTILINE)
        obj.docstring.value = _LINES.sub(lambda found: f"**{found[1]}:** ", text)

    def on_class_members(self, *, cls: griffe.Class, **kwargs: typing.Any) -> None:
        """`@record` makes a dataclass: its fields are the arguments of its constructor."""
        if "__init__" in cls.members or not any(str(made.value).endswith("record") for made in cls.decorators):
            return
        fields = [
            each
            for each in cls.members.values()
            if each.is_attribute and each.annotation and "ClassVar" not in str(each.annotation)
        ]
        parameters = [griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)]
        parameters += [
            griffe.Parameter(
                field.name,
                annotation=field.annotation,
                kind=griffe.ParameterKind.positional_or_keyword,
                default=field.value,
            )
            for field in fields
        ]
        made = griffe.Function("__init__", parameters=griffe.Parameters(*parameters), returns="None", parent=cls)
        cls.set_member("__init__", made)
