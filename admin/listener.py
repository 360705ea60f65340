"""The socket on 127.0.0.1, whatever it takes to get it, and the wait for whoever connects to it."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import Final

from easyalert.runtime import Stop

log = logging.getLogger(__name__)

# Not a setting: whoever reaches this port can try tokens, so it is never opened to a network (contract 5).
ADDRESS: Final = "127.0.0.1"
RETRY_S: Final = 5.0


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


async def a_call(listener: socket.socket, stop: Stop) -> None:
    """Wait until somebody has connected, who then waits to be accepted, or the stop."""
    called = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(listener, called.set)
    try:
        await stop.wait(None, called)
    finally:
        loop.remove_reader(listener)


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
