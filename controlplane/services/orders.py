"""What an agent is to be told: jobs to cancel (feature `cancel`), that it is disabled or drained (feature `control`).

A request to cancel is a wish, kept with who and when. The agent's result decides how the job ended: a success that was
faster stays a success.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.clock import rfc3339
from controlplane.models.tables import Agent, Job
from controlplane.services import audit
from controlplane.services.changes import changes_of
from easyalert.protocol import features
from easyalert.protocol.messages import AckItem, Block, OrdersData


def can_be_told(session: Session, job: Job) -> bool:
    """Whether the agent that has the job can be told to end it."""
    agent = session.get(Agent, job.agent_id) if job.agent_id is not None else None
    return agent is not None and features.CANCEL in agent.features


def request_cancel(session: Session, job: Job, now: float, by: str) -> None:
    """Keep who asked first, and when; wake the agent. `by` is a token's id."""
    if job.cancel_requested_at is None:
        job.cancel_requested_by = audit.operator(session, by)
        job.cancel_requested_at = now
    if job.agent_id is not None:
        changes_of(session).ordered.add(job.agent_id)


def jobs_to_cancel(session: Session, agent_id: str) -> list[AckItem]:
    """The agent's hand-outs that somebody wants ended and whose results are not there yet."""
    query = (
        select(Job.id, Job.attempt)
        .where(
            Job.agent_id == agent_id,
            Job.cancel_requested_at.is_not(None),
            Job.state.in_(("accepted", "running")),
        )
        .order_by(Job.cancel_requested_at)
    )
    return [AckItem(job_id=job_id, attempt=attempt) for job_id, attempt in session.execute(query)]


def for_agent(
    session: Session, now: float, agent_id: str, spoken: Collection[str], *, poll_interval_s: int | None
) -> OrdersData:
    """All orders, as far as the agent speaks the features; empty for a base agent."""
    said: dict[str, Any] = {}
    if features.CANCEL in spoken:
        said["cancel_jobs"] = jobs_to_cancel(session, agent_id)
    agent = session.get(Agent, agent_id) if features.CONTROL in spoken else None
    if agent is not None:
        # null and not left out: that an order is over must be said, too
        said["disabled"] = _block(agent.disabled, agent.disabled_reason, agent.disabled_until, now)
        said["drain"] = _block(agent.draining, agent.draining_reason, agent.draining_until, now)
        said["poll_interval_seconds"] = poll_interval_s
    return OrdersData(**said)


def _block(on: bool, reason: str | None, until: float | None, now: float) -> Block | None:  # noqa: FBT001 - a column
    if not on or (until is not None and until <= now):
        return None
    return Block(
        reason=reason, until=rfc3339(until), remaining_seconds=None if until is None else round(until - now, 3)
    )
