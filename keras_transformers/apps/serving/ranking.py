"""`/rerank`, in the form of Cohere and Jina, and `/classify`.

Source: https://docs.cohere.com/reference/rerank, https://api.jina.ai/docs
"""

import typing
import uuid

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from starlette.requests import Request

from keras_transformers.apps.serving.desk import Desk
from keras_transformers.apps.serving.forms import Form, read
from keras_transformers.apps.serving.operations import Classify, Rank, options


class Document(Form):
    """A document with a text."""

    text: str


class RerankForm(Form):
    """A query, and documents to order."""

    inert = frozenset({"priority", "client_name"})
    neutral = {"max_tokens_per_doc": (None, 4096), "max_chunks_per_doc": (None,), "rank_fields": (None, ["text"])}

    query: str
    documents: list[str | Document]
    model: str | None = None
    top_n: typing.Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False
    truncate: bool = False


class ClassificationForm(Form):
    """A text, a list of texts, or a list of pairs of texts."""

    texts: str | list[str] | list[typing.Annotated[list[str], Field(min_length=2, max_length=2)]]
    model: str | None = None
    labels: typing.Annotated[list[str], Field(min_length=1, max_length=256)] | None = None
    hypothesis: str | None = None
    multi_label: bool | None = None
    top: typing.Annotated[int, Field(ge=1)] | None = 1
    truncate: bool = False


def router(desk: Desk) -> APIRouter:
    """The routes of these forms."""
    routes = APIRouter()

    @routes.post("/rerank")
    @routes.post("/v1/rerank")
    @routes.post("/v2/rerank")
    async def rerank(request: Request) -> Response:
        form = read(RerankForm, await desk.values(request))
        documents = [each if isinstance(each, str) else each.text for each in form.documents]
        desk.check_texts(documents)
        desk.check_texts([form.query, *documents])
        model = desk.find(form.model, "rank")
        found, job = await desk.answer(request, model, Rank(form.truncate), [form.query, *documents])
        tokens = sum(job.lengths)
        desk.metrics.tokens(model.name, tokens)
        results = [
            {
                "index": each["index"],
                "relevance_score": each["score"],
                **({"document": {"text": documents[each["index"]]}} if form.return_documents else {}),
            }
            for each in found[: form.top_n]
        ]
        answer = {"id": uuid.uuid4().hex, "model": model.name, "results": results}
        return JSONResponse({**answer, "usage": {"total_tokens": tokens}, "meta": {"tokens": {"input_tokens": tokens}}})

    @routes.post("/classify")
    async def classify(request: Request) -> Response:
        form = read(ClassificationForm, await desk.values(request))
        texts: list[typing.Any] = [form.texts] if isinstance(form.texts, str) else [*form.texts]
        pairs = bool(texts) and not isinstance(texts[0], str)
        given = [*(form.labels or ()), form.hypothesis or ""]
        desk.check_texts([*given, *(text for pair in texts for text in pair)] if pairs else [*given, *texts])
        desk.check_texts(texts)
        model = desk.find(form.model, "classify")
        arguments = options(
            labels=None if form.labels is None else tuple(form.labels),
            hypothesis=form.hypothesis,
            multi_label=form.multi_label,
        )
        operation = Classify((*arguments, ("top", form.top)), pairs, form.truncate)
        found, job = await desk.answer(request, model, operation, texts)
        desk.metrics.tokens(model.name, sum(job.lengths))
        return JSONResponse({"model": model.name, "results": found})

    return routes
