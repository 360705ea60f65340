"""Credentials for a connection: delivered to the vault of one agent, or of every agent of a pool, one job each.

What the caller has sealed is handed on. What comes in clear is sealed here, in memory, to each agent's key where it has
one; agents without get it as before (`lifecycle`: encrypted at rest, forgotten once it is delivered). Connections
themselves are not kept here: a delivery needs their id only, which is the name of the vault's entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.models.tables import Agent, Job, Pool
from controlplane.services import agents, audit, jobs, sealed
from controlplane.services.errors import ConflictError, InvalidError
from controlplane.services.ids import new_id
from controlplane.services.pools import get_pool
from easyalert.protocol.sealed import FORMAT, LIFETIME_MAX_S, STORE_CREDENTIAL, Addressed, Malformed, seal

_MARGIN_S: Final = 3600.0
"""The agent's clock may be ahead of ours."""


@dataclass(frozen=True, repr=False)
class Delivery:
    """As it is asked for: exactly one of `credentials` and `sealed`."""

    connection_id: str
    created_by: str
    agent_id: str | None
    pool_id: str | None
    credentials: dict[str, Any] | None = None
    sealed: list[dict[str, Any]] | None = None
    """Sealed values, one for each agent."""


def deliver(session: Session, now: float, asked: Delivery) -> list[dict[str, Any]]:
    """Queue the deliveries, all or none: `[{"jobId", "agentId", "agentName", "sealedBy", "status"}]`.

    Raises InvalidError, NotFoundError, ConflictError.
    """
    targets = _targets(session, asked)
    given = None if asked.sealed is None else _by_agent(asked.sealed, targets)
    told = []
    for agent in targets:
        value = _for(session, now, asked, agent) if given is None else given[agent.id]
        job = _submit(session, now, asked, agent, value)
        by = None if FORMAT not in value else "control plane" if given is None else "caller"
        audit.record(
            session, now, actor=audit.operator(session, asked.created_by), action=audit.CREDENTIALS_SENT,
            target=job.id, connectionId=asked.connection_id, agentId=agent.id, sealedBy=by,
        )  # fmt: skip
        known = {"jobId": job.id, "agentId": agent.id, "agentName": agent.name}
        told.append({**known, "sealedBy": by, "status": job.state})
    return told


def _targets(session: Session, asked: Delivery) -> list[Agent]:
    if (asked.agent_id is None) == (asked.pool_id is None):
        raise InvalidError("give agentId, or poolId for every agent of a pool")
    if asked.agent_id is not None:
        return [agents.get(session, asked.agent_id)]
    pool = get_pool(session, asked.pool_id or "")
    found = list(session.scalars(select(Agent).where(Agent.pool_id == pool.id).order_by(Agent.id)))
    if not found:
        raise ConflictError(f"pool '{pool.id}' has no agent yet: create one in it, then deliver", code="pool_empty")
    return found


def _by_agent(values: list[dict[str, Any]], targets: list[Agent]) -> dict[str, dict[str, Any]]:
    """One value for each agent, none for others: a vault that was left out would fail later, far from here."""
    found: dict[str, dict[str, Any]] = {}
    for value in values:
        inner = value.get(FORMAT)
        agent_id = inner.get("agentId") if isinstance(inner, dict) else None
        if not isinstance(agent_id, str):
            raise InvalidError(f"sealed must be a list of objects with the one member '{FORMAT}' (docs/sealed.md)")
        if agent_id in found:
            raise InvalidError(f"sealed has two values for agent {agent_id}: give one")
        found[agent_id] = value
    names = {agent.id: agent.name for agent in targets}
    if missing := sorted(names.keys() - found.keys()):
        listed = ", ".join(f"{names[agent_id]} ({agent_id})" for agent_id in missing[:5])
        raise InvalidError(f"sealed has no value for {listed}: seal one for every agent that is to store it")
    if others := sorted(found.keys() - names.keys()):
        raise InvalidError(f"sealed has a value for {others[0][:64]}, to which this is not sent")
    return found


def _for(session: Session, now: float, asked: Delivery, agent: Agent) -> dict[str, Any]:
    key, credentials = sealed.key_of(agent), asked.credentials or {}
    if key is None:
        return credentials
    pool = session.get_one(Pool, agent.pool_id)
    expires_at = int(now + min(pool.max_queue_age_s + _MARGIN_S, LIFETIME_MAX_S))
    to = Addressed("credentials", agent.id, new_id("job", now), STORE_CREDENTIAL, asked.connection_id, expires_at)
    try:
        return seal(key, to, credentials).wire()
    except Malformed as error:
        raise InvalidError(f"credentials cannot be sealed for agent {agent.name}: {error}") from None


def _submit(session: Session, now: float, asked: Delivery, agent: Agent, value: dict[str, Any]) -> Job:
    new = jobs.NewJob(
        action_type=STORE_CREDENTIAL,
        params={"connectionId": asked.connection_id, "credentials": value},
        created_by=asked.created_by,
        agent_id=agent.id,
    )
    job, _ = jobs.submit(session, now, new)
    session.flush()
    return job
