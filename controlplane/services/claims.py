"""Handing jobs out: one transaction gives a pool's waiting jobs to the polls that wait for them.

A hand-out is `dispatched`, with a lease, until the agent acknowledges it. The same agent asking again while the lease
lives gets the same attempt again: it died between our claim and its journal. For a base-protocol agent the hand-out
is the claim (contract 1.4): no lease, and never twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from controlplane.models.tables import Agent, Attempt, Job
from controlplane.services import audit, fleet, lifecycle, retries, sealed
from controlplane.services.dispatch import BUILT_IN, Candidate, Waiting, plan
from controlplane.services.ids import split_wire_job_id, wire_job_id
from easyalert.protocol import features
from easyalert.protocol.limits import MAX_CONCURRENT_JOBS_MAX, START_WITHIN_DEFAULT_S
from easyalert.protocol.messages import JobEnvelope

REOFFER_AFTER_S = 1.0
"""Before this, the first answer may still be on its way."""
_REOFFER_MIN_LEASE_S = 5.0
_BATCH = 500
_KEY_GONE = (
    "The key these credentials were sealed with, secret.key in the control plane's data folder, has changed: "
    "deliver them again."
)


@dataclass
class HandOut:
    """What one pass gave away: wire jobs per agent, and when to look again though nothing changed."""

    jobs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    retry_at: float | None = None

    def look_again(self, at: float) -> None:
        """Keep the earliest time."""
        self.retry_at = at if self.retry_at is None else min(self.retry_at, at)


def has_work(session: Session, now: float, pool_id: str, agent_ids: list[str], otherwise: HandOut) -> bool:
    """Whether a pass could give anything to these agents now: spares idle polls the write lock.

    If not, `otherwise` is told when an offer nobody has acknowledged may be made again.
    """
    oldest_offer = (
        select(func.min(Attempt.offered_at))
        .join(Job, and_(Attempt.job_id == Job.id, Attempt.number == Job.attempt))
        .where(Job.state == "dispatched", Job.agent_id.in_(agent_ids), Attempt.needs_ack)
    )
    pending = exists().where(_pending_for(pool_id, agent_ids))
    found, offered_at = session.execute(select(pending, oldest_offer.scalar_subquery())).one()
    if found or offered_at is None:
        return bool(found)
    again_at = float(offered_at) + REOFFER_AFTER_S
    if again_at > now:
        otherwise.look_again(again_at)
    return again_at <= now


def hand_out(
    session: Session, now: float, pool_id: str, slots: Mapping[str, int], expected: Collection[str] = ()
) -> HandOut:
    """Give the pool's jobs to its polling agents. `slots`: how many jobs each waiting poll asked for.

    `expected`: agents whose last poll ended a moment ago; a job they are best for is kept for them for a short time.
    """
    result = HandOut()
    left = {agent_id: max(1, min(MAX_CONCURRENT_JOBS_MAX, wanted)) for agent_id, wanted in slots.items()}
    members = fleet.pool_candidates(session, pool_id, left, now, expected)
    polling = [agent_id for agent_id in left if agent_id in members]
    _offer_again(session, now, members, polling, result)
    waiting = _pending(session, now, pool_id, [members[i][1] for i in polling])
    decided = plan(waiting, [candidate for _, candidate in members.values()], now)
    if decided.retry_at is not None:
        result.look_again(decided.retry_at)
    for item, chosen, why in decided.assigned:
        agent = members[chosen.agent_id][0]
        job = session.get_one(Job, item.job_id)
        if (params := _sendable(session, now, job, None, agent)) is not None:
            result.jobs.setdefault(agent.id, []).append(_claim(session, now, job, agent, why, params))
    return result


def take_back(session: Session, now: float, agent_id: str, wire_ids: list[str]) -> None:
    """Jobs claimed for a base agent's poll that had ended before the answer could be sent: nobody has seen them."""
    for wire_id in wire_ids:
        job_id, number = split_wire_job_id(wire_id)
        job, attempt = session.get(Job, job_id), session.get(Attempt, (job_id, number or 1))
        if job is None or attempt is None or job.state != "dispatched" or attempt.agent_id != agent_id:
            continue
        if job.credentials_wiped:
            reason = (
                f"{attempt.agent_name} hung up before it got the credentials, which are not kept: deliver them again."
            )
            lifecycle.finish(session, job, attempt, "error", now, reason)
        else:
            lifecycle.release(session, job, attempt, now, f"{attempt.agent_name} hung up before it could be told.")


def forget_offers(session: Session, agent_id: str, now: float) -> None:
    """The agent has just started: what it was offered before may be offered again at once."""
    for _, attempt in unacknowledged(session, [agent_id]):
        attempt.offered_at = min(attempt.offered_at, now - REOFFER_AFTER_S)


