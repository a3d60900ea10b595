"""Between the routes and the models: who may ask, for which model, how much and for how long."""

import asyncio
import hashlib
import hmac
import time
import typing
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence

from starlette.requests import Request

from keras_transformers.apps.serving.batching import Job, Operation
from keras_transformers.apps.serving.forms import body_of, values_of
from keras_transformers.apps.serving.metrics import Metrics
from keras_transformers.apps.serving.refusals import Refused
from keras_transformers.apps.serving.served import Served
from keras_transformers.apps.serving.settings import Limits
from keras_transformers.spelling import did_you_mean

_T = typing.TypeVar("_T")


class Desk:
    """All that the routes share.

    Args:
        models: the models of the server.
        limits: its limits.
        keys: the keys of clients; none if anybody may ask.
    """

    def __init__(self, models: Sequence[Served], limits: Limits, keys: Iterable[str] = ()) -> None:
        self.models = {model.name: model for model in models}
        self.limits = limits
        self.metrics = Metrics(lambda: {name: len(model.worker) for name, model in self.models.items()})
        self._keys = [_digest(key) for key in keys]
        for model in models:
            model.start(limits, self.metrics)

    @property
    def is_ready(self) -> bool:
        """Whether every model takes requests."""
        return all(model.worker.is_alive for model in self.models.values())

    def stop(self) -> None:
        """Answer what waits, and end the models' threads."""
        for model in self.models.values():
            model.worker.stop()

    # Before a model is asked

    async def values(self, request: Request) -> dict[str, typing.Any]:
        """The fields of a request whose key is right: the header's, or the field `api_key`, as LibreTranslate has it.

        Raises:
            Refused: as `forms.body_of` and `forms.values_of`, and for a wrong key.
        """
        stated = request.headers.get("authorization", "")
        in_header = bool(stated) and self._knows(stated.removeprefix("Bearer "))
        values = values_of(request, await body_of(request, self.limits))
        in_body = values.pop("api_key", None)
        self._check_key(in_header or (isinstance(in_body, str) and self._knows(in_body)))
        return values

    def check_key(self, request: Request) -> None:
        """Refuse a request without a body whose key is wrong."""
        stated = request.headers.get("authorization", "").removeprefix("Bearer ")
        self._check_key(self._knows(stated or request.query_params.get("api_key", "")))

    def _check_key(self, is_known: bool) -> None:
        if self._keys and not is_known:
            raise Refused(
                401,
                "Expected a key of this server, as `Authorization: Bearer KEY`, got none of them.",
                "invalid_api_key",
            )

    def _knows(self, key: str) -> bool:
        digest = _digest(key)  # all keys are compared, in constant time
        return any([hmac.compare_digest(digest, each) for each in self._keys])

    def find(self, name: str | None, ability: str) -> Served:
        """The model of a name that can do something; without a name, the only or first one that can.

        Raises:
            Refused: for an unknown name, or a model that cannot; the error names those that can.
        """
        able = [model for model in self.models.values() if ability in model.abilities]
        if name is None and able:
            return able[0]
        found = self.models.get(name or "")
        if found is None:
            raise Refused(
                404,
                f"Expected a model of {', '.join(self.models)}, got {name!r:.100}"
                f"{did_you_mean(name or '', self.models)}.",
                "model_not_found",
            )
        if found not in able:
            others = " or ".join(each.name for each in able) or "of which there is none here"
            message = f"Expected a model that can {ability}, {others}, got {name!r}, a {found.kind}."
            raise Refused(404, message, "model_not_found")
        return found

    def check_texts(self, texts: Sequence[str]) -> None:
        """Refuse more texts or characters than the limits allow, and characters that are none."""
        limits, characters = self.limits, sum(map(len, texts))
        if not texts:
            raise Refused(400, "Expected a text, got none.", "invalid_value")
        if len(texts) > limits.max_texts:
            raise Refused(413, f"Expected at most {limits.max_texts} texts, got {len(texts)}.", "too_large")
        if characters > limits.max_characters:
            raise Refused(413, f"Expected at most {limits.max_characters} characters, got {characters}.", "too_large")

    # While a model answers

    async def answer(
        self, request: Request, model: Served, operation: Operation, inputs: typing.Any
    ) -> tuple[typing.Any, Job]:
        """The answer, and the job that it answers.

        Raises:
            Refused: if the queue is full, the time is up, the client leaves, or the model refuses the inputs.
        """
        job = Job(operation, inputs)
        model.worker.submit(job)
        try:
            async with asyncio.timeout(self.limits.timeout):
                return await self.unless_left(request, job.answer()), job
        except TimeoutError:
            raise self._too_late() from None
        finally:
            job.gone = True

    async def unless_left(self, request: Request, awaited: Awaitable[_T]) -> _T:
        """The result of `awaited`.

        Raises:
            Refused: if the client leaves before. Nobody reads it, and whatever waits for the result ends.
        """
        result, left = asyncio.ensure_future(awaited), asyncio.ensure_future(_leaving(request))
        try:
            await asyncio.wait((result, left), return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise Refused(499, "The client has left.")
            return result.result()
        finally:
            result.cancel()
            left.cancel()

    def stream(self, model: Served, operation: Operation, inputs: typing.Any) -> tuple[AsyncIterator[typing.Any], Job]:
        """The pieces of an answer, with the answer at the end, and the job.

        Raises:
            Refused: if the queue is full; the iterator, as `answer`.
        """
        job = Job(operation, inputs, streamed=True)
        model.worker.submit(job)
        return self._pieces(job), job

    async def _pieces(self, job: Job) -> AsyncIterator[typing.Any]:
        pieces = job.pieces()
        try:
            while True:
                left = job.arrived + self.limits.timeout - time.monotonic()
                yield await asyncio.wait_for(anext(pieces), max(left, 0.0))
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise self._too_late() from None
        finally:
            job.gone = True

    def _too_late(self) -> Refused:
        return Refused(504, f"No answer within {self.limits.timeout:g} seconds. Send less, or ask later.", "timeout")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


async def _leaving(request: Request) -> None:
    """Return when the client has left. The body is read by then, so that nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
