"""Agents as dispatch and people see them: status, score, load, computed from rows when they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from controlplane.clock import rfc3339
from controlplane.models.tables import Agent, Attempt, Job
from controlplane.services import audit_heads, health
from controlplane.services.dispatch import Candidate
from controlplane.services.lifecycle import COUNTED, HELD

BASE_CAPACITY = 5
"""Assumed of an agent that does not say: the base agent's default for MAX_CONCURRENT_JOBS (contract 6.1)."""


@dataclass(frozen=True)
class Figures:
    """An agent's jobs: ended in the last hour, with success, and held now."""

    total: int = 0
    succeeded: int = 0
    in_flight: int = 0


@dataclass(frozen=True)
class Standing:
    """What follows from an agent's row and figures at one time."""

    status: health.Status
    health: health.Health
    blocked: str | None
    capacity: int
    figures: Figures


def figures(session: Session, agent_ids: Iterable[str], now: float) -> dict[str, Figures]:
    """The figures of each of these agents."""
    ids = list(agent_ids)
    hour = (
        select(Attempt.agent_id, func.count(), func.sum(case((Attempt.end == "success", 1), else_=0)))
        .where(Attempt.agent_id.in_(ids), Attempt.ended_at > now - health.WINDOW_S, Attempt.end.in_(COUNTED))
        .group_by(Attempt.agent_id)
    )
    held = select(Job.agent_id, func.count()).where(Job.state.in_(HELD), Job.agent_id.in_(ids)).group_by(Job.agent_id)
    ended = {agent_id: (int(total), int(good)) for agent_id, total, good in session.execute(hour)}
    in_flight = {agent_id: int(count) for agent_id, count in session.execute(held)}
    return {i: Figures(*ended.get(i, (0, 0)), in_flight.get(i, 0)) for i in ids}


def standing(agent: Agent, figures: Figures, now: float) -> Standing:
    """Status, score and capacity of an agent."""
    age = None if agent.last_heartbeat_at is None else max(0.0, now - agent.last_heartbeat_at)
    status = health.status(
        age,
        said_offline=agent.said_offline,
        reports_errors=_reports_errors(agent),
        succeeded=figures.succeeded,
        total=figures.total,
    )
    score = health.health_score(None if agent.said_offline else age, figures.succeeded, figures.total)
    return Standing(status, score, blocked(agent, now), agent.max_concurrent_jobs or BASE_CAPACITY, figures)


def blocked(agent: Agent, now: float) -> str | None:
    """Why new jobs are kept from the agent, by operators or where it runs, or None. An end that has passed is none."""
    for word, on, reason, until in (
        ("disabled", agent.disabled, agent.disabled_reason, agent.disabled_until),
        ("draining", agent.draining, agent.draining_reason, agent.draining_until),
    ):
        if on and (until is None or until > now):
            return word + (f" until {rfc3339(until)}" if until else "") + (f" ({reason})" if reason else "")
    said = paused(agent, now)
    if said is None:
        return None
    ends, why = said["until"], said["reason"]
    return "paused where it runs" + (f" until {ends}" if ends else "") + (f" ({why})" if why else "")


def paused(agent: Agent, now: float) -> dict[str, Any] | None:
    """What the agent said of a pause made where it runs: `{"reason", "until"}`; None when there is none (any more)."""
    said = (agent.heartbeat or {}).get("paused")
    if not isinstance(said, dict):
        return None
    left = said.get("remainingSeconds")
    if left is not None and (agent.last_heartbeat_at or 0.0) + left <= now:
        return None
    return {"reason": said.get("reason"), "until": said.get("until")}


def candidate(agent: Agent, standing: Standing, slots: int | None, *, expected: bool = False) -> Candidate:
    """The agent as dispatch sees it. `slots` is what its waiting poll asked for, None when it is not polling.

    The agent's own word on its free workers is newer than our count of what it holds, so it wins. A base agent's poll
    says nothing: it is given one job at a time, while our count leaves room (contract 1.10.9).
    """
    room = max(0, standing.capacity - standing.figures.in_flight)
    if slots is None:
        free = room
    elif agent.features:
        free = slots
    else:
        free = min(1, room)
    return Candidate(
        agent_id=agent.id,
        name=agent.name,
        status=standing.status,
        score=standing.health.score,
        free=free,
        capacity=standing.capacity,
        waiting_since=agent.last_dispatch_at,
        polling=slots is not None,
        expected=expected,
        blocked=standing.blocked,
        capabilities=None if agent.capabilities is None else frozenset(agent.capabilities),
        silent=f" since {rfc3339(agent.last_heartbeat_at)}" if agent.last_heartbeat_at else ", never seen",
    )


def pool_candidates(
    session: Session, pool_id: str, slots: Mapping[str, int], now: float, expected: Collection[str] = ()
) -> dict[str, tuple[Agent, Candidate]]:
    """All agents of a pool, by id, as dispatch sees them.

    `slots`: what each waiting poll asked for. `expected`: agents whose last poll ended a moment ago.
    """
    agents = session.scalars(select(Agent).where(Agent.pool_id == pool_id).order_by(Agent.id)).all()
    known = figures(session, (a.id for a in agents), now)
    return {
        a.id: (a, candidate(a, standing(a, known[a.id], now), slots.get(a.id), expected=a.id in expected))
        for a in agents
    }


def _reports_errors(agent: Agent) -> bool:
    components = (agent.heartbeat or {}).get("components") or {}
    warned = (agent.audit_warning or {}).get("kind") in audit_heads.TAMPERING
    return warned or any(state != "ok" for state in components.values())
