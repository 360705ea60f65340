"""Jobs as operators manage them: submit, find, cancel, retry, settle."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, defer

from controlplane.models.tables import Agent, Job, Pool
from controlplane.services import agents, audit, lifecycle, orders, sealed, signed
from controlplane.services.changes import changes_of
from controlplane.services.errors import ConflictError, InvalidError, NotFoundError
from controlplane.services.ids import new_id
from controlplane.services.pools import DEFAULT_MAX_QUEUE_AGE_S, get_pool
from easyalert.protocol.limits import JOB_PARAMS_MAX_CHARS, job_timeout_seconds

_ACTION = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+", re.ASCII)
_CONNECTION = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)


@dataclass(frozen=True)
class NewJob:
    """A job as it is asked for."""

    action_type: str
    params: dict[str, Any]
    created_by: str
    connection_id: str | None = None
    pool_id: str | None = None
    agent_id: str | None = None
    timeout: float | None = None
    priority: int = 0
    idempotent: bool | None = None
    idempotency_key: str | None = None
    signature: dict[str, Any] | None = None
    """In wire form."""


def submit(session: Session, now: float, asked: NewJob) -> tuple[Job, bool]:
    """Queue a job; the same idempotency key answers the same job. Returns it and whether it is new.

    Raises InvalidError (the sentence names the field), NotFoundError, ConflictError.
    """
    params = _checked_params(asked)
    fingerprint = _fingerprint(asked)
    if asked.idempotency_key is not None:
        known = session.scalar(select(Job).where(Job.idempotency_key == asked.idempotency_key))
        if known is not None:
            if known.fingerprint != fingerprint:
                raise ConflictError(
                    f"idempotencyKey was used before for another job ({known.id}): use a new key for a new job",
                    code="idempotency_key_reused",
                )
            return known, False
    asked, inside = sealed.addressed(session, now, asked)
    pool, target = _route(session, asked)
    job_id, valid_until = signed.identity(session, now, asked, params)
    if inside is not None:
        job_id, valid_until = inside.job_id, min(valid_until, inside.expires_at)
    job = Job(
        id=job_id or new_id("job", now),
        action_type=asked.action_type,
        category=asked.action_type.partition(".")[0],
        connection_id=asked.connection_id,
        params=params,
        pool_id=None if target else pool.id,
        target_agent_id=target.id if target else None,
        priority=asked.priority,
        timeout_s=job_timeout_seconds(params.get("timeout")),
        idempotent=asked.idempotent,
        idempotency_key=asked.idempotency_key,
        fingerprint=fingerprint,
        created_at=now,
        created_by=asked.created_by,
        state="pending",
        available_at=now,
        expires_at=min(now + pool.max_queue_age_s, valid_until),
        attempt=0,
        signature=asked.signature,
    )
    lifecycle.seal_credentials(session, job)
    session.add(job)
    if asked.idempotent is not None:
        audit.record(
            session,
            now,
            actor=audit.operator(session, asked.created_by),
            action=audit.JOB_IDEMPOTENCE_SET,
            target=job.id,
            actionType=job.action_type,
            idempotent=asked.idempotent,
        )
    changes_of(session).pools.add(pool.id)
    return job, True


def get(session: Session, job_id: str) -> Job:
    """The job. Raises NotFoundError."""
    job = session.get(Job, job_id)
    if job is None:
        raise NotFoundError(f"job '{job_id}' does not exist: GET /api/v1/jobs lists those that do")
    return job


def list_jobs(
    session: Session,
    *,
    status: list[str],
    agent_id: str | None,
    pool_id: str | None,
    action_type: str | None,
    text: str | None,
    before: str | None,
    limit: int,
) -> list[Job]:
    """Jobs, newest first, beginning after the one named `before`. `text` matches ids, actions and connections."""
    query = select(Job).order_by(Job.id.desc()).limit(limit).options(defer(Job.params))
    if unknown := set(status) - lifecycle.STATES:
        raise InvalidError(f"status '{min(unknown)}' does not exist: use one of {', '.join(sorted(lifecycle.STATES))}")
    if status:
        query = query.where(Job.state.in_(status))
    if agent_id is not None:
        query = query.where(or_(Job.agent_id == agent_id, Job.target_agent_id == agent_id))
    if pool_id is not None:
        query = query.where(Job.pool_id == pool_id)
    if action_type is not None:
        query = query.where(Job.action_type == action_type)
    if text:
        query = query.where(
            or_(*(column.icontains(text, autoescape=True) for column in (Job.id, Job.action_type, Job.connection_id)))
        )
    return list(session.scalars(query if before is None else query.where(Job.id < before)))


def cancel(session: Session, now: float, job_id: str, by: str) -> Job:
    """End a job nobody has acknowledged; have the agent that has taken it end it. Repeating it is no error.

    `by` is the id of the operator's token. Raises ConflictError when the job is over, or its agent cannot be told.
    """
    job = get(session, job_id)
    if job.state == "cancelled":
        return job
    if job.state in lifecycle.FINAL:
        raise ConflictError(f"the job is already {job.state}: there is nothing to cancel", code="already_final")
    attempt = lifecycle.current_attempt(session, job) if job.state == "dispatched" else None
    taken = job.state in {"accepted", "running"} or (attempt is not None and not attempt.needs_ack)
    if taken and not orders.can_be_told(session, job):
        raise ConflictError(
            f"the job is {job.state}: its agent has taken it and cannot be told to stop; wait for its result",
            code="cancel_not_supported",
        )
    if job.cancel_requested_at is None:
        audit.record(
            session, now, actor=audit.operator(session, by), action=audit.JOB_CANCEL, target=job.id, state=job.state
        )
    orders.request_cancel(session, job, now, by)
    if not taken:
        when = "while it waited to be run again; it may have run" if job.retries else "before any agent took it"
        reason = f"Cancelled by {job.cancel_requested_by} {when}."
        lifecycle.finish(session, job, attempt, "cancelled", now, reason)
    return job


def retry(session: Session, now: float, job_id: str, by: str) -> Job:
    """Queue a job that ended without success once more, as a new attempt. `by` is the id of the operator's token."""
    job = get(session, job_id)
    if job.state not in lifecycle.FINAL or job.state == "success":
        raise ConflictError(
            f"the job is {job.state}: only one that ended without success can be retried", code="not_retryable"
        )
    if job.credentials_wiped:
        raise ConflictError(
            "the credentials of this delivery are no longer held here: submit a new job with them",
            code="credentials_wiped",
        )
    if sealed.is_sealed(job):
        raise ConflictError(
            "what is sealed in this job is good for one start of it: seal it anew and submit a new job",
            code="sealed_once",
        )
    pool = session.get(Pool, job.pool_id) if job.pool_id is not None else None
    if job.target_agent_id is not None:
        agents.get(session, job.target_agent_id)
    who = audit.operator(session, by)
    audit.record(session, now, actor=who, action=audit.JOB_RETRY, target=job.id, state=job.state)
    job.state, job.state_reason = "pending", "Queued again by an operator."
    job.agent_id = job.finished_at = job.cancel_requested_at = job.cancel_requested_by = None
    job.available_at, job.retries = now, 0
    job.expires_at = now + (DEFAULT_MAX_QUEUE_AGE_S if pool is None else pool.max_queue_age_s)
    lifecycle.touch_dispatch(session, job)
    return job


