"""The server: a socket on 127.0.0.1, whatever it takes to get it, and an end within seconds when asked."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from easyalert.runtime import Stop

log = logging.getLogger(__name__)

# Not a setting: whoever reaches this port can try tokens, so it is never opened to a network (contract 5).
ADDRESS: Final = "127.0.0.1"
RETRY_S: Final = 5.0
GRACE_S: Final = 5


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: this process has one place that knows of a stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def listen(port: int, stop: Stop) -> socket.socket | None:
    """Get the socket, waiting for a port that is taken; None when the stop came first.

    It waits here, because an exit would have supervisord start this process over and over.
    """
    said = False
    while not stop.is_set:
        try:
            return _bound(port)
        except OSError as error:
            if not said:
                log.error("%s; trying again every %.0f s", _why(port, error), RETRY_S)  # noqa: TRY400 - the sentence says it
                said = True
        await stop.wait(RETRY_S)
    return None


async def serve(app: ASGIApp, listener: socket.socket, stop: Stop) -> None:
    """Answer requests until the stop; those under way get 5 s."""
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
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()


def _bound(port: int) -> socket.socket:
    # The protocol is named, as asyncio switches delayed sending (40 ms an answer) off only where it is.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A restart must not wait for old connections to be forgotten; two listeners are refused all the same.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _why(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {ADDRESS} is taken by another program (`ss -ltnp 'sport = :{port}'` names it); "
            "end that program or set ADMIN_PORT"
        )
    if error.errno == errno.EACCES:
        return f"port {port} on {ADDRESS} is not allowed to this account; set ADMIN_PORT to 1024 or above"
    return f"port {port} on {ADDRESS} cannot be opened ({error.strerror}); set ADMIN_PORT"
