"""Asking the running supervisord over its unix socket."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any, Final
from xml.parsers.expat import ExpatError

_PATIENCE_S: Final = 2.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_PATIENCE_S)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        """The address is the socket's path, whatever the URL says. Closed by `close` of the base class."""
        connection = _UnixConnection(self._path)
        self._connection = host, connection
        return connection


def process_table(path: Path) -> list[dict[str, Any]] | None:
    """One entry per program: `name`, `statename`, `pid`, `start` and `now` (epoch seconds), `spawnerr`.

    None when no supervisord answers there.
    """
    try:
        with xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=_UnixTransport(path)) as proxy:
            answer: Any = proxy.supervisor.getAllProcessInfo()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError):
        return None
    return [dict(row) for row in answer]
