"""Results: the first final one of an attempt wins, every other gets a receipt that says why it does not count.

Rules of contract 1.10: an item that is unknown, stale or malformed never fails the request it came in, or a base
agent would send the same array for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from controlplane.models.tables import Attempt, Job
from controlplane.services import audit, lifecycle, retries
from controlplane.services.ids import split_wire_job_id
from controlplane.services.key_auth import AgentIdentity
from easyalert.protocol import features
from easyalert.protocol.messages import Receipt, ResultEnvelope

REFUSAL_GRACE_S = 30.0
"""How long a base agent's apparent duplicate-job refusal is held back for a real result (contract 1.10.5)."""
_INT_MAX = 2**31 - 1


def report(session: Session, now: float, agent: AgentIdentity, items: Sequence[Any]) -> list[Receipt]:
    """Record the results of one request; one receipt for each, in their order."""
    receipts = []
    for item in items:
        try:
            result = ResultEnvelope.model_validate(item)
        except ValidationError:
            name = item.get("jobId") if isinstance(item, dict) else None
            receipts.append(Receipt(job_id=str(name or "")[:64], attempt=None, receipt="rejected", reason="malformed"))
            continue
        receipts.append(_record(session, now, agent, result))
    return receipts


def believe_refusal(session: Session, now: float, job: Job, attempt: Attempt) -> None:
    """No real result followed the refusal: it was one, of a job the agent would not run."""
    result = ResultEnvelope.model_validate(attempt.refusal)
    _finish(session, now, job, attempt, result)


def _record(session: Session, now: float, agent: AgentIdentity, result: ResultEnvelope) -> Receipt:
    job, attempt = _find(session, agent, result)
    if job is None or attempt is None:
        return _receipt(result, "rejected", "unknown_job" if job is None else "stale_attempt")
    if attempt.agent_id != agent.agent_id:
        return _receipt(result, "rejected", "not_yours")
    refusal = not attempt.needs_ack and _looks_like_refusal(result)
    truth = attempt.outcome == "in_doubt" and (result.outcome or "finished") != "in_doubt"
    if (attempt.status is not None and not truth) or (refusal and attempt.refusal is not None):
        return _receipt(result, "duplicate")
    if (reason := _too_late(job, attempt, now)) is not None:
        # It changes nothing any more, but people who look at the attempts should see what happened.
        _note(attempt, result, now)
        return _receipt(result, "rejected", reason)
    if refusal:
        attempt.refusal, attempt.refusal_at, attempt.renewed_at = result.wire(), now, now
    else:
        _finish(session, now, job, attempt, result)
    return _receipt(result, "accepted")


def _find(session: Session, agent: AgentIdentity, result: ResultEnvelope) -> tuple[Job | None, Attempt | None]:
    job_id, number = split_wire_job_id(result.job_id)
    job = session.get(Job, job_id)
    if job is None:
        return None, None
    if result.attempt is not None:
        number = result.attempt
    elif number is None:
        number = job.attempt if features.ACK in agent.features else 1
    return job, session.get(Attempt, (job_id, number))


def _too_late(job: Job, attempt: Attempt, now: float) -> str | None:
    """Why a result of this attempt cannot end the job any more, or None."""
    ended_ago = now - (attempt.ended_at or now)
    if attempt.number == job.attempt and job.state == "pending" and attempt.end == "in_doubt":
        # it waits to be run again by another, and need not any more
        return None if ended_ago <= lifecycle.LATE_RESULT_S else "stale_attempt"
    if attempt.number != job.attempt or job.state == "pending":
        return "stale_attempt"
    if job.state in lifecycle.HELD:
        return None
    late = job.state == attempt.end == "in_doubt" and ended_ago <= lifecycle.LATE_RESULT_S
    return None if late else job.state


def _finish(session: Session, now: float, job: Job, attempt: Attempt, result: ResultEnvelope) -> None:
    if job.state in {"in_doubt", "pending"}:
        outcome = result.outcome or "finished"
        audit.record(
            session, now, actor=f"{attempt.agent_name} ({attempt.agent_id})", action=audit.JOB_LATE_RESULT,
            target=job.id, attempt=attempt.number, status=result.status, outcome=outcome,
        )  # fmt: skip
    _note(attempt, result, now)
    if attempt.accepted_at is None and attempt.needs_ack:
        attempt.accepted_at = now
    outcome = result.outcome or "finished"
    state = result.status if outcome == "finished" else outcome
    asked = state == "cancelled" and job.cancel_requested_by is not None
    unknown = state == "in_doubt" or (state == "error" and result.repeatable is True)
    if unknown and retries.give_to_another(session, now, job, attempt, state, said=result.repeatable):
        return
    reason = f"Cancelled by {job.cancel_requested_by} while {attempt.agent_name} had it." if asked else None
    lifecycle.finish(session, job, attempt, state, now, reason)


def _note(attempt: Attempt, result: ResultEnvelope, now: float) -> None:
    attempt.status = result.status
    attempt.output = result.output
    attempt.output_at = None if result.output is None else now
    # NUL is legal in JSON and refused by PostgreSQL's text.
    attempt.error = None if result.error is None else result.error.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    attempt.exit_code = _bounded(result.exit_code)
    attempt.duration_ms = _bounded(result.duration_ms)
    attempt.outcome = result.outcome
    attempt.fault = result.fault
    attempt.timings = None if result.timings is None else result.timings.model_dump(exclude_none=True)
    attempt.received_at = attempt.renewed_at = now


def _looks_like_refusal(result: ResultEnvelope) -> bool:
    return result.status == "error" and result.output is None and result.exit_code == -1 and result.duration_ms == 0


def _bounded(number: int) -> int:
    return max(-_INT_MAX, min(_INT_MAX, number))


def _receipt(result: ResultEnvelope, receipt: Any, reason: str | None = None) -> Receipt:
    named = {} if reason is None else {"reason": reason}
    return Receipt(job_id=result.job_id, attempt=result.attempt, receipt=receipt, **named)
