"""The workers' success figures and what waits where: counts for the heartbeat, the status page and people."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from easyalert.journal.rows import OUTBOX, State

_LAST_HOUR_MINUTES: Final = 60


@dataclass(frozen=True)
class Figures:
    """The workers' success figures and what waits where, at one moment."""

    executed: int
    """Jobs that ran and ended (or vanished while running) since the journal began."""
    failed: int
    """Those of them whose status is error."""
    executed_last_hour: int
    failed_last_hour: int
    per_minute: tuple[tuple[int, int, int], ...]
    """(minute since the epoch, executed, failed), the last hour's minutes that had jobs, oldest first."""
    in_flight: int
    waiting: int
    undelivered: int
    undelivered_bytes: int
    rejected: int


def read_figures(db: sqlite3.Connection, now: float) -> Figures:
    """Count. `now` is epoch seconds. Raises sqlite3.Error: the store maps it."""
    totals = dict(db.execute("SELECT name, value FROM totals").fetchall())
    edge = int(now // 60) - _LAST_HOUR_MINUTES
    minutes = tuple(
        (int(row[0]), int(row[1]), int(row[2]))
        for row in db.execute("SELECT minute, executed, failed FROM minutes WHERE minute > ? ORDER BY minute", (edge,))
    )
    states = {
        State(row[0]): (int(row[1]), int(row[2]))
        for row in db.execute(
            "SELECT state, count(*), sum(result_bytes) FROM jobs"
            " WHERE state IN ('taken','queued','started','done','in_doubt','cancelled','expired','rejected')"
            " GROUP BY state"
        )
    }
    none = (0, 0)
    return Figures(
        executed=totals["executed"],
        failed=totals["failed"],
        executed_last_hour=sum(row[1] for row in minutes),
        failed_last_hour=sum(row[2] for row in minutes),
        per_minute=minutes,
        in_flight=states.get(State.STARTED, none)[0],
        waiting=states.get(State.TAKEN, none)[0] + states.get(State.QUEUED, none)[0],
        undelivered=sum(states.get(state, none)[0] for state in OUTBOX),
        undelivered_bytes=sum(states.get(state, none)[1] for state in OUTBOX),
        rejected=states.get(State.REJECTED, none)[0],
    )
