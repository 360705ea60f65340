"""Agents as operators manage them: create, change, keys, enable, disable, drain, delete."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, delete, func, select
from sqlalchemy.orm import Session

from controlplane.clock import rfc3339
from controlplane.models.tables import Agent, AgentKey, Attempt, Job
from controlplane.services import audit_heads, fleet, instances, keys, lifecycle, retries, sealed
from controlplane.services.changes import changes_of
from controlplane.services.errors import ConflictError, NotFoundError
from controlplane.services.ids import new_id
from controlplane.services.pools import DEFAULT_POOL, ensure_pool


def create(
    session: Session,
    now: float,
    *,
    name: str,
    key: str,
    key_hash: str,
    description: str = "",
    pool_id: str | None = None,
    tags: list[str] | None = None,
) -> Agent:
    """A new agent. `key_hash` is `keys.hash_key(key)`, made before the transaction because it is slow."""
    _refuse_taken_name(session, name, None)
    pool = ensure_pool(session, now, pool_id or DEFAULT_POOL)
    agent = Agent(
        id=new_id("agt", now),
        name=name,
        description=description,
        pool_id=pool.id,
        tags=tags or [],
        created_at=now,
        features=[],
    )
    session.add(agent)
    session.flush()
    _add_key(session, now, agent, key, key_hash)
    return agent


def get(session: Session, agent_id: str) -> Agent:
    """The agent. Raises NotFoundError."""
    agent = session.get(Agent, agent_id)
    if agent is None:
        raise NotFoundError(f"agent '{agent_id}' does not exist: GET /api/v1/agents lists those that do")
    return agent


def list_agents(session: Session, *, pool_id: str | None, after: str | None, limit: int) -> list[Agent]:
    """Agents by id, beginning after one."""
    query = select(Agent).order_by(Agent.id).limit(limit)
    if pool_id is not None:
        query = query.where(Agent.pool_id == pool_id)
    return list(session.scalars(query if after is None else query.where(Agent.id > after)))


def change(session: Session, now: float, agent_id: str, values: dict[str, Any]) -> Agent:
    """Set `name`, `description`, `pool_id`, `tags`, those that are given."""
    agent = get(session, agent_id)
    if "name" in values:
        _refuse_taken_name(session, values["name"], agent.id)
    if "pool_id" in values:
        ensure_pool(session, now, values["pool_id"])
        changes_of(session).pools.update({agent.pool_id, values["pool_id"]})
    for field, value in values.items():
        setattr(agent, field, value)
    return agent


def replace_key(session: Session, now: float, agent_id: str, *, key: str, key_hash: str, overlap_s: int) -> Agent:
    """A new key. The old one dies with the commit, or after the overlap."""
    agent = get(session, agent_id)
    if overlap_s <= 0:
        session.execute(delete(AgentKey).where(AgentKey.agent_id == agent_id))
    for old in session.scalars(select(AgentKey).where(AgentKey.agent_id == agent_id)):
        ends = now + overlap_s
        old.expires_at = ends if old.expires_at is None else min(old.expires_at, ends)
    agent.key_version += 1
    _add_key(session, now, agent, key, key_hash)
    return agent


def enable(session: Session, agent_id: str) -> Agent:
    """End disabling and draining: the agent gets jobs again."""
    agent = get(session, agent_id)
    agent.disabled = agent.draining = False
    agent.disabled_reason = agent.disabled_until = agent.draining_reason = agent.draining_until = None
    changes_of(session).pools.add(agent.pool_id)
    return agent


def block(session: Session, agent_id: str, how: str, *, reason: str | None, until: float | None) -> Agent:
    """`how` is `disabled` or `draining`: no new jobs, what it has goes on."""
    agent = get(session, agent_id)
    for suffix, value in (("", True), ("_reason", reason), ("_until", until)):
        setattr(agent, how + suffix, value)
    changes_of(session).pools.add(agent.pool_id)
    return agent


def remove(session: Session, now: float, agent_id: str) -> dict[str, int]:
    """Delete the agent. Answers how many of its jobs were `reassigned`, `failed`, or are `inDoubt`."""
    agent = get(session, agent_id)
    counts = {"reassigned": 0, "failed": 0, "inDoubt": 0}
    others = session.scalar(
        select(func.count()).select_from(Agent).where(Agent.pool_id == agent.pool_id, Agent.id != agent_id)
    )
    held = (
        select(Job, Attempt)
        .join(Attempt, and_(Attempt.job_id == Job.id, Attempt.number == Job.attempt))
        .where(Job.agent_id == agent_id, Job.state.in_(lifecycle.HELD))
    )
    for job, attempt in session.execute(held).all():
        if job.state == "dispatched" and attempt.needs_ack:
            lifecycle.release(session, job, attempt, now, f"{agent.name} was deleted before it took the job.")
            counts["reassigned"] += job.state == "pending" and job.target_agent_id is None
        else:
            reason = f"{agent.name} was deleted while it had the job: it may have run. See its effect, then settle it."
            retries.end_in_doubt(session, now, job, attempt, reason)
            counts["reassigned" if job.state == "pending" else "inDoubt"] += 1
    session.flush()
    for job in session.scalars(select(Job).where(Job.state == "pending", Job.target_agent_id == agent_id)):
        if sealed.is_sealed(job):
            reason = f"Its agent {agent.name} was deleted, and what is sealed in it opens nowhere else: seal it anew."
            lifecycle.finish(session, job, None, "error", now, reason)
            counts["failed"] += 1
        elif others:
            job.target_agent_id, job.pool_id = None, agent.pool_id
            job.state_reason = f"Its agent {agent.name} was deleted; any agent of pool {agent.pool_id} may take it."
            changes_of(session).pools.add(agent.pool_id)
            counts["reassigned"] += 1
        else:
            reason = f"Its agent {agent.name} was deleted, and pool {agent.pool_id} has no other."
            lifecycle.finish(session, job, None, "error", now, reason)
            counts["failed"] += 1
    session.execute(delete(AgentKey).where(AgentKey.agent_id == agent_id))
    audit_heads.forget(session, agent_id)
    session.delete(agent)
    return counts


def view(agent: Agent, figures: fleet.Figures, now: float) -> dict[str, Any]:
    """An agent as operators see it."""
    standing = fleet.standing(agent, figures, now)
    beat = agent.heartbeat or {}
    return {
        "id": agent.id,
        "name": agent.name,
        "description": agent.description,
        "poolId": agent.pool_id,
        "tags": agent.tags,
        "status": standing.status,
        "healthScore": standing.health.score,
        "health": {
            "heartbeatPoints": round(standing.health.heartbeat_points, 1),
            "successPoints": round(standing.health.success_points, 1),
        },
        "blocked": standing.blocked,
        "disabled": _blocking(agent.disabled, agent.disabled_reason, agent.disabled_until, now),
        "draining": _blocking(agent.draining, agent.draining_reason, agent.draining_until, now),
        "paused": fleet.paused(agent, now),
        "version": agent.version,
        "hostname": agent.hostname,
        "agentName": agent.agent_name,
        "platform": agent.platform,
        "architecture": agent.architecture,
        "capabilities": agent.capabilities,
        "features": agent.features,
        **sealed.key_view(agent),
        "keyHolder": instances.view(agent),
        "createdAt": rfc3339(agent.created_at),
        "registeredAt": rfc3339(agent.registered_at),
        "lastSeenAt": rfc3339(agent.last_heartbeat_at),
        "inFlight": figures.in_flight,
        "capacity": standing.capacity,
        "lastHour": {"total": figures.total, "succeeded": figures.succeeded},
        "systemMetrics": beat.get("systemMetrics"),
        "components": beat.get("components"),
        "auditHead": beat.get("audit"),
        "auditWarning": audit_heads.warning(agent),
        "scriptIsolation": beat.get("scriptIsolation"),
        "workers": beat.get("workers"),
        "reported": {
            name: beat.get(name)
            for name in ("jobsExecuted", "jobsFailed", "uptimeSeconds", "inFlight", "queueDepth", "undeliveredResults")
        },
    }


def _blocking(on: bool, reason: str | None, until: float | None, now: float) -> dict[str, Any] | None:  # noqa: FBT001 - a column
    if not on or (until is not None and until <= now):
        return None
    return {"reason": reason, "until": rfc3339(until)}


def _refuse_taken_name(session: Session, name: str, own_id: str | None) -> None:
    taken = session.scalar(select(Agent.id).where(Agent.name == name))
    if taken is not None and taken != own_id:
        raise ConflictError(f"name '{name}' is taken by agent {taken}: choose another", code="name_taken")


def _add_key(session: Session, now: float, agent: Agent, key: str, key_hash: str) -> None:
    prefix = keys.lookup_prefix(key)
    if prefix is None:
        raise ValueError("not a key")
    session.add(AgentKey(prefix=prefix, agent_id=agent.id, hash=key_hash, created_at=now))
