"""OpenAI's forms: `/v1/models`, `/v1/completions`, `/v1/chat/completions`, `/v1/embeddings`.

Source: https://platform.openai.com/docs/api-reference
"""

import base64
import json
import time
import typing
import uuid
from collections.abc import AsyncIterator, Sequence

import numpy as np
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import Field
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from keras_transformers.apps.serving.batching import Job, refusal
from keras_transformers.apps.serving.desk import Desk
from keras_transformers.apps.serving.forms import Form, Texts, as_list, read
from keras_transformers.apps.serving.operations import Choice, Continue, Embed, Piece, options
from keras_transformers.apps.serving.refusals import Refused
from keras_transformers.apps.serving.served import Served
from keras_transformers.generation.settings import NEW_TOKENS, GenerationConfig

INERT = frozenset({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"})
# Options that this server lacks, with the values that change nothing.
NEUTRAL: dict[str, tuple[typing.Any, ...]] = {
    "audio": (None,),
    "best_of": (None, 1),
    "function_call": (None, "none"),
    "functions": (None, []),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "modalities": (None, ["text"]),
    "parallel_tool_calls": (None, True, False),
    "prediction": (None,),
    "reasoning_effort": (None,),
    "response_format": (None, {"type": "text"}),
    "suffix": (None, ""),
    "tool_choice": (None, "none"),
    "tools": (None, []),
    "top_logprobs": (None, 0),
    "verbosity": (None,),
}
MOST_CHOICES = 128  # continuations of a request, which are computed together
SAMPLING = ("temperature", "top_p", "top_k", "min_p")
Count = typing.Annotated[int, Field(ge=1)]


class StreamOptions(Form):
    """Options of a stream."""

    include_usage: bool = False


class _Continuing(Form):
    inert = INERT
    neutral = NEUTRAL

    model: str | None = None
    max_tokens: Count | None = None
    temperature: typing.Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: typing.Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Count | None = None
    min_p: typing.Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: typing.Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: typing.Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: typing.Annotated[float, Field(gt=0, le=100)] | None = None
    seed: typing.Annotated[int, Field(ge=0, lt=2**31)] | None = None
    n: typing.Annotated[int, Field(ge=1, le=32)] | None = None
    stop: str | typing.Annotated[list[str], Field(max_length=16)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    def limit(self) -> int | None:
        """The most new tokens."""
        return self.max_tokens

    def config(self, task: typing.Any, most: int) -> GenerationConfig:
        """The generation settings: those of the preset, with the changes of the request, as in
        `keras-transformers generate`.

        Args:
            task: a `CausalLM`.
            most: the most new tokens that the server allows.

        Raises:
            Refused, ValueError: for settings that contradict each other.
        """
        names = ("presence_penalty", "frequency_penalty", "repetition_penalty", "seed", *SAMPLING)
        changes: dict[str, typing.Any] = dict(options(**{name: getattr(self, name) for name in names}))
        if not changes.keys().isdisjoint(SAMPLING):
            changes["do_sample"] = self.temperature != 0
        if self.temperature == 0:
            changes = {name: value for name, value in changes.items() if name not in SAMPLING}
        if self.stop:
            changes["stop"] = tuple(as_list(self.stop))
        changes["num_return_sequences"] = self.n or 1
        if self.stream or changes.get("do_sample") or self.stop:
            changes["num_beams"] = 1
        limit = self.limit()
        if limit is not None and limit > most:
            raise Refused(400, f"Expected at most {most} new tokens, got {limit}.", "invalid_value")
        own = task.generation
        if limit is not None or (own.max_new_tokens or own.max_length or NEW_TOKENS) > most:
            changes["max_new_tokens"] = limit or most
        if self.n is not None and self.n > 1 and not changes.get("do_sample", own.do_sample):
            raise Refused(400, f"Expected temperature above 0 with n={self.n}, for texts that differ.", "invalid_value")
        return task.generation_config(**changes)


class CompletionForm(_Continuing):
    """A prompt, or a list of prompts, and how it goes on."""

    prompt: Texts
    echo: bool | None = None


class Part(Form):
    """A part of a message."""

    type: typing.Literal["text"]
    text: str


class Message(Form):
    """A message with a role and a text."""

    neutral = {
        "annotations": (None, []),
        "audio": (None,),
        "function_call": (None,),
        "refusal": (None,),
        "tool_calls": (None, []),
    }

    role: str
    content: str | list[Part]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        """The message as a chat template reads it."""
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        named = {} if self.name is None else {"name": self.name}
        return {"role": "system" if self.role == "developer" else self.role, "content": content, **named}


class ChatForm(_Continuing):
    """A list of messages, and how they go on."""

    messages: typing.Annotated[list[Message], Field(min_length=1, max_length=1024)]
    max_completion_tokens: Count | None = None

    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class EmbeddingForm(Form):
    """Texts to embed."""

    inert = INERT

    input: Texts
    model: str | None = None
    encoding_format: typing.Literal["float", "base64"] = "float"
    dimensions: Count | None = None
    prompt_name: str | None = None
    task: typing.Literal["query", "document"] | None = None
    truncate: bool = False


def described(model: Served) -> dict[str, typing.Any]:
    """The entry of a model in the list of models."""
    own: dict[str, typing.Any] = {"task": model.kind, "abilities": list(model.abilities)}
    if model.kind == "CausalLM":
        own["has_chat_template"] = model.task.tokenizer.chat_template is not None
    return {"id": model.name, "object": "model", "created": 0, "owned_by": "keras-transformers", **own}


def router(desk: Desk) -> APIRouter:
    """The routes of these forms."""
    routes = APIRouter(prefix="/v1")

    @routes.get("/models")
    async def models(request: Request) -> Response:
        desk.check_key(request)
        return JSONResponse({"object": "list", "data": [described(each) for each in desk.models.values()]})

    @routes.get("/models/{name:path}")
    async def model(name: str, request: Request) -> Response:
        desk.check_key(request)
        if name not in desk.models:
            raise Refused(404, f"Expected a model of {', '.join(desk.models)}, got {name!r:.100}.", "model_not_found")
        return JSONResponse(described(desk.models[name]))

    @routes.post("/completions")
    async def completions(request: Request) -> Response:
        form = read(CompletionForm, await desk.values(request))
        prompts = as_list(form.prompt)
        desk.check_texts(prompts)
        count = form.n or 1
        if len(prompts) * count > MOST_CHOICES:
            message = f"Expected at most {MOST_CHOICES} continuations, got {len(prompts)} prompts with n={count}."
            raise Refused(413, message, "too_large")
        before = prompts if form.echo else [""] * len(prompts)
        return await _continued(desk, request, form, prompts, _Completions(before, count))

    @routes.post("/chat/completions")
    async def chat(request: Request) -> Response:
        form = read(ChatForm, await desk.values(request))
        messages = [message.plain() for message in form.messages]
        desk.check_texts([value for message in messages for value in message.values()])
        return await _continued(desk, request, form, [messages], _Chat())

    @routes.post("/embeddings")
    async def embeddings(request: Request) -> Response:
        form = read(EmbeddingForm, await desk.values(request))
        texts = as_list(form.input)
        desk.check_texts(texts)
        served = desk.find(form.model, "embed")
        given = options(truncate_dim=form.dimensions, prompt_name=form.prompt_name, task=form.task)
        vectors, job = await desk.answer(request, served, Embed(given, form.truncate), texts)
        data = [
            {"object": "embedding", "index": index, "embedding": _written(vector, form.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        return JSONResponse({"object": "list", "data": data, "model": served.name, "usage": _usage(desk, served, job)})

    return routes


def _written(vector: np.ndarray, form: str) -> str | list[float]:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if form == "base64" else vector.tolist()


def _usage(desk: Desk, model: Served, job: Job, choices: Sequence[Choice] | None = None) -> dict[str, int]:
    """The tokens of a request, which are counted too."""
    read, written = sum(job.lengths), sum(each.tokens for each in choices or ())
    desk.metrics.tokens(model.name, read, written)
    counts = {"prompt_tokens": read, "total_tokens": read + written}
    return counts if choices is None else {**counts, "completion_tokens": written}


class _Completions:
    """How a completion is written."""

    prefix, kind, kind_of_piece = "cmpl", "text_completion", "text_completion"

    def __init__(self, before: Sequence[str], count: int) -> None:
        self._before, self._count = before, count

    def first(self, index: int) -> dict[str, typing.Any] | None:
        """What a stream of a choice begins with, or None."""
        before = self._before[index // self._count]
        return self.piece(before) if before else None

    def piece(self, text: str) -> dict[str, typing.Any]:
        """The fields of a piece."""
        return {"text": text}

    def whole(self, index: int, text: str) -> dict[str, typing.Any]:
        """The fields of a choice."""
        return {"text": self._before[index // self._count] + text}


class _Chat:
    """How a reply in a chat is written."""

    prefix, kind, kind_of_piece = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def first(self, index: int) -> dict[str, typing.Any] | None:
        return {"delta": {"role": "assistant", "content": ""}}

    def piece(self, text: str) -> dict[str, typing.Any]:
        return {"delta": {"content": text} if text else {}}

    def whole(self, index: int, text: str) -> dict[str, typing.Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}


async def _continued(
    desk: Desk, request: Request, form: _Continuing, inputs: list[typing.Any], style: _Completions | _Chat
) -> Response:
    """The response to a completion or a chat, at once or as a stream."""
    model = desk.find(form.model, "generate")
    is_chat = isinstance(style, _Chat)
    if is_chat and model.task.tokenizer.chat_template is None:
        raise Refused(
            400, f"{model.name!r} has no chat template. Send a prompt to /v1/completions.", "no_chat_template"
        )
    try:
        operation = Continue(form.config(model.task, desk.limits.max_new_tokens), is_chat)
    except ValueError as error:
        raise refusal(error) from None
    head = {"id": f"{style.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model.name}
    if form.stream:
        head["object"] = style.kind_of_piece
        wants_usage = form.stream_options is not None and form.stream_options.include_usage
        pieces, job = desk.stream(model, operation, inputs)
        first = await desk.unless_left(request, anext(pieces))  # an error before it has a status of its own

        async def events() -> AsyncIterator[bytes]:
            async for each in _chunks(first, pieces, style, operation.config.num_return_sequences * len(inputs)):
                if isinstance(each, list):
                    usage = _usage(desk, model, job, each)
                    if wants_usage:
                        yield _event({**head, "choices": [], "usage": usage})
                elif "error" in each:
                    yield _event(each)
                else:
                    yield _event({**head, "choices": [each]})
            yield b"data: [DONE]\n\n"

        return _Stream(events(), job)
    head["object"] = style.kind
    choices, job = await desk.answer(request, model, operation, inputs)
    written = [
        {"index": index, **style.whole(index, each.text), "finish_reason": each.reason, "logprobs": None}
        for index, each in enumerate(choices)
    ]
    return JSONResponse({**head, "choices": written, "usage": _usage(desk, model, job, choices)})


class _Stream(StreamingResponse):
    """A stream of events. If its reader leaves, nobody waits for the job."""

    def __init__(self, events: AsyncIterator[bytes], job: Job) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._job.gone = True


async def _chunks(
    first: typing.Any, pieces: AsyncIterator[typing.Any], style: _Completions | _Chat, count: int
) -> AsyncIterator[typing.Any]:
    """The choices of the chunks of a stream; then the list of `Choice`, or an error."""

    def choice(index: int, fields: dict[str, typing.Any], reason: str | None = None) -> dict[str, typing.Any]:
        return {"index": index, **fields, "finish_reason": reason, "logprobs": None}

    for index in range(count):
        if (fields := style.first(index)) is not None:
            yield choice(index, fields)
    each = first
    try:
        while isinstance(each, Piece):
            yield choice(each.number, style.piece(each.text))
            each = await anext(pieces)
    except Refused as error:
        yield error_of(error)
        return
    for index, whole in enumerate(each):
        yield choice(index, style.piece(""), whole.reason)
    yield each


def _event(values: dict[str, typing.Any]) -> bytes:
    return f"data: {json.dumps(values, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def error_of(error: Refused) -> dict[str, typing.Any]:
    """OpenAI's form of an error."""
    kind = {401: "authentication_error", 404: "not_found_error"}.get(error.status, "invalid_request_error")
    kind = kind if error.status < 500 else "server_error"
    return {"error": {"message": error.message, "type": kind, "param": None, "code": error.code}}
