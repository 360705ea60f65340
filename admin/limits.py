"""How often somebody may ask: a sliding window (contract 5)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable


class SlidingWindow:
    """At most `limit` events in any `seconds`; a refused event does not count, so that waiting always helps."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._events: deque[float] = deque()

    def take(self) -> int | None:
        """Count one event: None when it is within the limit, else the whole seconds to wait (at least 1)."""
        now = self._clock()
        while self._events and self._events[0] <= now - self._seconds:
            self._events.popleft()
        if len(self._events) < self._limit:
            self._events.append(now)
            return None
        return max(1, math.ceil(self._events[0] + self._seconds - now))
