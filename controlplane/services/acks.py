"""Acknowledgements: the permit to start (feature `ack`). From here a job is never given to anybody else on a timer."""

from __future__ import annotations

from sqlalchemy.orm import Session

from controlplane.models.tables import Attempt, Job
from controlplane.services import lifecycle
from controlplane.services.instances import same_state
from easyalert.protocol.messages import AckData, AckItem, AckRefusal


def acknowledge(
    session: Session,
    now: float,
    agent_id: str,
    items: list[AckItem],
    *,
    instance: str | None = None,
) -> AckData:
    """Accept or refuse each hand-out. Repeating an acknowledgement gives the same answer.

    `instance` is the running agent that asks (feature instance); who holds the key is for the caller to check, in the
    same transaction.
    """
    accepted: list[AckItem] = []
    refused: list[AckRefusal] = []
    for item in items:
        reason = _acknowledge_one(session, now, agent_id, item, instance)
        if reason is None:
            accepted.append(item)
        else:
            refused.append(AckRefusal(job_id=item.job_id, attempt=item.attempt, reason=reason))
    return AckData(accepted=accepted, refused=refused)


def _acknowledge_one(session: Session, now: float, agent_id: str, item: AckItem, instance: str | None) -> str | None:
    job = session.get(Job, item.job_id)
    attempt = session.get(Attempt, (item.job_id, item.attempt)) if job is not None else None
    if job is None or attempt is None:
        _skip_forgotten(job, item.attempt)
        return "unknown"
    if (reason := _reason_against(job, attempt, agent_id)) is not None:
        return reason
    if attempt.instance is not None and instance is not None and not same_state(attempt.instance, instance):
        # permitted to another running agent under this key: it may have started the job
        return "reassigned"
    if job.state == "dispatched":
        job.state = "accepted"
        attempt.instance = instance
        attempt.accepted_at = attempt.renewed_at = now
        lifecycle.wipe_credentials(session, job)
    return None


def _skip_forgotten(job: Job | None, number: int) -> None:
    """An agent names a hand-out that a power cut has undone here: its number is used up.

    Given again, a late repetition of this acknowledgement could accept the new hand-out in the name of the old one.
    """
    if job is not None and job.state == "pending" and number == job.attempt + 1:
        job.attempt = number


def _reason_against(job: Job, attempt: Attempt, agent_id: str) -> str | None:
    if job.state in {"cancelled", "expired"} and attempt.status is None:
        return job.state
    if attempt.agent_id != agent_id or attempt.number != job.attempt or attempt.end == "released":
        return "reassigned"
    if job.state in lifecycle.FINAL and attempt.status is None:
        # Accepted once, then silent for too long: whoever looked has been told that its outcome is unknown, and may
        # have settled it.
        return "expired"
    return "reassigned" if job.state == "pending" else None
