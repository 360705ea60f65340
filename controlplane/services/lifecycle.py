"""The states of a job, and the only functions that move it between them.

::

    pending ──► dispatched ──► accepted ──► running ──► success | error | timed_out | cancelled | expired
       ▲             │            └────────────┴──────► in_doubt ──► (late result or settle) one of the above
       └─────────────┘ unacknowledged

A base-protocol agent goes from `dispatched` to its result. Every state that is not final has a maximum age,
and `sweep` ends what reaches it.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.orm import Session

from controlplane.models.at_rest import at_rest_of
from controlplane.models.tables import Agent, Attempt, Job
from controlplane.services.changes import changes_of
from easyalert.protocol.limits import START_WITHIN_DEFAULT_S
from easyalert.protocol.sealed import STORE_CREDENTIAL, sealed_in

HELD: Final = frozenset({"dispatched", "accepted", "running"})
"""An agent has it."""
FINAL: Final = frozenset({"success", "error", "timed_out", "cancelled", "expired", "in_doubt"})
"""No agent will be given it any more. Only `in_doubt` may still change."""
STATES: Final = frozenset({"pending"}) | HELD | FINAL
COUNTED: Final = ("success", "error", "timed_out", "in_doubt")
"""Ends that count in an agent's last hour."""

LEASE_S: Final = 60.0
LATE_RESULT_S: Final = 7 * 86_400.0
"""How long a result may still replace `in_doubt`."""
DEADLINE_MARGIN_S: Final = 60.0
BASE_SLOT_WAIT_S: Final = 60.0
"""A base agent may let a job wait this long for a slot (contract 2.7)."""
BASE_MARGIN_S: Final = 300.0
"""For its retries of the report (contract 1.9, 1.10.8)."""
RUNNING_OVERRUN_S: Final = 3600.0
"""A job still said to be running this long after its deadline is in doubt whatever the agent says."""

_WIPED: Final = "[wiped]"


def doubt_at(job: Job, attempt: Attempt, lost_after_s: float, up_since: float) -> float:
    """When a held job becomes in doubt if nothing more is heard of it.

    Nothing could be heard before `up_since`, when the control plane came up.
    """
    silence_ends = max(attempt.renewed_at, up_since) + lost_after_s
    if not attempt.needs_ack:
        return max(silence_ends, attempt.dispatched_at + BASE_SLOT_WAIT_S + job.timeout_s + BASE_MARGIN_S)
    if attempt.running_at is not None:
        deadline = attempt.running_at + job.timeout_s
        overrun_ends = max(deadline + RUNNING_OVERRUN_S, up_since + lost_after_s)
        return min(max(silence_ends, deadline + DEADLINE_MARGIN_S), overrun_ends)
    # Accepted: it may start as late as its start deadline, and then run its whole time.
    return max(silence_ends, attempt.dispatched_at + START_WITHIN_DEFAULT_S + job.timeout_s + DEADLINE_MARGIN_S)


def release(session: Session, job: Job, attempt: Attempt, now: float, reason: str) -> None:
    """Give an unacknowledged hand-out back: `pending` again, or `expired` when its time in the queue is over."""
    attempt.end, attempt.ended_at = "released", now
    job.agent_id = None
    if now >= job.expires_at:
        finish(session, job, None, "expired", now, reason)
        return
    job.state, job.state_reason, job.available_at = "pending", reason, now
    touch_dispatch(session, job)


def finish(
    session: Session, job: Job, attempt: Attempt | None, state: str, now: float, reason: str | None = None
) -> None:
    """End the job, and its attempt if given. Wakes whoever waits for it, and its pool: a slot is free."""
    job.state, job.state_reason, job.finished_at = state, reason, now
    if attempt is not None:
        attempt.end, attempt.ended_at = state, now
    wipe_credentials(session, job)
    changes = changes_of(session)
    changes.jobs.add(job.id)
    touch_dispatch(session, job)


def seal_credentials(session: Session, job: Job) -> None:
    """A new job: the secrets of a credential delivery go into the database encrypted, unless they came sealed."""
    if _holds_credentials(job):
        job.params = {**job.params, "credentials": at_rest_of(session).seal(job.id, job.params["credentials"])}


def sent_params(session: Session, job: Job) -> dict[str, Any]:
    """The parameters as the agent gets them. Raises LookupError when the key of sealed ones is gone."""
    if _holds_credentials(job) and not job.credentials_wiped:
        return {**job.params, "credentials": at_rest_of(session).open(job.id, job.params["credentials"])}
    return job.params


def _holds_credentials(job: Job) -> bool:
    sealed = sealed_in(job.action_type, job.params)
    return sealed is None and job.action_type == STORE_CREDENTIAL and "credentials" in job.params


def wipe_credentials(session: Session, job: Job) -> None:
    """Forget the secrets of a credential delivery: once it is on the agent, nothing here needs them."""
    if job.action_type == STORE_CREDENTIAL and not job.credentials_wiped and "credentials" in job.params:
        job.params = {**job.params, "credentials": _WIPED}
        job.credentials_wiped = True
        changes_of(session).wiped = True


def shown_params(job: Job) -> dict[str, object]:
    """The parameters as people may see them: without the secrets of a credential delivery."""
    if job.action_type == STORE_CREDENTIAL and "credentials" in job.params:
        return {**job.params, "credentials": "[redacted]"}
    return job.params


def touch_dispatch(session: Session, job: Job) -> None:
    """Have the pool the job belongs to looked at again after the commit."""
    pool_id = job.pool_id
    if pool_id is None and job.target_agent_id is not None:
        agent = session.get(Agent, job.target_agent_id)
        pool_id = agent.pool_id if agent is not None else None
    if pool_id is not None:
        changes_of(session).pools.add(pool_id)


def current_attempt(session: Session, job: Job) -> Attempt | None:
    """The last hand-out, or None before the first."""
    return session.get(Attempt, (job.id, job.attempt)) if job.attempt else None
