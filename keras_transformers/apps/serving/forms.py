"""From the body of a request to the values of a form: bounded reading, JSON, types, refused options."""

import asyncio
import json
import typing
import urllib.parse

import pydantic
from starlette.requests import ClientDisconnect, Request

from keras_transformers.apps.serving.refusals import Refused
from keras_transformers.apps.serving.settings import Limits
from keras_transformers.spelling import did_you_mean

Texts = str | list[str]


class Form(pydantic.BaseModel):
    """The body of a request. Abstract.

    A field that the form lacks is an error, unless it is among the `inert` ones, which change no answer, or has one of
    its `neutral` values.
    """

    model_config = pydantic.ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    inert: typing.ClassVar[frozenset[str]] = frozenset()
    neutral: typing.ClassVar[dict[str, tuple[typing.Any, ...]]] = {}

    def check(self) -> None:
        """Refuse fields that the form lacks.

        Raises:
            Refused: naming them.
        """
        refused = [
            name
            for name, value in (self.model_extra or {}).items()
            if name not in self.inert and not (name in self.neutral and value in self.neutral[name])
        ]
        if refused:
            known = [*type(self).model_fields]
            near = did_you_mean(refused[0], known) if refused[0] not in self.neutral else ""
            raise Refused(
                400,
                f"Expected fields of {', '.join(known)}, got {', '.join(refused)[:200]}, which this server does not "
                f"have{near}. Leave it out.",
                "unsupported_parameter",
            )


_Form = typing.TypeVar("_Form", bound=Form)


async def body_of(request: Request, limits: Limits) -> bytes:
    """The body of a request.

    Raises:
        Refused: for a body that is too large, before it is read, or takes too long.
    """
    too_large = Refused(413, f"Expected a body of at most {limits.max_body} bytes. Send several requests.", "too_large")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limits.max_body:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.timeout):
            async for part in request.stream():
                body += part
                if len(body) > limits.max_body:
                    raise too_large
    except TimeoutError:
        raise Refused(408, f"Expected the body within {limits.timeout:g} seconds. Send it faster.") from None
    except ClientDisconnect:
        raise Refused(499, "The client has left.") from None
    return bytes(body)


def values_of(request: Request, body: bytes) -> dict[str, typing.Any]:
    """The fields of a body: a JSON object, or a form of the web.

    Raises:
        Refused: for others.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/x-www-form-urlencoded":
            fields = urllib.parse.parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=4096)
            return {name: each[0] if len(each) == 1 else each for name, each in fields.items()}
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        about = str(error) if isinstance(error, ValueError) else "nested too deep"
        raise Refused(400, f"Expected a JSON object, got {body[:40]!r}: {about[:200]}.", "invalid_json") from None
    if not isinstance(values, dict):
        raise Refused(400, f"Expected a JSON object, got {body[:40]!r}.", "invalid_json")
    return values


def read(form: type[_Form], values: dict[str, typing.Any]) -> _Form:
    """The values as a form.

    Raises:
        Refused: for wrong types and unknown fields, naming each.
    """
    try:
        found = form.model_validate(values)
    except pydantic.ValidationError as error:
        problems = [
            f"{'.'.join(map(str, each['loc']))[:80]}: {each['msg'][:200]}"
            for each in error.errors(include_url=False, include_context=False, include_input=False)[:5]
        ]
        raise Refused(400, f"Expected {form.__doc__} Got {'; '.join(problems)}.", "invalid_value") from None
    except RecursionError:
        raise Refused(400, "Expected plain values, got some nested too deep.", "invalid_value") from None
    found.check()
    return found


def as_list(texts: Texts) -> list[str]:
    """One text, or several, as a list."""
    return [texts] if isinstance(texts, str) else texts
