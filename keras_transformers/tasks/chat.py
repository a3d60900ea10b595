"""A chat with a language model."""

import typing
from collections.abc import Iterator, Sequence

from keras_transformers.generation.settings import names_a_limit


class Chat:
    """A conversation. Earlier messages are not recomputed: the cache of the last reply is kept, and each turn computes
    only its own tokens. After training, begin a new chat.

    Args:
        model: a `CausalLM` whose tokenizer has a chat template.
        messages: the earlier messages, a list of dictionaries `{"role": "user", "content": "…"}`.
        tools: functions or JSON schemas that the model may call, as for `Tokenizer.apply_chat_template`.
        template_variables: further variables of the template, by name.
        **generation: fields of `GenerationConfig`, for every reply.

    Attributes:
        messages: all messages, as a list of such dictionaries. You may change it: the unchanged beginning is still not
            recomputed.

    Example:
        >>> chat = lm.chat(system="Answer in one sentence.", max_new_tokens=100)
        >>> chat.send("What is a transformer?")
        >>> chat.send("And an encoder?")
    """

    def __init__(
        self,
        model: typing.Any,
        messages: Sequence[dict[str, typing.Any]] = (),
        tools: Sequence[typing.Any] | None = None,
        template_variables: dict[str, typing.Any] | None = None,
        **generation: typing.Any,
    ) -> None:
        model._check_effect(model.generation_config(**generation), generation)
        self.messages = list(messages)
        self._template = {"add_generation_prompt": True, "tools": tools, **(template_variables or {})}
        self._model, self._generation, self._reader = model, generation, model.reader()

    def send(self, text: str, **generation: typing.Any) -> str:
        """Send a message and return the reply, a string. `generation` changes settings for this reply only."""
        return "".join(self.stream(text, **generation))

    def reply(self, **generation: typing.Any) -> str:
        """The reply to the current messages, a string. The last message is from the user or from a tool."""
        return "".join(self._pieces(self.messages, generation))

    def stream(self, text: str, **generation: typing.Any) -> Iterator[str]:
        """Send a message and stream the reply: an iterator of strings. If you stop early, the pieces so far are kept as
        the reply."""
        return self._pieces([*self.messages, {"role": "user", "content": text}], generation)

    def _pieces(self, messages: list[dict[str, typing.Any]], generation: dict[str, typing.Any]) -> Iterator[str]:
        model = self._model
        config = model.generation_config(
            **{"num_beams": 1, "num_return_sequences": 1, **self._generation, **generation}
        )
        model._check_effect(config, generation)
        ids = model.tokenizer.apply_chat_template(messages, tokenize=True, **self._template)
        limited = names_a_limit({**self._generation, **generation})
        pieces = model.stream_ids(ids, config, self._reader, limited=limited)

        def said() -> Iterator[str]:
            reply = ""
            try:
                for piece in pieces:
                    reply += piece
                    yield piece
            finally:
                self.messages = [*messages, {"role": "assistant", "content": reply}]

        return said()
