"""The one shape of every answer, errors included: `{"success", "data" | "error", "code"}`."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlplane.models.engine import StorageError
from controlplane.services import errors

logger = logging.getLogger("easyalert.controlplane.api")

_STATUS: dict[type[errors.ServiceError], int] = {
    errors.NotFoundError: 404,
    errors.InvalidError: 422,
    errors.ConflictError: 409,
    errors.KeyInUseError: 409,
    errors.UnauthorizedError: 401,
    errors.ForbiddenError: 403,
    errors.ThrottledError: 429,
}
_HINTS = {
    404: "this path does not exist: /openapi.json lists those that do",
    405: "this path does not take that method: /openapi.json lists those it takes",
}


def answer(data: Any, *, status: int = 200, next_cursor: str | None = None) -> JSONResponse:
    """A successful answer."""
    body: dict[str, Any] = {"success": True, "data": data}
    if next_cursor is not None:
        body["nextCursor"] = next_cursor
    return JSONResponse(body, status_code=status)


def failure(status: int, code: str, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A refusal: a token for programs, a sentence for people."""
    return JSONResponse({"success": False, "error": sentence, "code": code}, status_code=status, headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    """Give every error of the application the envelope."""
    app.add_exception_handler(errors.ServiceError, _service_error)
    app.add_exception_handler(StorageError, _storage_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(_LastResort)


def _service_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, errors.ServiceError):
        raise error
    headers = {}
    if isinstance(error, errors.ThrottledError | errors.KeyInUseError):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, errors.UnauthorizedError):
        headers["WWW-Authenticate"] = "Bearer"
    return failure(_STATUS.get(type(error), 400), error.token, str(error), headers)


def _storage_error(_request: Request, error: Exception) -> JSONResponse:
    logger.error("%s", error)
    return failure(503, "storage_unavailable", str(error), {"Retry-After": "5"})


def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    # Only where and what is wrong: the value itself may be a secret.
    found = "; ".join(f"{_place(item['loc'])}: {_plain(item['msg'])}" for item in error.errors()[:5])
    return failure(422, "invalid_request", found)


def _place(location: tuple[Any, ...]) -> str:
    names = [str(part) for part in location[1:]] or [str(location[0])]
    return ".".join(names)


def _plain(message: str) -> str:
    return message[:1].lower() + message[1:]


def _http_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    phrase = HTTPStatus(error.status_code).phrase
    sentence = _HINTS.get(error.status_code) or str(error.detail)
    return failure(error.status_code, phrase.lower().replace(" ", "_"), sentence, dict(error.headers or {}))


class _LastResort:
    """Answers what nobody foresaw. Starlette's own last resort raises the error again, which costs the connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            if begun or scope["type"] != "http":
                raise
            logger.exception("unexpected error in %s %s", scope["method"], scope["path"])
            sentence = "the control plane failed on this request; its log says why. Try again"
            await failure(500, "internal_error", sentence)(scope, receive, send)
