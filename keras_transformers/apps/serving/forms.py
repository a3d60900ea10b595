"""From the body of a request to the values of a form: bounded reading, JSON, types, refused options."""

import asyncio
import json
import typing
import urllib.parse

import pydantic
from pydantic_core import PydanticCustomError
from starlette.requests import ClientDisconnect, Request

from keras_transformers.apps.serving.refusals import Refused
from keras_transformers.apps.serving.settings import Limits
from keras_transformers.spelling import did_you_mean

Texts = str | list[str]
_UNSUPPORTED = "unsupported_parameter"


class Form(pydantic.BaseModel):
    """The body of a request. Abstract.

    A field that the form lacks is an error, unless it is among the `inert` ones, which change no answer, or has one of
    its `neutral` values.
    """

    model_config = pydantic.ConfigDict(extra="allow", strict=True, allow_inf_nan=False)
    inert: typing.ClassVar[frozenset[str]] = frozenset()
    neutral: typing.ClassVar[dict[str, tuple[typing.Any, ...]]] = {}

    @pydantic.model_validator(mode="after")
    def _check(self) -> typing.Self:
        """Refuse fields that the form lacks."""
        refused = [
            name
            for name, value in (self.model_extra or {}).items()
            if name not in self.inert and not (name in self.neutral and value in self.neutral[name])
        ]
        if refused:
            near = "" if refused[0] in self.neutral else did_you_mean(refused[0], type(self).model_fields)
            names = ", ".join(refused)[:200].encode("utf-8", "replace").decode()
            raise PydanticCustomError(_UNSUPPORTED, f"{names}, which this server does not have{near}")
        return self


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
        return form.model_validate(values)
    except pydantic.ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)[:5]
        problems = [
            ": ".join([".".join(map(str, each["loc"]))[:80], each["msg"][:300]]).lstrip(": ") for each in errors
        ]
        code = _UNSUPPORTED if errors[0]["type"] == _UNSUPPORTED else "invalid_value"
        known = ", ".join(form.model_fields)
        raise Refused(
            400, f"Expected fields of {known}, got {'; '.join(problems)}. Mend or leave it out.", code
        ) from None
    except RecursionError:
        raise Refused(400, "Expected plain values, got some nested too deep.", "invalid_value") from None


def as_list(texts: Texts) -> list[str]:
    """One text, or several, as a list."""
    return [texts] if isinstance(texts, str) else texts
