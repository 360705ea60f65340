"""Sealed jobs (feature `sealed`): what has to be right before one is kept, so that its agent can open it.

The control plane cannot read what callers seal, and hands it on as it came. It takes the job id that was sealed for,
sends the job to that agent alone, never under another id, and to no agent that does not take sealed values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from controlplane.models.tables import Agent, Job
from controlplane.services.errors import ConflictError, InvalidError
from easyalert.protocol import features
from easyalert.protocol.ids import is_job_id
from easyalert.protocol.sealed import (
    LIFETIME_MAX_S,
    STORE_CREDENTIAL,
    Malformed,
    Sealed,
    fingerprint,
    read_public_key,
    read_sealed,
    sealed_in,
)
from easyalert.protocol.signing import key_id

if TYPE_CHECKING:
    from controlplane.services.jobs import NewJob


def is_sealed(job: Job) -> bool:
    """Whether a caller has sealed something in the job: it is for one agent, once."""
    return sealed_in(job.action_type, job.params) is not None


def key_of(agent: Agent) -> bytes | None:
    """The key to seal to for an agent; None: it takes nothing sealed."""
    return read_public_key(agent.public_key) if features.SEALED in agent.features else None


def key_view(agent: Agent) -> dict[str, Any]:
    """An agent's key as operators see it; people compare the fingerprint with what the agent's machine shows."""
    raw = read_public_key(agent.public_key)
    return {"publicKey": agent.public_key, "publicKeyFingerprint": None if raw is None else fingerprint(raw)}


def addressed(session: Session, now: float, asked: NewJob) -> tuple[NewJob, Sealed | None]:
    """The job with its agent, when something in it is sealed, and what that is.

    Raises InvalidError when it is malformed, expired or sent elsewhere; ConflictError when its agent takes nothing
    sealed or has another key by now, or the job it is for exists.
    """
    found = sealed_in(asked.action_type, asked.params)
    if found is None:
        return asked, None
    try:
        sealed = read_sealed(*found)
    except Malformed as error:
        raise InvalidError(f"the sealed {found[0]} are malformed: {error} (docs/sealed.md)") from None
    if found[0] == "params" and asked.action_type == STORE_CREDENTIAL:
        raise InvalidError(f"{STORE_CREDENTIAL} takes its credentials sealed, not all of its params")
    _sent_there(asked, sealed)
    if not is_job_id(sealed.job_id):
        raise InvalidError("the sealed jobId must be 'job_' and 26 characters, as easyalert-agent seal makes it")
    if not now < sealed.expires_at <= now + LIFETIME_MAX_S:
        raise InvalidError(
            f"the sealed expiresAt is over, or more than {LIFETIME_MAX_S // 86_400} days ahead: seal anew"
        )
    _openable(session, sealed)
    if session.get(Job, sealed.job_id) is not None:
        raise ConflictError(
            f"job '{sealed.job_id}' exists already: what is sealed is good for one job, seal it anew",
            code="job_id_used",
        )
    return replace(asked, agent_id=sealed.agent_id), sealed


def _sent_there(asked: NewJob, sealed: Sealed) -> None:
    if asked.pool_id is not None:
        raise InvalidError(f"poolId: what is sealed opens on one agent only, send it with agentId {sealed.agent_id}")
    if asked.agent_id not in {None, sealed.agent_id}:
        raise InvalidError(f"agentId: the {sealed.purpose} are sealed for agent {sealed.agent_id}, not for another")
    if asked.signature is not None and asked.signature["jobId"] != sealed.job_id:
        raise InvalidError("signature.jobId is another than the sealed one: seal first, then sign with sign-job")


def _openable(session: Session, sealed: Sealed) -> None:
    agent = session.get(Agent, sealed.agent_id)
    if agent is None:
        raise InvalidError(
            f"the {sealed.purpose} are sealed for agent '{sealed.agent_id}', which does not exist: "
            "GET /api/v1/agents lists those that do"
        )
    key = key_of(agent)
    if key is None:
        raise ConflictError(not_supported(agent), code="sealing_not_supported")
    if key_id(key) != sealed.key_id:
        raise ConflictError(
            f"the {sealed.purpose} are sealed to the key {sealed.key_id}, and agent {agent.name}'s is {key_id(key)}: "
            f"GET /api/v1/agents/{agent.id} has it, seal them anew",
            code="sealed_to_another_key",
        )


def not_supported(agent: Agent) -> str:
    """Why an agent gets nothing sealed."""
    return (
        f"agent {agent.name} ({agent.id}) takes nothing sealed: it has registered no key for that. "
        "Update and start it, or send in clear"
    )
