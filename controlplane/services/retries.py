"""Jobs that may run twice without harm, when nobody can tell what became of them on one agent: another of the pool.

The agent itself runs such a job again first, at most twice. When it is lost, or gives up (in doubt, three dead
workers), the job goes back to its pool as the next attempt, and not to an agent that has had it; at most `AT_POOL`
times. Whether it may be repeated says the job, else the agent that had it: in its result, else by the actions it has
declared. Never repeated: what was to be cancelled, what is for one agent alone, and credentials, which are not kept.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.models.tables import Agent, Attempt, Job
from controlplane.services import audit, lifecycle

AT_POOL: Final = 2


def end_in_doubt(session: Session, now: float, job: Job, attempt: Attempt, reason: str) -> None:
    """The agent that has the job is lost: another one gets it where that does no harm, else it is in doubt."""
    if not give_to_another(session, now, job, attempt, "in_doubt", said=None):
        lifecycle.finish(session, job, attempt, "in_doubt", now, reason)


def give_to_another(session: Session, now: float, job: Job, attempt: Attempt, end: str, *, said: bool | None) -> bool:
    """The attempt ends as `end`; the job waits for another agent. False: it must not, and nothing was changed.

    `said`: the agent's word, with its result, on whether the job may be repeated.
    """
    if job.pool_id is None or job.retries >= AT_POOL or now >= job.expires_at:
        return False
    if (
        job.cancel_requested_at is not None
        or job.credentials_wiped
        or not _may_repeat(session, job, attempt, said=said)
    ):
        return False
    session.flush()
    others = select(Agent.id).where(
        Agent.pool_id == job.pool_id, Agent.id.not_in({*had(session, job.id), attempt.agent_id})
    )
    if session.scalar(others.limit(1)) is None:
        return False
    attempt.end, attempt.ended_at = end, now
    job.retries += 1
    job.state, job.agent_id, job.available_at = "pending", None, now
    job.state_reason = (
        f"It cannot be told what became of it on {attempt.agent_name}. It may run twice without harm, so another agent "
        f"of the pool gets it (retry {job.retries} of {AT_POOL})."
    )
    audit.record(
        session, now, actor=audit.CONTROL_PLANE, action=audit.JOB_RUN_AGAIN, target=job.id,
        attempt=attempt.number, agentId=attempt.agent_id, end=end, retry=job.retries,
    )  # fmt: skip
    lifecycle.touch_dispatch(session, job)
    return True


def had(session: Session, job_id: str) -> Collection[str]:
    """Ids of the agents that have had the job and may have run it."""
    query = select(Attempt.agent_id).where(
        Attempt.job_id == job_id, Attempt.end.is_not(None), Attempt.end != "released"
    )
    return set(session.scalars(query))


def _may_repeat(session: Session, job: Job, attempt: Attempt, *, said: bool | None) -> bool:
    if job.idempotent is not None:
        return job.idempotent
    if said is not None:
        return said
    agent = session.get(Agent, attempt.agent_id)
    return agent is not None and job.action_type in (agent.repeatable or ())