def settle(session: Session, now: float, job_id: str, *, status: str, note: str, by: str) -> Job:
    """A person says how a job in doubt ended. `by` is the id of the operator's token."""
    job = get(session, job_id)
    if job.state != "in_doubt":
        raise ConflictError(f"the job is {job.state}: only one in doubt can be settled", code="not_in_doubt")
    # The attempt stays in doubt: what the agent did is still not known, a person has decided what it counts as.
    who = audit.operator(session, by)
    audit.record(session, now, actor=who, action=audit.JOB_SETTLE, target=job.id, status=status, note=note)
    lifecycle.finish(session, job, None, status, now, f"Settled by an operator: {note}")
    return job


def _route(session: Session, asked: NewJob) -> tuple[Pool, Agent | None]:
    if asked.pool_id is not None and asked.agent_id is not None:
        raise InvalidError("poolId and agentId exclude each other: give the one the job is for")
    if asked.agent_id is not None:
        target = session.get(Agent, asked.agent_id)
        if target is None:
            raise InvalidError(f"agentId '{asked.agent_id}' does not exist: GET /api/v1/agents lists those that do")
        return get_pool(session, target.pool_id), target
    if asked.pool_id is not None:
        return _known_pool(session, asked.pool_id), None
    pools = session.scalars(select(Pool).limit(2)).all()
    if len(pools) == 1:
        return pools[0], None
    raise InvalidError(
        "poolId or agentId is missing: "
        + (
            "there are several pools, so the job must name one"
            if pools
            else "no pool exists yet, create an agent first"
        )
    )


def _known_pool(session: Session, pool_id: str) -> Pool:
    # Pools exist by use, but by agents' use: a misspelt one must not swallow a job for a day.
    pool = session.get(Pool, pool_id)
    if pool is None:
        raise InvalidError(f"poolId '{pool_id}' does not exist: create an agent in it, or PUT /api/v1/pools/{pool_id}")
    return pool


def _checked_params(asked: NewJob) -> dict[str, Any]:
    if len(asked.action_type) > 128 or _ACTION.fullmatch(asked.action_type) is None:
        raise InvalidError("actionType must look like 'ssh.executeCommand': category, dot, action")
    if asked.connection_id is not None and _CONNECTION.fullmatch(asked.connection_id) is None:
        raise InvalidError("connectionId must be 1 to 256 ASCII letters, digits, '_' or '-'")
    params = dict(asked.params)
    timeout = params.get("timeout") if asked.timeout is None else asked.timeout
    if timeout is not None:
        params["timeout"] = _number("timeout", timeout)
    if params.get("headers", {}) is None:
        # Base agents need an object or nothing (contract 1.10.7).
        del params["headers"]
    try:
        text = json.dumps(params, allow_nan=False, ensure_ascii=False)
        text.encode()
    except ValueError as error:
        raise InvalidError(
            f"params cannot be sent as JSON: {type(error).__name__}, NaN, Infinity or half a character"
        ) from None
    if len(text) > JOB_PARAMS_MAX_CHARS:
        raise InvalidError(f"params has {len(text):,} characters as JSON; at most {JOB_PARAMS_MAX_CHARS:,} are carried")
    return params


def _number(name: str, value: Any) -> float | int:
    """A base agent's executors need a JSON number (contract 1.10.7)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidError(f"{name} must be a number of seconds")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise InvalidError(f"{name} must be a number of seconds") from None
    if not 0 < number < 1e9:
        raise InvalidError(f"{name} must be a positive number of seconds")
    return int(number) if number.is_integer() else number


def _fingerprint(asked: NewJob) -> str:
    # Without the parameters' values where they may be secrets: a digest of a weak password can be guessed.
    secret = asked.action_type == "system.storeCredential"
    parts = [
        asked.action_type,
        sorted(asked.params) if secret else asked.params,
        asked.connection_id,
        asked.pool_id,
        asked.agent_id,
        asked.timeout,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
