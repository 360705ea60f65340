"""What workers, the pool's parent and its bookkeeper say to one another: one short JSON datagram per event.

A socket pair per process. That the other end is gone is the message that counts most: it is end of file on this one.
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any, Self

_MAX_BYTES = 16_384


class Lifeline:
    """One end. Sending never blocks and never fails; a message nobody reads any more is lost."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.setblocking(False)  # noqa: FBT003 - the standard library's signature

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Both ends; each process closes the one it does not use."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(here), cls(there)

    def fileno(self) -> int:
        """For selectors."""
        return self._end.fileno()

    def say(self, word: str, **fields: Any) -> None:
        """Send one message."""
        with contextlib.suppress(OSError):
            self._end.send(json.dumps({"word": word, **fields}).encode())

    def hear(self) -> list[dict[str, Any]]:
        """All messages there are. Raises EOFError when the other end is gone and nothing is left to read."""
        heard: list[dict[str, Any]] = []
        while True:
            try:
                data = self._end.recv(_MAX_BYTES)
            except BlockingIOError:
                return heard
            except OSError:
                data = b""
            if not data:
                if heard:
                    return heard  # the next call says it
                raise EOFError
            heard.append(json.loads(data))

    def close(self) -> None:
        """Idempotent."""
        self._end.close()
