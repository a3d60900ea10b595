"""Chats as the text that a model was trained on: templates of Hugging Face's, which come with a checkpoint.

A template is a program, in jinja2, by whoever published the checkpoint. It is run in jinja2's sandbox, which keeps what
it can reach to the messages and a few functions: no files, no modules, nothing of Python's inside. What goes in is
plain data: strings, numbers, lists and dictionaries.

    [{"role": "user", "content": "Hi"}]  ── template ──►  "<|im_start|>user\\nHi<|im_end|>\\n"
"""

import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from keras_transformers.extras import require

TEMPLATE_FILE = "chat_template.jinja"


def render(template: str, messages: Sequence[Mapping[str, Any]], **variables: Any) -> str:
    """A chat as a template writes it.

    Args:
        template: jinja2 source, as `chat_template` in `tokenizer_config.json` holds it.
        messages: a list of dictionaries with "role", and "content" as a rule.
        **variables: what else the template may read: `add_generation_prompt`, `bos_token`, `tools`, …

    Raises:
        ImportError: without jinja2.
        TypeError: for messages that are none.
        ValueError: for a template that is broken, refuses these messages, or reaches for what the sandbox denies it.

    Example:
    ```python
    render("{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}", [{"role": "user", "content": "Hi"}])
    ```
    """
    require("chat", jinja2=True)
    import jinja2

    values = {name: _plain(value) for name, value in variables.items()} | {"messages": checked_messages(messages)}
    try:
        return _compiled(template).render(values)
    except jinja2.exceptions.SecurityError as error:
        raise ValueError(
            f"Expected a chat template that reads messages only, got one that reaches further: {error}. Do not trust "
            "where it comes from; give another, template=."
        ) from None
    except jinja2.exceptions.TemplateSyntaxError as error:
        raise ValueError(
            f"Expected a chat template in jinja2, got a broken one: {error.message} (line {error.lineno}). Give "
            "another, template=."
        ) from None
    except (jinja2.exceptions.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected messages that the chat template takes, got {' '.join(str(each['role']) for each in messages)}: "
            f"{error}"
        ) from None


def checked_messages(messages: Any) -> list[dict[str, Any]]:
    """Messages as plain data."""
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        raise TypeError(
            f"Expected a list of messages, got {type(messages).__name__}. Write [{{'role': 'user', 'content': '…'}}]."
        )
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or "role" not in message:
            raise TypeError(
                f"Expected messages to be dictionaries with a role and a content, got {message!r:.80} at index {index}."
            )
    return _plain(messages)


def _plain(value: Any) -> Any:
    """A copy out of plain data alone: an object has methods, and a template could call them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, str):
        return str(value)
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    raise TypeError(f"Expected strings, numbers, lists and dictionaries in a chat, got {type(value).__name__}.")


@functools.lru_cache(maxsize=32)
def _compiled(template: str) -> Any:
    import jinja2.ext
    import jinja2.sandbox
    import jinja2.utils

    class Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
        def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
            raise jinja2.exceptions.SecurityError(f"{attribute!r} of {type(obj).__name__}")

    class Generation(jinja2.ext.Extension):
        """`{% generation %} … {% endgeneration %}`, around what the model says: read, and passed over."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    class Namespace(jinja2.utils.Namespace):
        """jinja2's, without names that begin with an underscore."""

        def __init__(*args: Any, **kwargs: Any) -> None:
            jinja2.utils.Namespace.__init__(*args, **kwargs)
            for name in dict(*args[1:], **kwargs):
                _public(name)

        def __setitem__(self, name: str, value: Any) -> None:
            _public(name)
            super().__setitem__(name, value)

    def _public(name: Any) -> None:
        if str(name).startswith("_"):
            raise jinja2.exceptions.SecurityError(f"the name {name!r}")

    def raise_exception(message: Any) -> None:
        raise jinja2.exceptions.TemplateError(str(message))

    def strftime_now(layout: str) -> str:
        return datetime.datetime.now().strftime(layout)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        # jinja2's own writes & and < for HTML
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals = {
        "range": jinja2.sandbox.safe_range,
        "dict": lambda *args, **kwargs: dict(*args, **kwargs),  # not the type, which has a way up
        "namespace": Namespace,
        "raise_exception": raise_exception,
        "strftime_now": strftime_now,
    }
    return environment.from_string(template)
