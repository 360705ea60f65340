"""A job as operators see it: state, attempts, result, the time of every step, and why it waits or who got it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.clock import rfc3339
from controlplane.models.tables import Agent, Attempt, Job
from controlplane.services import fleet, retries
from controlplane.services.dispatch import Waiting, explain
from controlplane.services.lifecycle import current_attempt, shown_params


def summary(job: Job) -> dict[str, Any]:
    """A job in a list."""
    return {
        "id": job.id,
        "status": job.state,
        "statusReason": job.state_reason,
        "actionType": job.action_type,
        "connectionId": job.connection_id,
        "poolId": job.pool_id,
        "agentId": job.agent_id or job.target_agent_id,
        "targetAgentId": job.target_agent_id,
        "priority": job.priority,
        "timeoutSeconds": job.timeout_s,
        "idempotencyKey": job.idempotency_key,
        "idempotent": job.idempotent,
        "attempt": job.attempt,
        "retries": job.retries,
        "createdAt": rfc3339(job.created_at),
        "createdBy": job.created_by,
        "expiresAt": rfc3339(job.expires_at),
        "finishedAt": rfc3339(job.finished_at),
        "cancelRequested": cancel_requested(job),
    }


def cancel_requested(job: Job) -> dict[str, Any] | None:
    """Who asked to cancel the job, and when; it may have ended otherwise all the same."""
    if job.cancel_requested_at is None:
        return None
    return {"by": job.cancel_requested_by, "at": rfc3339(job.cancel_requested_at)}


def submitted(job: Job) -> dict[str, Any]:
    """A job as the answer to its submission: `detail` without what would mean looking at its whole pool."""
    return {**summary(job), "params": shown_params(job), "timings": timings(job, None)}


def detail(session: Session, job: Job, now: float) -> dict[str, Any]:
    """Everything about a job."""
    attempts = session.scalars(select(Attempt).where(Attempt.job_id == job.id).order_by(Attempt.number)).all()
    current = current_attempt(session, job)
    return {
        **summary(job),
        "params": shown_params(job),
        "result": _result(current) if current is not None and job.state != "pending" else None,
        "attempts": [_attempt(attempt) for attempt in attempts],
        "timings": timings(job, current),
        "why": _why(session, job, current, now),
        "signature": job.signature,
    }


def timings(job: Job, attempt: Attempt | None) -> list[dict[str, Any]]:
    """The steps of the last attempt in order: `{"step", "at", "ms"}`, `ms` since the job was created.

    The agent tells its steps as offsets on its own monotonic clock since it received the job. They are anchored at the
    moment the job was put into the answer, and kept between that and the moment the result came in.
    """
    steps: list[tuple[str, float | None]] = [("created", job.created_at)]
    if attempt is not None:
        told = attempt.timings or {}
        steps += [
            ("dispatched", attempt.dispatched_at),
            ("acknowledged", _told(attempt, told.get("acknowledged_ms")) or attempt.accepted_at),
            ("started", _told(attempt, told.get("started_ms")) or attempt.running_at),
            ("finished", _told(attempt, told.get("finished_ms"))),
            ("received", attempt.received_at),
        ]
    last, shown = job.created_at, []
    for step, at in steps:
        if at is not None:
            last = max(last, at)
            shown.append({"step": step, "at": rfc3339(last), "ms": round((last - job.created_at) * 1000, 1)})
    return shown


def _told(attempt: Attempt, offset_ms: int | None) -> float | None:
    if offset_ms is None:
        return None
    at = attempt.offered_at + offset_ms / 1000
    return at if attempt.received_at is None else min(at, attempt.received_at)


def _result(attempt: Attempt) -> dict[str, Any] | None:
    if attempt.status is None:
        return None
    return {
        "status": attempt.status,
        "output": attempt.output,
        "outputKept": not attempt.output_dropped,
        "error": attempt.error,
        "exitCode": attempt.exit_code,
        "durationMs": attempt.duration_ms,
        "outcome": attempt.outcome,
        "fault": attempt.fault,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "agentId": attempt.agent_id,
        "agentName": attempt.agent_name,
        "end": attempt.end,
        "dispatchedAt": rfc3339(attempt.dispatched_at),
        "leaseUntil": rfc3339(attempt.lease_until) if attempt.needs_ack and attempt.accepted_at is None else None,
        "acceptedAt": rfc3339(attempt.accepted_at),
        "runningAt": rfc3339(attempt.running_at),
        "endedAt": rfc3339(attempt.ended_at),
        "receivedAt": rfc3339(attempt.received_at),
        "result": _result(attempt),
    }


def _why(session: Session, job: Job, current: Attempt | None, now: float) -> dict[str, Any]:
    if job.state != "pending" and current is not None:
        return dict(current.why)
    if job.state != "pending":
        return {"sentence": job.state_reason, "candidates": [], "candidatesTotal": 0}
    pool_id = job.pool_id
    if job.target_agent_id is not None:
        target = session.get(Agent, job.target_agent_id)
        pool_id = target.pool_id if target is not None else None
    members = [] if pool_id is None else [c for _, c in fleet.pool_candidates(session, pool_id, {}, now).values()]
    had_by = frozenset(retries.had(session, job.id)) if job.retries else frozenset()
    return explain(Waiting(job.id, job.category, job.available_at, job.target_agent_id, had_by), members)
