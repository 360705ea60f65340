"""Reading what comes in: sizes, JSON, and the leniency the agents' protocol asks for."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlplane.api.envelope import failure
from easyalert.protocol import paths

M = TypeVar("M", bound=BaseModel)

MIB = 1024 * 1024
_LIMITS = {
    # 500 results of a full agent queue share one request (contract 1.10.4).
    paths.RESULTS: 256 * MIB,
    # 10,485,760 characters of parameters (contract 2.7), in up to four bytes each.
    "/api/v1/jobs": 44 * MIB,
}
_LIMIT = MIB


class BodyLimit:
    """Refuses a body that is too large before it is in memory, by its declared or its real size."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = _LIMITS.get(scope["path"], _LIMIT)
        declared = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        # The server has checked the number's form; its length is bounded by the header's.
        if int(declared) > limit:
            await _too_large(limit)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise HTTPException(413, f"the body is larger than {limit // MIB} MiB")
            return message

        await self._app(scope, counted, send)


def _too_large(limit: int) -> ASGIApp:
    return failure(413, "content_too_large", f"the body is larger than {limit // MIB} MiB")


async def foreign_json(request: Request) -> Any:
    """The JSON an agent sent, made storable: NaN and infinities become null, half characters are replaced.

    Raises HTTPException 400 for what is not JSON.
    """
    raw = await request.body()
    try:
        value = json.loads(raw, parse_constant=lambda _name: None)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None
    return _whole_characters(value) if b"\\u" in raw else value


async def foreign_object(request: Request) -> dict[str, Any]:
    """As `foreign_json`; anything but an object counts as an empty one."""
    value = await foreign_json(request)
    return value if isinstance(value, dict) else {}


def lenient(model: type[M], body: dict[str, Any], **defaults: Any) -> M:
    """Read what can be read: fields that do not fit are left out, required ones that are missing take their default.

    Base agents must get a 2xx for all they send (contract 1.10.1), and one odd figure must not make an agent look dead.
    `defaults` are by wire name, one for every required field.
    """
    try:
        return model.model_validate({**defaults, **body})
    except ValidationError as error:
        odd = {item["loc"][0] for item in error.errors() if item["loc"]}
        return model.model_validate({**defaults, **{k: v for k, v in body.items() if k not in odd}})


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(k): _whole_characters(v) for k, v in value.items()}
    return value
