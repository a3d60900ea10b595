"""Chats as the text that a model was trained on, by the chat template of its checkpoint.

A template is a program, in jinja2, by whoever published the checkpoint. It runs in a sandbox and within bounds
(`sandbox.py`). It reads plain data: strings, numbers, lists and dictionaries.

    [{"role": "user", "content": "Hi"}]  ── template ──►  "<|im_start|>user\\nHi<|im_end|>\\n"
"""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_transformers.callers import outside
from keras_transformers.extras import require
from keras_transformers.spelling import did_you_mean
from keras_transformers.tokenizers.chat.tool_schemas import tool_schema

# Further options of transformers' `apply_chat_template`: the values that change nothing here, and advice for others.
_ELSEWHERE: dict[str, tuple[tuple[Any, ...], str]] = {
    "chat_template": ((None,), "Write template="),
    "conversation": ((), "Give the messages as the first argument"),
    "max_length": ((None,), "Cut the list of ids that tokenize=True returns"),
    "padding": ((False, None, "do_not_pad"), "Pad the ids with packing.pack"),
    "return_assistant_tokens_mask": ((False,), "CausalLM.fit finds what the assistant says by itself"),
    "return_dict": ((False,), "tokenize=True returns a list of ids; a dictionary is {'token_ids': np.array([ids])}"),
    "return_tensors": ((None,), "tokenize=True returns a list of ids; an array is np.array([ids])"),
    "sanitize_control_tokens": ((False,), "Take special tokens out of the messages first"),
    "tokenizer_kwargs": ((None, {}), "Render text, and give it to encode"),
    "truncation": ((False, None), "Cut the list of ids that tokenize=True returns"),
}
# Names under which the reasoning of a message is given; templates read the first, and some the second.
_REASONING = ("reasoning_content", "thinking", "reasoning")
_HERE_IT_ENDS = "END_OF_FINAL_MESSAGE "


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None = None,
    documents: Sequence[Mapping[str, Any]] | None = None,
    continue_final_message: bool | str = False,
    **variables: Any,
) -> str:
    """A chat as a template writes it.

    Args:
        template: jinja2 source, as `chat_template` in `tokenizer_config.json` holds it.
        messages: a list of dictionaries with "role", and usually "content". Keys without a value (None) are left out.
        tools: JSON schemas, or functions, of which schemas are made: see `tool_schemas.tool_schema`.
        documents: dictionaries, usually with "title" and "text".
        continue_final_message: whether the text ends with the last message, so that the model goes on with it;
            or the name of the field to go on with, instead of "content".
        **variables: other variables of the template: `add_generation_prompt`, `bos_token`, `enable_thinking`, …

    Raises:
        ImportError: without jinja2.
        TypeError: for messages, tools or documents of other types.
        ValueError: for a template that is broken, passes the bounds, refuses these messages, or reaches for
            anything that the sandbox denies it.

    Example:
    ```python
    render("{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}", [{"role": "user", "content": "Hi"}])
    ```
    """
    require("chat", jinja2=True)
    chat = [
        _reasoned({key: value for key, value in each.items() if value is not None})
        for each in _checked_messages(messages)
    ]
    values = {name: _plain(value) for name, value in variables.items()}
    values |= {"messages": chat, "tools": _schemas(tools), "documents": _documents(documents)}
    if not continue_final_message:
        return _run(template, values)
    if variables.get("add_generation_prompt"):
        raise ValueError(
            "Expected add_generation_prompt, which begins a new message, or continue_final_message, which goes on with "
            "the last, got both. Give one of the two."
        )
    field = continue_final_message if isinstance(continue_final_message, str) else "content"
    if not chat:
        raise ValueError("Expected a last message to go on with, got no messages. Leave continue_final_message out.")
    said = _mark_end(chat[-1], field)
    text = _run(template, values)
    before, mark, _ = text.rpartition(_HERE_IT_ENDS.strip())
    if not mark or said.strip() not in before:
        raise ValueError(
            f"Expected a chat template that writes the {field!r} of the last message, to go on with, got one that does "
            f"not write {said[-80:]!r}. Let it begin a new message: add_generation_prompt=True."
        )
    # A template that trims its messages has taken the mark's space: then the message's own is gone too.
    return before if text[len(before) :].startswith(_HERE_IT_ENDS) else before.rstrip()


