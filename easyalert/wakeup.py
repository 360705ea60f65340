"""A tap on the poller's shoulder: one datagram on a unix socket means "look at the journal", or at the
spools.

It carries no data and may be lost: the journal is the truth and is looked at regularly anyway. What it saves is the
wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import Final

JOURNAL: Final = b"!"
"""Look at the journal."""
OUTPUT: Final = b"o"
"""Look at the spools: a running job has printed something."""


def notify(path: Path, word: bytes = JOURNAL) -> None:
    """Wake the poller; never blocks, never fails: nobody listening is fine."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        sender.sendto(word, os.fspath(path))


class WakeupListener:
    """Sets `event` whenever somebody taps, `output` instead where the word is OUTPUT.

    Raises OSError at construction when the socket cannot be made.
    """

    def __init__(self, path: Path, event: asyncio.Event, output: asyncio.Event | None = None) -> None:
        self._event = event
        self._output = output or event
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            # one agent per state directory (its lock): a leftover socket is ours
            path.unlink(missing_ok=True)
            self._socket.bind(os.fspath(path))
            path.chmod(0o600)
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._drain)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while word := self._socket.recv(16):
                (self._output if word == OUTPUT else self._event).set()

    def close(self) -> None:
        """Stop listening; the socket's file stays for the next start to replace."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
