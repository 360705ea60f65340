"""Signed jobs (feature `signed`): what is signed, how, and how it is checked. Knows no file, clock or setting.

Ed25519 (RFC 8032) over the canonical JSON (RFC 8785) of everything that decides what a job does and where::

    {"actionType", "audience", "connectionId", "expiresAt", "format": "easyalert/signed-job/1", "idempotent", "jobId",
     "params"}

`connectionId` is among it because it chooses the credential and, for most actions, the machine; `idempotent` because it
decides whether a job may run twice. The attempt is not: the control plane counts it, after the signature was made.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from easyalert.protocol.canonical import canonical
from easyalert.protocol.messages import JobSignature

FORMAT: Final = "easyalert/signed-job/1"
POOL_PREFIX: Final = "pool:"
"""An audience that begins like this names a pool; any other an agent's id."""
LIFETIME_MAX_S: Final = 31 * 86_400
"""A signature may be valid for this long at most: agents remember used ones until they expire."""


@dataclass(frozen=True)
class Signable:
    """What a signature covers."""

    job_id: str
    audience: str
    """An agent's id, or `pool:` and a pool's."""
    action_type: str
    connection_id: str | None
    params: dict[str, Any]
    idempotent: bool | None
    expires_at: int
    """Seconds since the epoch."""

    def message(self) -> bytes:
        """The bytes that are signed. Raises NotCanonical."""
        return canonical(
            {
                "format": FORMAT,
                "jobId": self.job_id,
                "audience": self.audience,
                "actionType": self.action_type,
                "connectionId": self.connection_id,
                "params": self.params,
                "idempotent": self.idempotent,
                "expiresAt": self.expires_at,
            }
        )


def sign(key: Ed25519PrivateKey, job: Signable) -> JobSignature:
    """The envelope for `POST /api/v1/jobs`. Raises NotCanonical."""
    return JobSignature(
        job_id=job.job_id,
        audience=job.audience,
        expires_at=job.expires_at,
        key_id=key_id(key.public_key().public_bytes_raw()),
        value=base64.b64encode(key.sign(job.message())).decode(),
    )


def genuine(public_key: bytes, value: bytes, job: Signable) -> bool:
    """Whether `value` is the key's signature of exactly this job. Raises NotCanonical."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(value, job.message())
    except InvalidSignature:
        return False
    return True


def key_id(public_key: bytes) -> str:
    """How a key is called: the first 16 hexadecimal digits of the SHA-256 of its 32 bytes."""
    return hashlib.sha256(public_key).hexdigest()[:16]
