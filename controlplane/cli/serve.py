"""`easyalert-controlplane serve`: one process, one loop, a clean stop."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import socket
import time
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from controlplane.api.app import create_app, stop_waiting
from controlplane.api.runtime import Runtime
from controlplane.cli import exits
from controlplane.cli.store import CommandError, only_server, open_database
from controlplane.clock import SystemClock, Uptime
from controlplane.models.engine import Database
from controlplane.services import timeline
from controlplane.settings import ControlPlaneSettings

logger = logging.getLogger("easyalert.controlplane.serve")
KEEP_ALIVE_S = 75
"""Longer than the 30 s between heartbeats: agents keep one connection."""
GRACE_S = 5


class _Server(uvicorn.Server):
    """Says where it listens once it does, and lets waiting requests go before it waits for their end."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, url: str) -> None:
        super().__init__(config)
        self._app = app
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell whoever started us."""
        await super().startup(sockets)
        if self.started:
            print(f"listening on {self._url}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, answer the long polls, then wait for the rest."""
        for server in self.servers:
            server.close()
        stop_waiting(self._app)
        await super().shutdown(sockets)


def serve(settings: ControlPlaneSettings, version: str) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Raises CommandError."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(open_database(settings))
        stack.enter_context(only_server(settings))
        _follow_clock(database)
        listener = stack.enter_context(contextlib.closing(_listen(settings.host, settings.port)))
        app = create_app(Runtime(settings, database, SystemClock()), version=version)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            # Nobody's word about who is calling is taken: nothing here depends on an address.
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            lifespan="on",
            ws="none",
        )
        # uvicorn raises the signal again once it has stopped; stopped as asked is a success.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _already_stopped)
        _Server(config, app, _url(listener)).run(sockets=[listener])
    return exits.OK


def _follow_clock(database: Database) -> None:
    with database.write() as session:
        step = timeline.follow(session, time.time(), Uptime.now())
    if step:
        logger.warning("the clock of this machine was set by %+.0f s since the last start; leases go with it", step)


def _already_stopped(_number: int, _frame: FrameType | None) -> None:
    """The signal has done its work."""


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio turns Nagle's delay off (40 ms an answer) only where it is.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Listening is what fails on a port in use with SO_REUSEADDR; 2048 agents may come back at once.
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise CommandError(_why_not(host, port, error), exits.ADDRESS_UNAVAILABLE) from error
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use: stop what listens there (ss -ltnp 'sport = :{port}'), "
            "or choose another with --port"
        )
    if error.errno == errno.EACCES:
        return f"port {port} needs rights this user has not: choose one above 1023 with --port"
    return f"cannot listen on {host} port {port} ({error.strerror}): choose an address of this machine with --host"


def _url(listener: socket.socket) -> str:
    name: Any = listener.getsockname()
    host, port = name[0], name[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
