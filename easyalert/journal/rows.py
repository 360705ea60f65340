"""The journal's vocabulary: states, outcomes, and one row as a value."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from easyalert.runtime import ProcessIdentity


class State(StrEnum):
    """Where a job is; see the package's drawing."""

    TAKEN = "taken"
    QUEUED = "queued"
    STARTED = "started"
    DONE = "done"
    IN_DOUBT = "in_doubt"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    ACKED = "acked"
    REJECTED = "rejected"


OUTBOX: Final = (State.DONE, State.IN_DOUBT, State.CANCELLED, State.EXPIRED)
"""States whose result waits for the control plane's answer."""

Outcome = Literal["finished", "timed_out", "in_doubt", "cancelled", "expired"]
"""How a job ended; kept when the row goes on to `acked`."""

_SAFE_ID = re.compile(r"(?!x-)[A-Za-z0-9_-]{1,80}(?<!-)", re.ASCII)
_ATTEMPT_TAIL = re.compile(r"--\d+$", re.ASCII)


def job_key(job_id: str, attempt: int | None = None) -> str:
    """The row's key, also the RQ job id: only letters, digits, `_`, `-`; different for different hand-outs.

    No attempt and attempt 1 are the same hand-out: a server may begin to count while a job is under way. A plain server
    has no attempts: there a repeated id is the same job. Ids that RQ does not take are hashed.
    """
    if _SAFE_ID.fullmatch(job_id) and not _ATTEMPT_TAIL.search(job_id):
        return job_id if attempt in {None, 1} else f"{job_id}--{attempt}"
    digest = hashlib.sha256(json.dumps([job_id, 1 if attempt is None else attempt]).encode()).hexdigest()
    return f"x-{digest[:40]}"


@dataclass(frozen=True)
class NewJob:
    """A job as the poller received it. Times in milliseconds are `runtime.monotonic_ms`."""

    job_id: str
    attempt: int | None
    action: str
    connection_id: str | None
    sealed: bytes
    """HPKE box of the parameters' JSON, bound to the job id."""
    timeout_s: int
    idempotent: bool | None
    needs_ack: bool
    lease_s: float | None
    start_within_s: float
    refusal: dict[str, Any] | None = None
    """A ready result (contract 2.2) for a job that cannot be run at all; it goes straight to the outbox."""
    signature: Any = None
    """What came as the job's signature (feature signed), as JSON values; None: nothing."""
    requested_by: str | None = None
    """Who asked for the job, in the control plane's words; None: it does not say."""

    @property
    def key(self) -> str:
        """Primary key of its row."""
        return job_key(self.job_id, self.attempt)


@dataclass(frozen=True)
class JobRow:
    """One row, as read. `result` is the envelope of contract 2.2 without extension fields."""

    key: str
    job_id: str
    attempt: int | None
    state: State
    action: str
    connection_id: str | None
    sealed: bytes | None
    timeout_s: int
    idempotent: bool | None
    received_at: float
    """Epoch seconds; for people. Everything that decides uses the monotonic columns."""
    boot_id: str
    received_ms: int
    acknowledged_ms: int | None
    started_ms: int | None
    finished_ms: int | None
    owner: ProcessIdentity | None
    deaths: int
    outcome: Outcome | None
    fault: str | None
    result: dict[str, Any] | None
    finished_at: float | None
    rejection: str | None
    cancel_by: str | None = None
    """Who asked to cancel it; None: nobody."""
    cancel_at: float | None = None
    signature: Any = None
    requested_by: str | None = None

    @property
    def description(self) -> str:
        """What people see in rq-dashboard: `script.bash job_01…`. Never a parameter."""
        return f"{self.action} {self.job_id}"[:120]

    def since_received(self, moment_ms: int | None, boot: str) -> int | None:
        """Milliseconds from receipt to `moment_ms`; None when unknown or measured in another boot."""
        if moment_ms is None or self.boot_id != boot:
            return None
        return max(0, moment_ms - self.received_ms)


def row_of(record: sqlite3.Row) -> JobRow:
    """Build a value from a record of `SELECT *`."""
    owner = None
    if record["owner_pid"] is not None:
        owner = ProcessIdentity(record["owner_boot"], record["owner_pid"], record["owner_ticks"])
    idempotent = record["idempotent"]
    return JobRow(
        key=record["key"],
        job_id=record["job_id"],
        attempt=record["attempt"],
        state=State(record["state"]),
        action=record["action"],
        connection_id=record["connection_id"],
        sealed=record["sealed"],
        timeout_s=record["timeout_s"],
        idempotent=None if idempotent is None else bool(idempotent),
        received_at=record["received_at"],
        boot_id=record["boot_id"],
        received_ms=record["received_ms"],
        acknowledged_ms=record["acknowledged_ms"],
        started_ms=record["started_ms"],
        finished_ms=record["finished_ms"],
        owner=owner,
        deaths=record["deaths"],
        outcome=record["outcome"],
        fault=record["fault"],
        result=None if record["result"] is None else json.loads(record["result"]),
        finished_at=record["finished_at"],
        rejection=record["rejection"],
        cancel_by=record["cancel_by"],
        cancel_at=record["cancel_at"],
        signature=None if record["signature"] is None else json.loads(record["signature"]),
        requested_by=record["requested_by"],
    )
