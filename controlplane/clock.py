"""The one clock of the control plane, and how its times are written."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Whatever tells the time."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class SystemClock:
    """Wall time as it was when the process started, carried on by the monotonic clock.

    A step of the wall clock (NTP, an administrator) therefore neither expires leases nor prolongs them.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch, UTC; never decreases."""
        return self._offset + time.monotonic()


def rfc3339(seconds: float | None) -> str | None:
    """`2026-01-31T12:00:00.123Z`, or None for None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
