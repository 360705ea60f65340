"""The times of everything that is not over, brought to a wall clock that was set since the last server started.

A running server does not follow the wall clock (`controlplane.clock`), the next one starts from it. Were the two an
hour apart, leases, queue ages and silences would end at once, or an hour late.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Update, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from controlplane.clock import Uptime
from controlplane.models.tables import Agent, Attempt, Job, ServerClock
from controlplane.services.lifecycle import FINAL

NOTICEABLE_S: Final = 1.0
"""Less is not worth rewriting rows for."""

_JOB: Final = (Job.created_at, Job.available_at, Job.expires_at, Job.cancel_requested_at)
_ATTEMPT: Final = (
    *(Attempt.dispatched_at, Attempt.offered_at, Attempt.lease_until, Attempt.accepted_at, Attempt.running_at),
    *(Attempt.renewed_at, Attempt.ended_at, Attempt.received_at, Attempt.refusal_at),
)
_AGENT: Final = (Agent.registered_at, Agent.last_heartbeat_at, Agent.last_dispatch_at)
"""Not the ends of drains and of keys: people named those by the wall clock."""


def follow(session: Session, wall: float, uptime: Uptime) -> float:
    """Called once at the start of a server, before anything else; returns by how many seconds times were moved.

    Within one boot of the machine the step is known. After another boot it is not: there, what lies in the future
    cannot be right, and is taken for what happened last. A clock that was set forward then looks like a long stop.
    """
    known = session.get(ServerClock, 1)
    if known is not None and uptime.boot_id and known.boot_id == uptime.boot_id:
        step = wall - (known.ahead_s + uptime.seconds)
    else:
        step = min(0.0, wall - _newest(session, wall))
    session.merge(ServerClock(id=1, boot_id=uptime.boot_id, ahead_s=wall - uptime.seconds))
    if abs(step) < NOTICEABLE_S:
        return 0.0
    for statement in _moves(step):
        session.execute(statement, execution_options={"synchronize_session": False})
    return step


def _newest(session: Session, wall: float) -> float:
    """The latest moment at which something happened to what is not over."""
    held = Job.state.not_in(FINAL)
    moments = (
        session.scalar(select(func.max(Job.available_at)).where(held)),
        session.scalar(select(func.max(Attempt.renewed_at)).join(Job, Job.id == Attempt.job_id).where(held)),
        session.scalar(select(func.max(Agent.last_heartbeat_at))),
    )
    return max((moment for moment in moments if moment is not None), default=wall)


def _moves(step: float) -> list[Update]:
    held = select(Job.id).where(Job.state.not_in(FINAL))
    return [
        update(Attempt).where(Attempt.job_id.in_(held)).values(_moved(_ATTEMPT, step)),
        update(Job).where(Job.state.not_in(FINAL)).values(_moved(_JOB, step)),
        update(Agent).values(_moved(_AGENT, step)),
    ]


def _moved(columns: tuple[InstrumentedAttribute[Any], ...], step: float) -> dict[Any, Any]:
    return {column: column + step for column in columns}
