"""Where a folder keeps its chat templates, and which of them counts.

    chat_template.jinja                         the one named "default"
    additional_chat_templates/<name>.jinja      others, such as "tool_use"
    tokenizer_config.json, chat_template        one, or a list of several by name; read if none of the above is there
    chat_template.json                          one; read if no other is there

Transformers reads them so, too; the last is read by its processors only.
"""

import json
import pathlib
import warnings
from collections.abc import Mapping
from typing import Any

from keras_transformers.callers import outside
from keras_transformers.files.reading import is_plain, read_bytes, read_object, read_text

DEFAULT, TOOL_USE = "default", "tool_use"
TEMPLATE_FILE = "chat_template.jinja"
_OTHERS = "additional_chat_templates"
_PROCESSOR_FILE = "chat_template.json"


def template_files(folder: pathlib.Path, config: Mapping[str, Any]) -> dict[str, bytes]:
    """The files that hold chat templates, by their names in the folder, to be saved again.

    Warns if one of them is passed over although it differs from the ones that count.

    Args:
        folder: of a tokenizer.
        config: the content of `tokenizer_config.json`.

    Raises:
        ValueError: for a file that is not in UTF-8, or has no template in it.
    """
    paths = [folder / TEMPLATE_FILE, *sorted((folder / _OTHERS).glob("*.jinja")), folder / _PROCESSOR_FILE]
    files = {str(path.relative_to(folder).as_posix()): read_bytes(path) for path in paths if is_plain(path)}
    for name in files:
        read_text(folder / name)  # for its error
    sources = [name for name in files if name != _PROCESSOR_FILE]
    stated = {"tokenizer_config.json": _of_config(config.get("chat_template"))}
    if _PROCESSOR_FILE in files:
        stated[_PROCESSOR_FILE] = _of_config(read_object(folder / _PROCESSOR_FILE).get("chat_template"))
    used = named_templates({**files, _PROCESSOR_FILE: b""} if sources else files, config)
    passed_over = [name for name, each in stated.items() if each and each != used]
    if passed_over:
        warnings.warn(
            f"The chat templates in {folder} differ: {' and '.join(passed_over)} says otherwise than "
            f"{' and '.join(sources) or 'tokenizer_config.json'}, which counts, as in transformers.",
            stacklevel=outside(),
        )
    return files


def named_templates(files: Mapping[str, bytes], config: Mapping[str, Any]) -> dict[str, str]:
    """The chat templates that count, by name.

    Args:
        files: from `template_files`.
        config: the content of `tokenizer_config.json`.
    """
    named = {
        DEFAULT if name == TEMPLATE_FILE else pathlib.PurePosixPath(name).stem: content.decode("utf-8")
        for name, content in files.items()
        if name.endswith(".jinja")
    }
    if named:
        return named
    if (of_config := _of_config(config.get("chat_template"))) or not files.get(_PROCESSOR_FILE):
        return of_config
    return _of_config(json.loads(files[_PROCESSOR_FILE]).get("chat_template"))


def chosen(named: Mapping[str, str], template: str | None, has_tools: bool) -> str:
    """The template to use.

    Args:
        named: from `named_templates`.
        template: the name of one of them, or jinja2 itself; None for "tool_use" or "default".
        has_tools: whether there are tools, for which "tool_use" is used if it is there.

    Raises:
        ValueError: if there is none.
    """
    if template is not None:
        return named.get(template, template)
    if not named:
        raise ValueError("Expected a tokenizer with a chat template, got one without. Give template=, in jinja2.")
    if has_tools and TOOL_USE in named:
        return named[TOOL_USE]
    if DEFAULT in named:
        return named[DEFAULT]
    raise ValueError(
        f"Expected a chat template named {DEFAULT!r}, got {', '.join(sorted(named))}. Name one of them, template=."
    )


def _of_config(value: Any) -> dict[str, str]:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        return {DEFAULT: value}
    listed = [value] if isinstance(value, dict) else value
    named: dict[str, str] = {}
    try:
        for each in listed:
            named |= {each["name"]: each["template"]} if "name" in each else each
    except (TypeError, KeyError, ValueError):
        named = {"": None}  # type: ignore[dict-item]
    if not all(isinstance(part, str) for pair in named.items() for part in pair):
        raise ValueError(
            f"Expected chat_template to be a string, or a list of objects with name and template, got {value!r:.80}. "
            "Mend the file."
        )
    return named
