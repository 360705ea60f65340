"""Signed jobs (feature `signed`): what has to be right before a signature is kept, so that its agent can check it.

The control plane trusts no signing key and checks no signature: it can neither make one nor is it asked. It takes the
id that was signed, sends the job only where it was signed for, and keeps the parameters as they were signed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from controlplane.models.tables import Job
from controlplane.services.errors import ConflictError, InvalidError
from easyalert.protocol.canonical import NotCanonical, canonical
from easyalert.protocol.ids import is_job_id
from easyalert.protocol.signing import POOL_PREFIX

if TYPE_CHECKING:
    from controlplane.services.jobs import NewJob


def identity(session: Session, now: float, asked: NewJob, params: dict[str, Any]) -> tuple[str | None, float]:
    """The signed job's id and its expiry in epoch seconds; None and infinity for a job without a signature.

    `params` are the parameters as they are kept. Raises InvalidError, or ConflictError when the id is taken.
    """
    if asked.signature is None:
        return None, math.inf
    job_id, audience, expires_at = (asked.signature[name] for name in ("jobId", "audience", "expiresAt"))
    if not is_job_id(job_id):
        raise InvalidError("signature.jobId must be 'job_' and 26 characters, as easyalert-agent sign-job makes it")
    if expires_at <= now:
        raise InvalidError("signature.expiresAt is over: sign the job anew")
    sent_to = f"{POOL_PREFIX}{asked.pool_id}" if asked.agent_id is None else asked.agent_id
    if audience != sent_to:
        raise InvalidError(
            f"the signature is for '{audience}': send the job there, with agentId, or poolId for what follows 'pool:'"
        )
    _same_parameters(asked.params, params)
    if session.get(Job, job_id) is not None:
        raise ConflictError(f"job '{job_id}' exists already: a signature is good for one job", code="job_id_used")
    return job_id, float(expires_at)


def _same_parameters(signed: dict[str, Any], kept: dict[str, Any]) -> None:
    try:
        if canonical(signed) == canonical(kept):
            return
    except NotCanonical as error:
        raise InvalidError(f"params cannot have been signed: {error}") from None
    raise InvalidError(
        "a signed job is sent as it was signed: write timeout into params, as a number, and leave out headers: null"
    )
