"""The application: the routes of all forms, errors in each client's form, counts, and the page."""

import pathlib
import time

from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keras_transformers.apps.serving import metrics, openai, ranking, translate
from keras_transformers.apps.serving.desk import Desk
from keras_transformers.apps.serving.refusals import Refused

PAGE = pathlib.Path(__file__).with_name("page.html")


def make_app(desk: Desk) -> FastAPI:
    """The ASGI application of a server.

    Args:
        desk: its models, limits and keys.
    """
    from keras_transformers import __version__

    app = FastAPI(title="Keras Transformers", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    for module in (openai, translate, ranking):
        app.include_router(module.router(desk))
    app.add_middleware(_Counts, desk=desk)

    @app.get("/")
    async def page() -> Response:
        policy = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
        return FileResponse(PAGE, headers={"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"})

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/ready")
    async def ready() -> Response:
        waiting = {name: len(model.worker) for name, model in desk.models.items()}
        return JSONResponse({"ready": desk.is_ready, "models": waiting}, status_code=200 if desk.is_ready else 503)

    @app.get("/metrics")
    async def counts(request: Request) -> Response:
        desk.check_key(request)
        return Response(desk.metrics.text(), media_type=metrics.CONTENT_TYPE)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return _refusal(request, error)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        return _refusal(
            request, Refused(error.status_code, f"{error.detail}: {request.method} {request.url.path:.100}.")
        )

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return _refusal(request, Refused(500, f"The server failed ({type(error).__name__}). Its log says more."))

    return app


def _refusal(request: Request, error: Refused) -> Response:
    """An error, in OpenAI's form below /v1, else in LibreTranslate's."""
    content = openai.error_of(error) if request.url.path.startswith("/v1/") else {"error": error.message}
    return JSONResponse(content, status_code=error.status, headers=error.headers)


class _Counts:
    """Counts each request, with the time to the end of its answer."""

    def __init__(self, app: ASGIApp, desk: Desk) -> None:
        self._app, self._desk = app, desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.monotonic(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._desk.metrics.request(path, status, time.monotonic() - begin)
