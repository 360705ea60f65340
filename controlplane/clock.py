"""The one clock of the control plane, and how its times are written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self


class Clock(Protocol):
    """Whatever tells the time."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class SystemClock:
    """Wall time as it was when the process started, carried on by the monotonic clock.

    A step of the wall clock (NTP, an administrator) therefore neither expires leases nor prolongs them. The next start
    takes the new wall time, and `services.timeline` brings what is held to it.
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


@dataclass(frozen=True)
class Uptime:
    """How long this machine has been up, sleep included: what a step of the wall clock does not change."""

    boot_id: str
    """Of this boot; empty where it cannot be told, which is equal to no other."""
    seconds: float

    @classmethod
    def now(cls) -> Self:
        """As Linux tells it."""
        try:
            boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            return cls(boot_id, time.clock_gettime(time.CLOCK_BOOTTIME))
        except (OSError, AttributeError):  # AttributeError: another system, without that clock
            return cls("", 0.0)
