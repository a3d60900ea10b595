"""`/translate`, in our form and in LibreTranslate's, and `/languages`, `/detect`.

Source: https://docs.libretranslate.com/api/operations/translate/
"""

import html
import re
import typing

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import Field
from starlette.requests import Request

from keras_transformers.apps.serving.desk import Desk
from keras_transformers.apps.serving.forms import Form, Texts, as_list, read
from keras_transformers.apps.serving.operations import Translate, options
from keras_transformers.apps.serving.refusals import Refused
from keras_transformers.apps.serving.served import Served
from keras_transformers.data.language_names import language_of

_ENTITY = re.compile(r"&#?\w+;")
_PROTECTED = ("tags", re.compile("&[lg]t;"))
_BARE = re.compile("&(?![lg]t;)")


class TranslationForm(Form):
    """Texts to translate."""

    texts: Texts
    source_language: str | None = None
    target_language: str | None = None
    model: str | None = None
    num_beams: typing.Annotated[int, Field(ge=1, le=32)] | None = None
    max_new_tokens: typing.Annotated[int, Field(ge=1)] | None = None
    documents: bool = True


class LibreForm(Form):
    """LibreTranslate's fields."""

    inert = frozenset({"api_key", "secret"})

    q: Texts
    source: str
    target: str
    format: typing.Literal["text", "html"] = "text"
    alternatives: typing.Annotated[int, Field(ge=0, le=16, strict=False)] = 0
    model: str | None = None


def router(desk: Desk) -> APIRouter:
    """The routes of these forms."""
    routes = APIRouter()

    @routes.post("/translate")
    async def translate(request: Request) -> Response:
        values = await desk.values(request)
        if "q" in values:
            return JSONResponse(await _libre(desk, request, read(LibreForm, values)))
        form = read(TranslationForm, values)
        texts = as_list(form.texts)
        desk.check_texts(texts)
        model = _translator(desk, form.model, form.source_language, form.target_language)
        limit = desk.limits.max_new_tokens
        if form.max_new_tokens is not None and form.max_new_tokens > limit:
            raise Refused(
                400, f"Expected max_new_tokens of at most {limit}, got {form.max_new_tokens}.", "invalid_value"
            )
        given = options(
            **model.direction(form.source_language, form.target_language),
            num_beams=form.num_beams,
            max_new_tokens=form.max_new_tokens,
        )
        found, job = await desk.answer(request, model, Translate(given, form.documents), texts)
        desk.metrics.tokens(model.name, sum(job.lengths))
        return JSONResponse({"translations": found, "model": model.name})

    @routes.get("/languages")
    async def languages(request: Request) -> Response:
        await desk.values(request) if request.headers.get("content-length", "0") != "0" else desk.check_key(request)
        targets: dict[str, list[str]] = {}
        for model in desk.models.values():
            if "translate" in model.abilities:
                for source, own in model.languages().items():
                    targets[source] = list(dict.fromkeys([*targets.get(source, []), *own]))
        return JSONResponse([{"code": code, "name": _name(code), "targets": targets[code]} for code in sorted(targets)])

    @routes.post("/detect")
    async def detect(request: Request) -> Response:
        raise Refused(501, "This server detects no languages. Name the source language.", "not_implemented")

    return routes


def _name(code: str) -> str:
    language = language_of(code)
    return code if language is None else language.names[0]


def _translator(desk: Desk, name: str | None, source: str | None, target: str | None) -> Served:
    """The model of a name; without one, the first that says it knows both languages, else the first."""
    model = desk.find(name, "translate")
    if name is not None or source is None or target is None:
        return model
    wanted = language_of(source), language_of(target)
    for each in desk.models.values():
        pairs = each.languages().items() if "translate" in each.abilities else ()
        if any((language_of(a), language_of(b)) == wanted for a, targets in pairs for b in targets):
            return each
    return model


def _plain(match: re.Match[str]) -> str:
    """The character of an entity, unless it would be markup; "&" is written as an entity again in the translation."""
    character = html.unescape(match[0])
    return {"<": "&lt;", ">": "&gt;"}.get(character, character)


def _markup(found: typing.Any) -> typing.Any:
    return _BARE.sub("&amp;", found) if isinstance(found, str) else [_BARE.sub("&amp;", each) for each in found]


async def _libre(desk: Desk, request: Request, form: LibreForm) -> dict[str, typing.Any]:
    texts = as_list(form.q)
    desk.check_texts(texts)
    source = form.source
    if source == "auto":
        sources = list(_translator(desk, form.model, None, None).languages())
        if len(sources) != 1:
            raise Refused(
                400,
                f"Expected a source language, of {', '.join(sources) or 'those of the model'}, got 'auto': this server "
                "detects no languages.",
                "not_implemented",
            )
        source = sources[0]
    model = _translator(desk, form.model, source, form.target)
    given = model.direction(source, form.target)
    if form.format == "html":
        texts = [_ENTITY.sub(_plain, text) for text in texts]
        given["protect"] = _PROTECTED
    count = form.alternatives + 1
    if count > 1:
        beams = max(count, model.task.generation.num_beams)
        given |= {"num_return_sequences": count, "num_beams": beams}
    found, job = await desk.answer(request, model, Translate(options(**given), count == 1), texts)
    desk.metrics.tokens(model.name, sum(job.lengths))
    if form.format == "html":
        found = [_markup(each) for each in found]
    best = [each if count == 1 else each[0] for each in found]
    others = [[] if count == 1 else each[1:] for each in found]
    answer: dict[str, typing.Any] = {"translatedText": best if isinstance(form.q, list) else best[0]}
    if count > 1:
        answer["alternatives"] = others if isinstance(form.q, list) else others[0]
    return answer