def template_variables(options: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of the template among the options of `Tokenizer.apply_chat_template`.

    Raises:
        TypeError: for an option of transformers' method of this name that does not exist here.
    """
    variables = {name: value for name, value in options.items() if name not in _ELSEWHERE}
    for name in options.keys() - variables.keys():
        value, (inert, advice) = options[name], _ELSEWHERE[name]
        if not any(type(value) is type(each) and value == each for each in inert):
            raise TypeError(
                f"Expected options of Tokenizer.apply_chat_template, got {name}={value!r:.80}, which transformers has. "
                f"{advice}."
            )
    return variables


def warn_unread(template: str, names: Iterable[str]) -> None:
    """Warn of variables that are given and that the template does not read; for `Tokenizer.apply_chat_template`."""
    read = _read(template)
    unread = [name for name in names if name not in read]
    if unread:
        listed = ", ".join(name + did_you_mean(name, sorted(read)) for name in unread)
        warnings.warn(
            f"The chat template does not read {listed}, which changes nothing. It reads {', '.join(sorted(read))}.",
            stacklevel=outside(),
        )


def _checked_messages(messages: Any) -> list[dict[str, Any]]:
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


def _reasoned(message: dict[str, Any]) -> dict[str, Any]:
    """A message with its reasoning under each name that templates read."""
    reasoning = next((message[name] for name in _REASONING if message.get(name) is not None), None)
    return message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}


def _schemas(tools: Any) -> list[Any] | None:
    if tools is None:
        return None
    if isinstance(tools, (str, bytes, Mapping)) or callable(tools) or not isinstance(tools, Sequence):
        raise TypeError(
            f"Expected a list of tools, got {type(tools).__name__}. Write tools=[function], or a list of JSON schemas."
        )
    schemas = []
    for index, tool in enumerate(tools):
        if inspect.isfunction(tool) or inspect.ismethod(tool):
            tool = tool_schema(tool)
        elif not isinstance(tool, Mapping):
            raise TypeError(
                f"Expected tools to be functions or JSON schemas, got {type(tool).__name__} at index {index}. Wrap it "
                "in a function with type hints and a docstring."
            )
        schemas.append(_plain(tool))
    return schemas


def _documents(documents: Any) -> list[Any] | None:
    if documents is None:
        return None
    listed = isinstance(documents, Sequence) and not isinstance(documents, (str, bytes))
    if not listed or not all(isinstance(each, Mapping) for each in documents):
        raise TypeError(
            f"Expected documents to be a list of dictionaries, got {documents!r:.80}. Write "
            "[{'title': '…', 'text': '…'}]."
        )
    return _plain(documents)


def _mark_end(message: dict[str, Any], field: str) -> str:
    """Put a mark behind the text to go on with, and return the text."""
    said = message.get(field)
    names = [name for name in _REASONING if message.get(name) == said] if field in _REASONING else [field]
    if isinstance(said, str):
        message |= {name: said + _HERE_IT_ENDS for name in names}
        return said
    parts = [part for part in said if isinstance(part, dict)] if isinstance(said, list) else []
    part = next((part for part in reversed(parts) if isinstance(part.get("text"), str)), None)
    if part is None:
        raise ValueError(
            f"Expected a last message with {field!r} to go on with, got {said!r:.80}. Add what it begins with."
        )
    said = part["text"]
    part["text"] = said + _HERE_IT_ENDS
    return said


def _plain(value: Any) -> Any:
    """A copy of plain data alone: an object has methods, and a template could call them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, str):
        return str.__str__(value)
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    raise TypeError(f"Expected strings, numbers, lists and dictionaries in a chat, got {type(value).__name__}.")


def _run(template: str, values: dict[str, Any]) -> str:
    import jinja2

    from keras_transformers.tokenizers.chat.meter import TooMuch
    from keras_transformers.tokenizers.chat.sandbox import run

    try:
        return run(_compiled(template), values)
    except TooMuch as error:
        raise ValueError(
            f"Expected a chat template that writes a chat, got one that {error}. Do not trust where it comes from; "
            "give another, template=."
        ) from None
    except jinja2.exceptions.SecurityError as error:
        raise ValueError(
            f"Expected a chat template that reads messages only, got one that reaches further: {error}. Do not trust "
            "where it comes from; give another, template=."
        ) from None
    except Exception as error:  # a stranger's program may raise any
        roles = " ".join(str(each["role"]) for each in values["messages"])
        raise ValueError(
            f"Expected messages that the chat template takes, got {roles[:200]}: "
            f"{str(error)[:1000] or type(error).__name__}"
        ) from None


@functools.lru_cache(maxsize=1)
def _sandbox() -> Any:
    from keras_transformers.tokenizers.chat.sandbox import Sandbox

    return Sandbox()


@functools.lru_cache(maxsize=32)
def _compiled(template: str) -> Any:
    return _understood(template, _sandbox().from_string)


@functools.lru_cache(maxsize=32)
def _read(template: str) -> frozenset[str]:
    """The variables that a template reads."""
    import jinja2.meta

    environment = _sandbox()
    return frozenset(
        _understood(template, lambda source: jinja2.meta.find_undeclared_variables(environment.parse(source)))
    )


def _understood(template: Any, understand: Callable[[str], Any]) -> Any:
    """The result of `understand(template)`, or a `ValueError` that names the problem of the template."""
    require("chat", jinja2=True)
    import jinja2

    from keras_transformers.tokenizers.chat.sandbox import LONGEST_TEMPLATE

    advice = "Give another, template=."
    if not isinstance(template, str):
        raise ValueError(f"Expected a chat template in jinja2, a string, got {template!r:.80}. {advice}")
    if len(template) > LONGEST_TEMPLATE:
        raise ValueError(
            f"Expected a chat template of at most {LONGEST_TEMPLATE} characters, got {len(template)}. {advice}"
        )
    try:
        return understand(template)
    except jinja2.exceptions.TemplateSyntaxError as error:
        raise ValueError(
            f"Expected a chat template in jinja2, got a broken one: {error.message} (line {error.lineno}). {advice}"
        ) from None
    except Exception as error:  # nested too deep for jinja2, or for Python
        raise ValueError(
            f"Expected a chat template in jinja2, got one that cannot be compiled: "
            f"{str(error)[:200] or type(error).__name__}. {advice}"
        ) from None
