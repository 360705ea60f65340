"""The server on a socket that is given: it answers until it is stopped, or until nobody has asked for a while."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from easyalert.runtime import Stop

GRACE_S: Final = 5
IDLE_S: Final = 300.0
"""Longer than the windows of the guard's limits: who is made to wait does not get around it by waiting."""
_LOOK_S: Final = 1.0


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: this process has one place that knows of a stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    app: ASGIApp,
    listener: socket.socket,
    stop: Stop,
    *,
    idle_s: float | None = None,
    may_end: Callable[[], bool] = lambda: True,
) -> None:
    """Answer requests until the stop; those under way get 5 s.

    With `idle_s` it ends too when there was no connection for so long and `may_end` agrees. Whoever connects then is
    not accepted here any more, and waits at the socket for the next server.
    """
    server = _Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            # uvicorn believes X-Forwarded-For from 127.0.0.1 by default, where every caller of ours is.
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    ends: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
    if idle_s is not None:
        ends.append(asyncio.create_task(_unused(server, idle_s, may_end)))
    try:
        await asyncio.wait((serving, *ends), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        for end in ends:
            end.cancel()


async def _unused(server: uvicorn.Server, seconds: float, may_end: Callable[[], bool]) -> None:
    """Return when nobody has been connected for so long and nobody can connect any more."""
    state = server.server_state
    answered, since = 0, time.monotonic()
    while time.monotonic() - since < seconds or not may_end():
        await asyncio.sleep(min(seconds, _LOOK_S))
        if state.connections or state.total_requests != answered:
            answered, since = state.total_requests, time.monotonic()
    for accepting in server.servers:
        accepting.close()
    await asyncio.sleep(_LOOK_S / 10)  # who was accepted in this moment is still answered
    while state.connections:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(_LOOK_S / 10)
