"""A conversation with a language model."""

import typing
from collections.abc import Iterator, Sequence

from keras_transformers.generation.settings import names_a_limit


class Chat:
    """Messages to and fro. What was said is not read again: the cache of the last reply is kept, and each turn computes
    its own tokens alone. After training, begin a new one.

    Args:
        model: a `CausalLM` whose tokenizer has a chat template.
        messages: what was said before: a list of dictionaries, `{"role": "user", "content": "…"}`.
        tools: what the model may call, as for `Tokenizer.apply_chat_template`.
        template_variables: what else the template reads, by name.
        **generation: fields of `GenerationConfig`, for every reply.

    Attributes:
        messages: all that was said, as a list of such dictionaries. It may be changed: what is the same from the start
            is still not read again.

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
        """Say something: the reply, a string. `generation` changes settings for this one."""
        return "".join(self.stream(text, **generation))

    def reply(self, **generation: typing.Any) -> str:
        """The reply to the messages as they stand, the last of which is the user's: a string."""
        return "".join(self._pieces(self.messages, generation))

    def stream(self, text: str, **generation: typing.Any) -> Iterator[str]:
        """As `send`, piece by piece: an iterator of strings. Where it is left early, what it has given is the reply."""
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
