"""Foreign input becomes jobs: each entry of an answer is judged by itself, and a bad one never costs its neighbours.

An entry without a usable id cannot be answered: it is logged and dropped. Any other entry becomes a row of the journal,
with its parameters sealed or, where it cannot be run at all, with its refusal as a ready result.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any, Final

from pydantic import ValidationError

from easyalert.client import encode
from easyalert.journal import NewJob
from easyalert.logs import escape_controls
from easyalert.protocol.limits import (
    JOB_PARAMS_MAX_CHARS,
    REQUESTED_BY_MAX_CHARS,
    START_WITHIN_DEFAULT_S,
    job_timeout_seconds,
)
from easyalert.protocol.messages import JobEnvelope
from easyalert.protocol.results import ended_without_result
from easyalert.sealing import PublicKey, seal_info

log = logging.getLogger(__name__)

_BASE_FIELDS: Final = ("jobId", "actionType", "connectionId", "params")
_NAME_MAX_CHARS: Final = 200
_SIGNATURE_MAX_BYTES: Final = 4096
_START_WITHIN_MAX_S: Final = 7 * 24 * 3600.0
_LEASE_MAX_S: Final = 24 * 3600.0
_ATTEMPT_MAX: Final = 2**53  # what every reader of JSON can count to, and the journal's columns hold


class Unusable(Exception):  # noqa: N818 - not an error of ours: what the job is
    """The job cannot be run; the sentence becomes its result."""


def read_jobs(entries: Iterable[Any], *, key: PublicKey, extended: bool, ack: bool) -> list[NewJob]:
    """The jobs among `entries`. `extended`: some feature was negotiated, so the extension fields mean what they say.

    `ack`: jobs wait for the control plane's permit.
    """
    return [job for entry in entries if (job := read_job(entry, key=key, extended=extended, ack=ack)) is not None]


def read_job(entry: Any, *, key: PublicKey, extended: bool, ack: bool) -> NewJob | None:
    """One entry as a job; None when it has no usable `jobId` (contract 2.1)."""
    if not isinstance(entry, dict):
        log.error("the control plane sent a job that is no object (%s); it is dropped", type(entry).__name__)
        return None
    job_id = entry.get("jobId")
    if not isinstance(job_id, str) or not job_id or not _carried(job_id):
        log.error("the control plane sent a job without a usable jobId; it is dropped, for it could not be answered")
        return None
    try:
        envelope = _envelope(entry, extended=extended)
        sealed = key.seal(_parameters(envelope), seal_info(job_id))
        signature = _signature(envelope)
        requested_by = _requested_by(envelope.requested_by)
    except Unusable as reason:
        log.warning("job %s is refused: %s", escape_controls(job_id[:_NAME_MAX_CHARS]), reason)
        return _refused(job_id, entry, str(reason), extended=extended)
    attempt = envelope.attempt
    start_within = envelope.start_within_seconds
    return NewJob(
        job_id=job_id,
        attempt=attempt,
        action=envelope.action_type,
        connection_id=envelope.connection_id,
        sealed=sealed,
        timeout_s=job_timeout_seconds(envelope.params.get("timeout")),
        idempotent=envelope.idempotent,
        needs_ack=ack and attempt is not None,
        lease_s=None if envelope.lease_seconds is None else _within(envelope.lease_seconds, _LEASE_MAX_S),
        start_within_s=START_WITHIN_DEFAULT_S if start_within is None else _within(start_within, _START_WITHIN_MAX_S),
        signature=signature,
        requested_by=requested_by,
    )


def _envelope(entry: dict[str, Any], *, extended: bool) -> JobEnvelope:
    fields = dict(entry) if extended else {name: entry[name] for name in _BASE_FIELDS if name in entry}
    if fields.get("params") is None:
        fields["params"] = {}
    try:
        envelope = JobEnvelope.model_validate(fields)
    except ValidationError as error:
        # values stay out of the sentence: parameters may be secrets
        names = sorted({str(item["loc"][0]) for item in error.errors(include_input=False, include_url=False)})
        raise Unusable(f"the job's {' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing or of the wrong "
                       "type") from None  # fmt: skip
    if not envelope.action_type or not _carried(envelope.action_type) or len(envelope.action_type) > _NAME_MAX_CHARS:
        raise Unusable("the job's actionType is empty, too long or not text")
    if not _carried(envelope.connection_id or ""):
        raise Unusable("the job's connectionId is not text")
    if _attempt(envelope.attempt) != envelope.attempt:
        raise Unusable("the job's attempt is no number from 0 on")
    return envelope


def _attempt(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _ATTEMPT_MAX else None


def _within(seconds: float, most: float) -> float:
    """A span of time that the journal can add to its clocks: `nan` is none, and neither are centuries."""
    return min(max(seconds, 0.0), most) if not math.isnan(seconds) else 0.0


def _parameters(envelope: JobEnvelope) -> bytes:
    try:
        encoded = encode(envelope.params)
    except (ValueError, RecursionError):
        raise Unusable("the job's params hold a value JSON cannot carry (NaN, infinity, half a character)") from None
    # characters, not bytes (contract 2.7); counted only where the bytes leave it open
    if len(encoded) > JOB_PARAMS_MAX_CHARS and len(encoded.decode()) > JOB_PARAMS_MAX_CHARS:
        raise Unusable(f"the job's params are larger than {JOB_PARAMS_MAX_CHARS} characters")
    return encoded


def _signature(envelope: JobEnvelope) -> Any:
    """As it came: only the worker judges it. None: there is none."""
    if envelope.signature is None:
        return None
    try:
        encoded = encode(envelope.signature)
    except (ValueError, RecursionError):
        raise Unusable("the job's signature holds a value JSON cannot carry") from None
    if len(encoded) > _SIGNATURE_MAX_BYTES:
        raise Unusable(f"the job's signature is larger than {_SIGNATURE_MAX_BYTES} bytes")
    return envelope.signature


def _requested_by(value: Any) -> str | None:
    """Who asked for it, as it will stand in the audit record: one line without anything that a terminal would obey."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value.strip()) <= REQUESTED_BY_MAX_CHARS:
        raise Unusable(f"the job's requestedBy is no line of at most {REQUESTED_BY_MAX_CHARS} printable characters")
    return value.strip()


def _refused(job_id: str, entry: dict[str, Any], sentence: str, *, extended: bool) -> NewJob:
    action, attempt = entry.get("actionType"), _attempt(entry.get("attempt")) if extended else None
    return NewJob(
        job_id=job_id,
        attempt=attempt,
        action=action if isinstance(action, str) and _carried(action) and len(action) <= _NAME_MAX_CHARS else "invalid",
        connection_id=None,
        sealed=b"",
        timeout_s=job_timeout_seconds(None),
        idempotent=None,
        needs_ack=False,
        lease_s=None,
        start_within_s=START_WITHIN_DEFAULT_S,
        refusal=ended_without_result(job_id, "refused", sentence),
        requested_by=_who(entry) if extended else None,
    )


def _who(entry: dict[str, Any]) -> str | None:
    try:
        return _requested_by(entry.get("requestedBy"))
    except Unusable:
        return None


def _carried(text: str) -> bool:
    """False for lone surrogates: neither the journal nor a result could carry them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
