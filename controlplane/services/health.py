"""Health score and status of an agent (contract 7.1): pure functions of its last heartbeat and its last hour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from easyalert.protocol.limits import OFFLINE_AFTER_S

FRESH_S = 60.0
"""A heartbeat younger than this counts in full."""
WINDOW_S = 3600.0
"""Jobs that ended within this time count."""
_HALF = 50.0
_DEGRADED_MIN_JOBS = 5

Status = Literal["online", "degraded", "offline"]


@dataclass(frozen=True)
class Health:
    """The score, 0 to 100, with its two terms of at most 50 each."""

    heartbeat_points: float
    success_points: float

    @property
    def score(self) -> float:
        """The sum of the terms, to a tenth."""
        return round(self.heartbeat_points + self.success_points, 1)


def health_score(last_heartbeat_age: float | None, succeeded: int, total: int) -> Health:
    """50 for a heartbeat under 60 s old, falling linearly to 0 at 90 s; plus 50 * succeeded / total, or 50 for none.

    `last_heartbeat_age` is in seconds, None when there never was one.
    """
    if last_heartbeat_age is None or last_heartbeat_age >= OFFLINE_AFTER_S:
        heartbeat = 0.0
    elif last_heartbeat_age < FRESH_S:
        heartbeat = _HALF
    else:
        heartbeat = _HALF * (OFFLINE_AFTER_S - last_heartbeat_age) / (OFFLINE_AFTER_S - FRESH_S)
    return Health(heartbeat, _HALF if total <= 0 else _HALF * succeeded / total)


def status(
    last_heartbeat_age: float | None, *, said_offline: bool, reports_errors: bool, succeeded: int, total: int
) -> Status:
    """`offline` without a heartbeat for 90 s or when it said so; `degraded` when online and it reports errors or more
    than half of at least five jobs of the last hour failed; else `online`.
    """
    if said_offline or last_heartbeat_age is None or last_heartbeat_age >= OFFLINE_AFTER_S:
        return "offline"
    if reports_errors or (total >= _DEGRADED_MIN_JOBS and (total - succeeded) * 2 > total):
        return "degraded"
    return "online"
