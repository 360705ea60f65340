"""Waiting for a job to become final. Lives in the event loop; holds no state that matters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator


class JobWatch:
    """Wakes whoever waits for one of the jobs that just became final."""

    def __init__(self) -> None:
        self._events: dict[str, list[asyncio.Event]] = {}

    @contextlib.contextmanager
    def watching(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job becomes final. Look at the job after entering, or the change is missed."""
        event = asyncio.Event()
        self._events.setdefault(job_id, []).append(event)
        try:
            yield event
        finally:
            waiting = self._events[job_id]
            waiting.remove(event)
            if not waiting:
                del self._events[job_id]

    def notify(self, job_ids: Iterable[str]) -> None:
        """These jobs became final."""
        for job_id in job_ids:
            for event in self._events.get(job_id, ()):
                event.set()

    def close(self) -> None:
        """Wake everybody: the server stops."""
        self.notify(list(self._events))
