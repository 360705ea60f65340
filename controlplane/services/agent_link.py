"""What an agent tells about itself: registration, heartbeats, relayed notifications."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy.orm import Session

from controlplane.models.tables import Agent, Attempt, Job, Notification
from controlplane.services import audit_heads, claims, fleet, instances, lifecycle
from controlplane.services.changes import changes_of
from controlplane.services.errors import UnauthorizedError
from controlplane.services.ids import new_id
from easyalert.protocol import features
from easyalert.protocol.messages import AckItem, HeartbeatRequest, RegisterRequest
from easyalert.protocol.sealed import read_public_key

OFFERED: Final = (
    *(features.LONG_POLL, features.ACK, features.RECEIPTS),
    *(features.CANCEL, features.CONTROL, features.OUTPUT, features.INSTANCE, features.SIGNED),
    features.SEALED,
)
_TEXT_MAX = 256


def register(session: Session, now: float, agent_id: str, request: RegisterRequest, up_since: float = 0.0) -> Agent:
    """Take down what the agent says about itself. Its first heartbeat follows at once, so this counts as one.

    Raises KeyInUseError while another instance holds the key.
    """
    agent = _agent(session, agent_id)
    named = features.INSTANCE in (request.features or ())
    instance = instances.spoken(request.instance) if named else None
    instances.claim(session, now, agent, instance, request.hostname[:_TEXT_MAX], up_since)
    agent.hostname, agent.agent_name = request.hostname[:_TEXT_MAX], request.agent_name[:_TEXT_MAX]
    agent.version, agent.platform = request.version[:_TEXT_MAX], request.platform[:_TEXT_MAX]
    agent.architecture = request.architecture[:_TEXT_MAX]
    agent.capabilities = request.capabilities
    agent.max_concurrent_jobs = _capacity(request.max_concurrent_jobs)
    agent.public_key = request.public_key
    agent.repeatable = request.repeatable
    agent.features = [name for name in OFFERED if name in (request.features or ())]
    if instance is None and named:
        agent.features.remove(features.INSTANCE)
    if features.SEALED in agent.features and read_public_key(request.public_key) is None:
        agent.features.remove(features.SEALED)
    agent.registered_at = agent.last_heartbeat_at = now
    agent.said_offline = False
    claims.forget_offers(session, agent_id, now)
    changes_of(session).pools.add(agent.pool_id)
    return agent


def heartbeat(session: Session, now: float, agent_id: str, beat: HeartbeatRequest, *, figures: dict[str, Any]) -> None:
    """Take a heartbeat: figures, renewal of running jobs, and at `offline` the return of what was not acknowledged.

    `figures` is the heartbeat as it is kept for people.
    """
    agent = _agent(session, agent_id)
    was_away = agent.said_offline or fleet.standing(agent, fleet.Figures(), now).status == "offline"
    late = _came_late(agent, beat)
    resumes = beat.paused is None and (agent.heartbeat or {}).get("paused") is not None
    agent.last_heartbeat_at = now
    agent.said_offline = beat.status == "offline"
    agent.heartbeat = figures
    if beat.max_concurrent_jobs is not None:
        agent.max_concurrent_jobs = _capacity(beat.max_concurrent_jobs)
    if beat.audit is not None and not late:
        audit_heads.witness(session, now, agent, beat.audit)
    still_runs(session, now, agent_id, beat)
    if agent.said_offline:
        for job, attempt in claims.unacknowledged(session, [agent_id]):
            lifecycle.release(session, job, attempt, now, f"{agent.name} went offline before it took the job.")
    elif was_away or resumes:
        # its poll may be there already, and would wait to its end though there are jobs
        changes_of(session).pools.add(agent.pool_id)


def still_runs(session: Session, now: float, agent_id: str, beat: HeartbeatRequest) -> None:
    """The heartbeat of one who may have no jobs any more: what it runs, it runs all the same."""
    for item in beat.running_jobs or ():
        _renew(session, now, agent_id, item)


def notify(session: Session, now: float, agent_id: str, body: dict[str, Any]) -> None:
    """Keep a notification an agent relayed (contract 1.8)."""
    channel = body.get("channel")
    row = Notification(
        id=new_id("ntf", now),
        agent_id=agent_id,
        type=str(body.get("type") or "")[:64],
        channel=None if channel is None else str(channel)[:_TEXT_MAX].replace("\x00", ""),
        message=str(body.get("message") or "")[:65_536].replace("\x00", ""),
        created_at=now,
    )
    session.add(row)


def _renew(session: Session, now: float, agent_id: str, item: AckItem) -> None:
    job = session.get(Job, item.job_id)
    if job is None or job.attempt != item.attempt or job.state not in lifecycle.HELD:
        return
    attempt = session.get(Attempt, (item.job_id, item.attempt))
    if attempt is None or attempt.agent_id != agent_id:
        return
    job.state = "running"
    attempt.accepted_at = attempt.accepted_at or now
    attempt.running_at = attempt.running_at or now
    attempt.renewed_at = now


def _came_late(agent: Agent, beat: HeartbeatRequest) -> bool:
    """Whether a later heartbeat of the same run has been taken already: this one was held up on its way."""
    if agent.registered_at is not None and agent.registered_at == agent.last_heartbeat_at:
        return False  # the first one since it has registered
    uptime = (agent.heartbeat or {}).get("uptimeSeconds")
    return isinstance(uptime, int) and beat.uptime_seconds < uptime


def _agent(session: Session, agent_id: str) -> Agent:
    agent = session.get(Agent, agent_id)
    if agent is None:
        # Deleted between the check of its key and now.
        raise UnauthorizedError("this agent was deleted")
    return agent


def _capacity(said: int | None) -> int | None:
    return None if said is None else max(1, min(1000, said))
