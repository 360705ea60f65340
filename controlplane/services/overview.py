"""Counts over everything, for metrics."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controlplane.models.tables import Agent, Job
from controlplane.services import fleet
from controlplane.services.lifecycle import STATES


@dataclass(frozen=True)
class Overview:
    """Jobs by state, agents by status, age of the oldest pending job in seconds (0 when none waits)."""

    jobs: dict[str, int]
    agents: dict[str, int]
    oldest_wait_s: float


def overview(session: Session, now: float) -> Overview:
    """Count."""
    jobs = dict.fromkeys(sorted(STATES), 0)
    for state, count in session.execute(select(Job.state, func.count()).group_by(Job.state)):
        jobs[state] = int(count)
    agents = dict.fromkeys(("online", "degraded", "offline"), 0)
    rows = session.scalars(select(Agent)).all()
    known = fleet.figures(session, (row.id for row in rows), now)
    for row in rows:
        agents[fleet.standing(row, known[row.id], now).status] += 1
    oldest = session.scalar(select(func.min(Job.available_at)).where(Job.state == "pending"))
    return Overview(jobs, agents, 0.0 if oldest is None else max(0.0, now - oldest))
