"""Chats: a checkpoint's templates, and the sandbox that they run in."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_transformers.tokenizers.parts import Parts


def apply_chat_template(
    self: Parts,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Any] | None = None,
    documents: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = False,
    continue_final_message: bool | str = False,
    tokenize: bool = False,
    template: str | None = None,
    **variables: Any,
) -> "str | list[int]":
    """A chat as the text, or the ids, that the model was trained on.

    Args:
        messages: a list of dictionaries, `{"role": "user", "content": "…"}`; roles are "system", "user",
            "assistant", and others that the template knows.
        tools: functions that the model may call, with type hints and a docstring in Google's style, or JSON
            schemas. A template named "tool_use" is used if the tokenizer has one.
        documents: texts that the model may read: a list of dictionaries, `{"title": "…", "text": "…"}`.
        add_generation_prompt: whether the opening of the assistant's next turn follows.
        continue_final_message: whether the chat stays open behind the last message, for the model to go on with
            it; or the name of the field to go on with, such as "reasoning_content".
        tokenize: whether to return ids, special tokens of the template parsed (and also those that a message
            spells, as transformers does).
        template: another template than the tokenizer's own, or the name of one of `chat_templates`.
        **variables: other variables that the template reads, such as `enable_thinking`. One that it does not read is
            warned of.

    Returns:
        A string, or a list of ids. The string holds special tokens already, often the start token too: give it
        to `CausalLM.generate` with `parse_special=True`, which puts no other before it.

    Raises:
        ImportError: without jinja2 (the extra `chat`).
        TypeError: for messages, tools or documents that are no lists, and for options of transformers' method of this
            name that do not exist here.
        ValueError: for a tokenizer without a template, and a template that is broken, passes the bounds of
            `chat/sandbox.py`, refuses these messages, or reaches for anything that the sandbox denies.

    Example:
    ```python
    tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], add_generation_prompt=True)
    ```
    """
    # Few tokenizers chat, and most of these modules serve chats alone.
    from keras_transformers.tokenizers.chat import rendering, templates

    variables = rendering.template_variables(variables)
    template = templates.chosen(self.chat_templates, template, tools is not None)
    special = self.special_tokens.by_role()
    named: dict[str, Any] = {role: token for role, token in special.items() if token is not None} | variables
    named |= {"tools": tools, "documents": documents, "add_generation_prompt": add_generation_prompt}
    text = rendering.render(template, messages, continue_final_message=continue_final_message, **named)
    given = {"tools": tools, "documents": documents} | variables
    rendering.warn_unread(template, (name for name, value in given.items() if value is not None))
    return self.encode([text], parse_special=True)[0] if tokenize else text
