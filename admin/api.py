"""The routes (contract 5, and `/health`, `/status` beside them). They check what they are given, not who gives it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, Final, NoReturn

from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException

from admin import answers, described
from easyalert import __version__
from easyalert.errors import VaultError
from vault import Vault, check_connection_id

log = logging.getLogger(__name__)

Answer = dict[str, Any]

BY: Final = "the admin API"

Recorder = Callable[[str, str], None]
"""Takes the kind of an audit entry and a connection id."""


def build(
    vault: Vault,
    *,
    rekey: Callable[[str], int],
    status: Callable[[], Answer],
    record: Recorder = lambda _kind, _connection_id: None,
) -> FastAPI:
    """Make the application, without its guard.

    `rekey` takes the new API key and answers the number of entries encrypted anew; `status` answers `data` of
    `GET /status`; `record` tells the audit record. All, as the vault, may block: they are called in threads.
    """
    app = FastAPI(
        title="EasyAlert agent, admin API",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        # A redirect would answer to a path nobody wrote down, and outside the JSON form.
        redirect_slashes=False,
        responses=described.FAILURES,
    )
    answers.install(app)
    app.include_router(_looking(status))
    app.include_router(_connections(vault, record))
    app.include_router(_rekeying(rekey))
    return app


def _looking(status: Callable[[], Answer]) -> APIRouter:
    router = APIRouter()

    @router.get("/health", response_model=described.Health)
    async def health() -> Answer:
        """Whether this process answers. The one route without a token: it says nothing else."""
        return {"status": "ok"}

    @router.get("/status", response_model=described.Status)
    async def state() -> Answer:
        """How the agent is: registration, control plane, workers, queue, journal, vault, last errors."""
        return {"success": True, "data": await asyncio.to_thread(status)}

    return router


def _connections(vault: Vault, record: Recorder) -> APIRouter:
    router = APIRouter(prefix="/connections")

    @router.get("", response_model=described.Names)
    async def list_connections() -> Answer:
        """The ids of all stored credentials."""
        names = await asyncio.to_thread(vault.names)
        return {"success": True, "data": names, "count": len(names)}

    @router.put("/{connection_id}", response_model=described.Done, openapi_extra=described.CREDENTIALS)
    async def store(connection_id: str, request: Request) -> Answer:
        """Store credentials, replacing former ones of this id as a whole."""
        check_connection_id(connection_id)
        credentials = await _json_object(request)
        await asyncio.to_thread(vault.put, connection_id, credentials)
        log.info("credentials of '%s' were stored by the admin API", connection_id)
        await asyncio.to_thread(record, "credential.stored", connection_id)
        return _done(connection_id, "the credentials are stored")

    @router.delete("/{connection_id}", response_model=described.Done)
    async def delete(connection_id: str) -> Answer:
        """Delete credentials."""
        await asyncio.to_thread(vault.delete, connection_id)
        log.info("credentials of '%s' were deleted by the admin API", connection_id)
        await asyncio.to_thread(record, "credential.deleted", connection_id)
        return _done(connection_id, "the credentials are deleted")

    @router.post("/{connection_id}/test", response_model=described.Tested)
    async def test(connection_id: str) -> Answer:
        """Open the entry and answer the names of its fields, never their values."""
        credentials = await asyncio.to_thread(vault.get, connection_id)
        answer = _done(connection_id, "the credentials can be read; this says nothing about the target")
        answer["data"]["fields"] = sorted(credentials)
        return answer

    return router


def _rekeying(rekey: Callable[[str], int]) -> APIRouter:
    router = APIRouter()

    @router.post("/vault/rekey", response_model=described.Rekeyed, openapi_extra=described.NEW_KEY)
    async def rekey_vault(request: Request) -> Answer:
        """Encrypt the vault anew under the API key this agent will get."""
        new_api_key = (await _json_object(request)).get("newApiKey")
        if not isinstance(new_api_key, str) or not new_api_key.strip():
            _bad_request("'newApiKey' is missing: the API key this agent will use from now on, a text")
        try:
            count = await asyncio.to_thread(rekey, new_api_key)
        except VaultError as error:
            _bad_request(str(error))  # contract 5: every vault error of this route is a 400
        message = (
            f"{count} entries now open with the new key only. Set AGENT_API_KEY to it and restart the agent now: "
            "until then no job starts"
        )
        return {"success": True, "data": {"rekeyedCount": count}, "message": message}

    return router


def _done(connection_id: str, message: str) -> Answer:
    return {"success": True, "message": message, "data": {"connectionId": connection_id}}


async def _json_object(request: Request) -> dict[str, Any]:
    try:
        document = json.loads(await request.body())
    except (ValueError, RecursionError):
        # The decoder's text may quote the body, which holds secrets.
        _bad_request("the body is not JSON")
    if not isinstance(document, dict):
        _bad_request("the body is not a JSON object")
    return document


def _bad_request(sentence: str) -> NoReturn:
    raise HTTPException(400, sentence)
