"""Every answer is JSON (contract 5): success as the routes say, failure as `{"success": false, "error": "<sentence>"}`.

The vendor leaves `success` out for a bad connection id and answers 404, 405 and 500 in plain text; ours are all alike.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from easyalert.errors import EntryNotFound, InvalidConnectionId, VaultDamaged, VaultError, VaultUnavailable, WrongKey

log = logging.getLogger(__name__)

_PLAIN_WORDS: Final = {404: "there is no such route", 405: "this route does not answer to that method"}

# Looked up by exact class: each leaf of the tree is named, and a new one is a 500 until somebody decides.
_VAULT_STATUS: Final[Mapping[type[VaultError], int]] = {
    InvalidConnectionId: 400,
    VaultError: 400,
    EntryNotFound: 404,
    WrongKey: 409,
    VaultDamaged: 409,
    VaultUnavailable: 503,
}


def failure(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Answer with an error."""
    return JSONResponse({"success": False, "error": sentence}, status, headers)


def install(app: FastAPI) -> None:
    """Give every failure of `app` the JSON form."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _unprocessable)
    app.add_exception_handler(VaultError, _vault)
    app.add_exception_handler(Exception, _unexpected)


async def _http(_request: Request, error: Any) -> JSONResponse:
    sentence = error.detail
    if sentence == HTTPStatus(error.status_code).phrase:  # the framework's own
        sentence = _PLAIN_WORDS.get(error.status_code, sentence)
    return failure(error.status_code, sentence, error.headers)


async def _unprocessable(_request: Request, _error: Any) -> JSONResponse:
    # The framework's text would repeat the input, which may be a secret.
    return failure(400, "the request is not what this route takes")


async def _vault(_request: Request, error: Any) -> JSONResponse:
    return failure(_VAULT_STATUS.get(type(error), 500), str(error))


async def _unexpected(_request: Request, _error: Any) -> JSONResponse:
    # The guard logs it; it goes on up after this.
    return failure(500, "the admin process made a mistake; its log says which")
