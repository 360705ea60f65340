"""The bookkeeper's bell: a datagram on a unix socket means that a request to cancel stands in the journal.

It carries no data and may be lost: the journal is looked at every 2 s anyway. What it saves is the wait.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import Self

log = logging.getLogger(__name__)


class Doorbell:
    """Rung with `easyalert.wakeup.notify`. Where the socket cannot be made, nobody can ring: said in the log."""

    def __init__(self, path: Path) -> None:
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            # one agent per state directory (its lock), one bookkeeper per agent: a leftover socket is ours
            path.unlink(missing_ok=True)
            self._socket.bind(os.fspath(path))
            path.chmod(0o600)
        except OSError as error:
            log.warning("%s cannot be made (%s); cancellations take up to 2 s longer", path, error.strerror)
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def filenos(self) -> list[int]:
        """For `select`; empty without a socket."""
        return [] if self._socket is None else [self._socket.fileno()]

    def silence(self) -> None:
        """Forget all rings so far."""
        with contextlib.suppress(BlockingIOError):
            while self._socket is not None and self._socket.recv(16):
                pass
