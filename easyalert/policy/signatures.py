"""Whose signatures count on this agent, and whether a job carries one: mode, audience and trusted keys, no files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from easyalert.errors import PolicyUnusable, SignatureRefused
from easyalert.protocol.canonical import NotCanonical
from easyalert.protocol.keytext import KEY_BYTES, SIGNATURE_BYTES, exact_base64
from easyalert.protocol.messages import JobSignature
from easyalert.protocol.signing import LIFETIME_MAX_S, Signable, genuine, key_id

Keys = Mapping[str, bytes]
"""Key id → public key, 32 bytes."""

_SHOWN: Final = 40
_SHOWN_MAX_S: Final = 10**9


@dataclass(frozen=True)
class Delivered:
    """A job as it came, with what claims to be its signature. Its repr shows no parameters."""

    job_id: str
    action_type: str
    connection_id: str | None
    idempotent: bool | None
    params: dict[str, Any] = field(repr=False)
    signature: Any = None


def read_keys(content: bytes, path: Path) -> Keys:
    """One public key a line, base64, then whatever is to be remembered of it; `#` begins a comment.

    Raises PolicyUnusable, also for a list without any key.
    """
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise PolicyUnusable(f"{path}: not text in UTF-8") from None
    found: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        key = exact_base64(words[0], KEY_BYTES)
        if key is None:
            raise PolicyUnusable(
                f"{path}, line {number}: no Ed25519 public key; 'easyalert-agent signing-key FILE' prints one"
            )
        found[key_id(key)] = key
    if not found:
        raise PolicyUnusable(f"{path}: names no key, so that no signature can count")
    return found


def trusted_signature(job: Delivered, keys: Keys, audience: Collection[str], now: float) -> JobSignature:
    """The job's signature, when a trusted key made it for exactly this job, this agent and this time.

    `audience`: the names this agent answers to. Raises SignatureRefused with one sentence. Whether it was used before
    is not known here.
    """
    if job.signature is None:
        raise SignatureRefused("the job is not signed")
    try:
        signature = JobSignature.model_validate(job.signature)
    except ValidationError as error:
        names = sorted({str(item["loc"][0]) if item["loc"] else "it" for item in error.errors(include_input=False)})
        raise SignatureRefused(f"the job's signature is malformed: {', '.join(names)}") from None
    value = exact_base64(signature.value, SIGNATURE_BYTES)
    if value is None:
        raise SignatureRefused("the job's signature is malformed: value is not 64 bytes in base64")
    key = keys.get(signature.key_id)
    if key is None:
        raise SignatureRefused(f"the key {signature.key_id[:_SHOWN]!r} that signed the job is not trusted here")
    _for_here_and_now(signature, job.job_id, audience, now)
    signable = Signable(
        job_id=signature.job_id,
        audience=signature.audience,
        action_type=job.action_type,
        connection_id=job.connection_id,
        params=job.params,
        idempotent=job.idempotent,
        expires_at=signature.expires_at,
    )
    try:
        if genuine(key, value, signable):
            return signature
    except NotCanonical as error:
        raise SignatureRefused(f"the job cannot have been signed: {error}") from None
    raise SignatureRefused(
        "the signature is not one of this job: its action, connection, parameters, audience or expiry were changed"
    )


def _for_here_and_now(signature: JobSignature, job_id: str, audience: Collection[str], now: float) -> None:
    if signature.job_id != job_id:
        raise SignatureRefused(f"the signature is for another job ({signature.job_id[:_SHOWN]!r})")
    if signature.audience not in audience:
        raise SignatureRefused(
            f"the signature is for {signature.audience[:_SHOWN]!r}, not for this agent ({', '.join(sorted(audience))})"
        )
    if now >= signature.expires_at:
        ago = min(int(now) - signature.expires_at, _SHOWN_MAX_S)
        raise SignatureRefused(f"the signature expired {ago} seconds ago")
    if signature.expires_at > now + LIFETIME_MAX_S:
        raise SignatureRefused(f"the signature is valid for more than {LIFETIME_MAX_S // 86_400} days: sign for less")