def unacknowledged(session: Session, agent_ids: list[str]) -> list[tuple[Job, Attempt]]:
    """Hand-outs these agents have not acknowledged, oldest first."""
    query = (
        select(Job, Attempt)
        .join(Attempt, and_(Attempt.job_id == Job.id, Attempt.number == Job.attempt))
        .where(Job.state == "dispatched", Job.agent_id.in_(agent_ids), Attempt.needs_ack)
        .order_by(Job.id)
    )
    return [(row.Job, row.Attempt) for row in session.execute(query)]


def _offer_again(
    session: Session, now: float, members: dict[str, tuple[Agent, Candidate]], polling: list[str], result: HandOut
) -> None:
    for job, attempt in unacknowledged(session, polling):
        agent, candidate = members[attempt.agent_id]
        if candidate.free <= 0 or candidate.blocked or attempt.lease_until - now < _REOFFER_MIN_LEASE_S:
            continue
        if now < attempt.offered_at + REOFFER_AFTER_S:
            result.look_again(attempt.offered_at + REOFFER_AFTER_S)
            continue
        if (params := _sendable(session, now, job, attempt, agent)) is None:
            continue
        attempt.offered_at = now
        candidate.free -= 1
        result.jobs.setdefault(agent.id, []).append(_envelope(session, job, attempt, agent, now, params))


def _pending_for(pool_id: str, agent_ids: list[str]) -> ColumnElement[bool]:
    return and_(
        Job.state == "pending",
        or_(and_(Job.pool_id == pool_id, Job.target_agent_id.is_(None)), Job.target_agent_id.in_(agent_ids)),
    )


def _pending(session: Session, now: float, pool_id: str, polling: list[Candidate]) -> list[Waiting]:
    query = select(Job.id, Job.category, Job.available_at, Job.target_agent_id, Job.retries).where(
        _pending_for(pool_id, [c.agent_id for c in polling]), Job.expires_at > now
    )
    if polling and all(c.capabilities is not None for c in polling):
        # Else a heap of jobs nobody here can do would fill the batch and hide the others.
        able = BUILT_IN.union(*(c.capabilities or () for c in polling))
        query = query.where(Job.category.in_(able))
    rows = session.execute(query.order_by(Job.priority.desc(), Job.id).limit(_BATCH))
    return [Waiting(*row[:4], frozenset(retries.had(session, row.id)) if row.retries else frozenset()) for row in rows]


def _sendable(session: Session, now: float, job: Job, attempt: Attempt | None, agent: Agent) -> dict[str, Any] | None:
    """The parameters for the agent; None when they cannot be opened any more, here or there, which ends the job."""
    if sealed.key_of(agent) is None and sealed.is_sealed(job):
        lifecycle.finish(session, job, attempt, "error", now, f"Not sent: {sealed.not_supported(agent)}.")
        return None
    try:
        return lifecycle.sent_params(session, job)
    except LookupError:
        lifecycle.finish(session, job, attempt, "error", now, _KEY_GONE)
        return None


def _claim(
    session: Session, now: float, job: Job, agent: Agent, why: dict[str, Any], params: dict[str, Any]
) -> dict[str, Any]:
    needs_ack = features.ACK in agent.features
    job.attempt += 1
    job.state, job.state_reason, job.agent_id = "dispatched", None, agent.id
    agent.last_dispatch_at = now
    attempt = Attempt(
        job_id=job.id,
        number=job.attempt,
        agent_id=agent.id,
        agent_name=agent.name,
        needs_ack=needs_ack,
        why=why,
        dispatched_at=now,
        offered_at=now,
        lease_until=now + lifecycle.LEASE_S,
        renewed_at=now,
    )
    session.add(attempt)
    envelope = _envelope(session, job, attempt, agent, now, params)
    if not needs_ack:
        lifecycle.wipe_credentials(session, job)
    return envelope


def _envelope(
    session: Session, job: Job, attempt: Attempt, agent: Agent, now: float, params: dict[str, Any]
) -> dict[str, Any]:
    if not attempt.needs_ack:
        return JobEnvelope(
            job_id=wire_job_id(job.id, attempt.number),
            action_type=job.action_type,
            connection_id=job.connection_id,
            params=params,
        ).wire()
    extensions: dict[str, Any] = {"requested_by": audit.requester(session, job.created_by)}
    if job.idempotent is not None:
        extensions["idempotent"] = job.idempotent
    if job.signature is not None and features.SIGNED in agent.features:
        extensions["signature"] = job.signature
    return JobEnvelope(
        job_id=job.id,
        action_type=job.action_type,
        connection_id=job.connection_id,
        params=params,
        attempt=attempt.number,
        lease_seconds=round(attempt.lease_until - now, 3),
        start_within_seconds=START_WITHIN_DEFAULT_S,
        **extensions,
    ).wire()
