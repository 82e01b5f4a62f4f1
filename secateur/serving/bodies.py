"""From the bytes of a request to its checked content; every refusal is one line."""

import asyncio
import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from secateur.serving.refusals import Refused

_Content = TypeVar("_Content", bound=BaseModel)
_READ_TO_THE_END_BYTES = 16_000_000


def request_body(schema: dict[str, Any], *, example: str) -> dict[str, Any]:
    """Describe a body for ``/docs``: it is read by hand, once and with limits, so FastAPI does not know its type."""
    content = {"schema": schema, "example": json.loads(example)}
    return {"required": True, "content": {"application/json": content}}


async def read_json(
    request: Request, content: type[_Content], *, max_bytes: int, timeout_s: float, example: str
) -> _Content:
    """Return the checked body of a request.

    Args:
        request: whose body is read.
        content: its type.
        max_bytes: of the body.
        timeout_s: to read it.
        example: of a body, for who sent something else.

    Raises:
        Refused: 415 another content type, 413 too large, 408 too slow, 400 not UTF-8 or not JSON, 422 with the field.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        found = kind or "none"
        raise Refused(
            415, f"content type {found} is not read; send JSON with the header Content-Type: application/json"
        )
    try:
        async with asyncio.timeout(timeout_s):
            body = await _read(request, max_bytes=max_bytes)
    except TimeoutError as error:
        raise Refused(408, f"the body did not arrive within {timeout_s:g} s") from error
    return _parse(body, content, example=example)


async def _read(request: Request, *, max_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "")
    size = int(announced) if announced.isdecimal() else 0
    parts: list[bytes] = []
    num_bytes = 0
    try:
        async for part in request.stream():
            num_bytes += len(part)
            # Who still sends does not read: a moderately large body is read to its end, or the answer would be lost.
            if num_bytes > max(max_bytes, _READ_TO_THE_END_BYTES) or size > max(max_bytes, _READ_TO_THE_END_BYTES):
                break
            if max(num_bytes, size) <= max_bytes:
                parts.append(part)
    except ClientDisconnect as error:
        raise Refused(400, "the client went away before the end of the body") from error
    if max(num_bytes, size) > max_bytes:
        raise Refused(
            413, f"a body of more than {max_bytes} bytes is not read (serve.max_body_bytes); send fewer texts"
        )
    return b"".join(parts)


def _parse(body: bytes, content: type[_Content], *, example: str) -> _Content:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"the body is not UTF-8: byte 0x{body[error.start]:02x} at offset {error.start}; send JSON in UTF-8"
        raise Refused(400, detail) from error
    try:
        return content.model_validate_json(text)
    except ValidationError as error:
        raise _refusal(error, example=example) from error


def _refusal(error: ValidationError, *, example: str) -> Refused:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return Refused(400, f"the body is not JSON: {first['ctx']['error']}")
    field = ".".join(str(part) for part in first["loc"])
    if not field:
        return Refused(422, f"the body must be an object such as {example}")
    message = str(first["msg"])
    return Refused(422, f"{field}: {message[:1].lower()}{message[1:]}", field=field)
