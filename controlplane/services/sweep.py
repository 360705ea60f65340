"""What ends by itself: leases, queue ages, silence. Called every second or two by the server.

Silence is counted from the later of the last word and `up_since`: while the control plane was down, or stood still with
its machine, nobody could be heard, and nobody is to blame for it.
"""

from __future__ import annotations

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session, defer

from controlplane.models.tables import Agent, AgentKey, Attempt, Job, Notification, Pool
from controlplane.services import audit_heads, lifecycle, reports, retries
from controlplane.services.changes import changes_of
from controlplane.services.pools import DEFAULT_LOST_AFTER_S
from easyalert.protocol.limits import OFFLINE_AFTER_S

NOTIFICATIONS_KEPT_S = 7 * 86_400.0
_UNREPEATED = (
    "It may have run on the agent that had it first, and no other took it within the pool's maximum queue age. "
    "Look at its effect, then settle or retry it."
)


def is_due(session: Session, now: float, up_since: float) -> bool:
    """Whether `sweep` would change anything: spares an idle server the write lock."""
    expired = select(Job.id).where(Job.state == "pending", Job.expires_at <= now).limit(1)
    return session.scalar(expired) is not None or any(
        _verdict(job, attempt, lost_after, agent, now, up_since) is not None
        for job, attempt, lost_after, agent in _held(session)
    )


def sweep(session: Session, now: float, up_since: float) -> int:
    """End everything that is due; returns how many jobs changed."""
    changed = 0
    overdue = select(Job).where(Job.state == "pending", Job.expires_at <= now).options(defer(Job.params))
    for job in session.scalars(overdue):
        if job.retries:  # "expired" would claim that nothing has happened
            lifecycle.finish(session, job, None, "in_doubt", now, _UNREPEATED)
        else:
            lifecycle.finish(session, job, None, "expired", now, "Nobody took it within the pool's maximum queue age.")
        changed += 1
    for job, attempt, lost_after, agent in _held(session):
        verdict = _verdict(job, attempt, lost_after, agent, now, up_since)
        if verdict is None:
            continue
        changed += 1
        if verdict == "believe":
            reports.believe_refusal(session, now, job, attempt)
        elif verdict == "in_doubt":
            retries.end_in_doubt(session, now, job, attempt, _doubt_sentence(attempt))
        else:
            lifecycle.release(session, job, attempt, now, verdict)
    return changed


def housekeeping(session: Session, now: float) -> None:
    """Delete what nobody needs any more: keys whose overlap is over, old notifications, most of what was witnessed.

    Once an hour is enough.
    """
    session.execute(delete(AgentKey).where(AgentKey.expires_at <= now))
    session.execute(delete(Notification).where(Notification.created_at < now - NOTIFICATIONS_KEPT_S))
    audit_heads.thin(session, now)


def unblocks(session: Session, since: float, now: float) -> bool:
    """Whether `wake_unblocked` would wake a pool."""
    ended = or_(*(and_(until > since, until <= now) for until in (Agent.disabled_until, Agent.draining_until)))
    return session.scalar(select(Agent.id).where(ended).limit(1)) is not None


def wake_unblocked(session: Session, since: float, now: float) -> None:
    """Look again at the pools of agents whose disabling or draining ended by its time between the two moments."""
    for until in (Agent.disabled_until, Agent.draining_until):
        pools = session.scalars(select(Agent.pool_id).where(until > since, until <= now))
        changes_of(session).pools.update(pools)


def _held(session: Session) -> list[tuple[Job, Attempt, float, Agent | None]]:
    query = (
        select(Job, Attempt, Pool.lost_after_s, Agent)
        .join(Attempt, and_(Attempt.job_id == Job.id, Attempt.number == Job.attempt))
        .outerjoin(Pool, Pool.id == Job.pool_id)
        .outerjoin(Agent, Agent.id == Job.agent_id)
        .where(Job.state.in_(lifecycle.HELD))
        # Read every second: without the megabytes nobody looks at here.
        .options(defer(Job.params), defer(Attempt.why), defer(Attempt.output), defer(Agent.heartbeat))
    )
    return [
        (row.Job, row.Attempt, float(row.lost_after_s or DEFAULT_LOST_AFTER_S), row.Agent)
        for row in session.execute(query)
    ]


def _verdict(
    job: Job, attempt: Attempt, lost_after: float, agent: Agent | None, now: float, up_since: float
) -> str | None:
    """`believe`, `in_doubt`, the reason of a release, or None."""
    if job.state == "dispatched" and attempt.needs_ack:
        if now >= max(attempt.lease_until, up_since + lifecycle.LEASE_S):
            return f"{attempt.agent_name} did not acknowledge the job within its lease."
        heard = up_since if agent is None else max(agent.last_heartbeat_at or 0.0, up_since)
        if now - heard >= OFFLINE_AFTER_S:
            return f"{attempt.agent_name} went offline before it took the job."
        return None
    if attempt.refusal_at is not None and now >= max(attempt.refusal_at, up_since) + reports.REFUSAL_GRACE_S:
        return "believe"
    return "in_doubt" if now >= lifecycle.doubt_at(job, attempt, lost_after, up_since) else None


def _doubt_sentence(attempt: Attempt) -> str:
    return (
        f"{attempt.agent_name} took the job and was not heard of in time: it may have run. Look at its effect, then "
        "settle or retry it; a result that still arrives within 7 days settles it by itself."
    )
