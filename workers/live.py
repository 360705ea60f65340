"""Live output of one job: redacted bytes go into its spool as they come, and the poller is told now and then.

A job that ends within `_SHOW_AFTER_S` of its first output shows no spool: its result says it all, and neither disk nor
network is asked for more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from easyalert import wakeup
from easyalert.spool import JobOfSpool, SpoolWriter, Stream

_SHOW_AFTER_S: Final = 0.05
_TAP_EVERY_S: Final = 0.1


class LiveOutput:
    """What a `Context` calls `live`. May be fed by several threads. Never raises, never waits for anybody."""

    def __init__(
        self,
        folder: Path,
        key: str,
        job: JobOfSpool,
        wakeup_socket: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = SpoolWriter(folder, key, job)
        self._socket = wakeup_socket
        self._clock = clock
        self._lock = threading.Lock()
        self._due: float | None = None
        """When the poller is to be told of what it has not been told yet."""
        self._told_at = -_TAP_EVERY_S

    def feed(self, stream: Stream, data: bytes) -> None:
        """Take what the redactor gives out."""
        if not data:
            return
        with self._lock:
            self._writer.feed(stream, data)
            if self._due is None:
                now = self._clock()
                self._due = max(now, self._told_at + _TAP_EVERY_S) if self._writer.shown else now + _SHOW_AFTER_S
        self.tick()

    def wait(self) -> float | None:
        """Seconds until `tick` has something to do; None: nothing."""
        due = self._due
        return None if due is None else max(0.0, due - self._clock())

    def tick(self) -> None:
        """Tell the poller, if it is time."""
        with self._lock:
            if self._due is None or self._clock() < self._due:
                return
            self._due, self._told_at = None, self._clock()
            self._writer.show()
        wakeup.notify(self._socket, wakeup.OUTPUT)

    def close(self) -> None:
        """The job has ended and its result is recorded."""
        with self._lock:
            self._writer.close()
            self._due = None
        if self._writer.shown:
            wakeup.notify(self._socket, wakeup.OUTPUT)
