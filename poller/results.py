"""A row of the outbox in the form of the wire (contract 2.2), encoded so that no row spoils its neighbours' report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from easyalert.client import encode
from easyalert.journal import JobRow
from easyalert.protocol.messages import Timings
from easyalert.protocol.results import ended_without_result, json_safe
from easyalert.runtime import boot_id, monotonic_ms

_BASE: Final = {"status": "error", "output": None, "error": None, "exitCode": -1, "durationMs": 0}


@dataclass(frozen=True)
class Report:
    """One row, without its result, and the encoded result."""

    row: JobRow
    body: bytes


def report_of(row: JobRow, *, receipts: bool) -> Report | None:
    """Encode one row; None when it cannot be, whatever is tried. Extension fields go out only with feature receipts."""
    found = row.result or ended_without_result(row.job_id, "in_doubt", "the agent has no record of this job's result")
    # exactly the contract's fields: a plain server may refuse a report for one it does not know
    envelope: dict[str, Any] = {"jobId": row.job_id} | {name: found.get(name, _BASE[name]) for name in _BASE}
    if receipts:
        envelope |= _extension(row)
    bare = replace(row, result=None)
    try:
        return Report(bare, encode(envelope))
    except (ValueError, TypeError, RecursionError):
        pass
    try:
        return Report(bare, encode(json_safe(envelope)))
    except (ValueError, TypeError, RecursionError):
        return None


def _extension(row: JobRow) -> dict[str, Any]:
    boot = boot_id()
    moments = {
        "acknowledged_ms": row.since_received(row.acknowledged_ms, boot),
        "started_ms": row.since_received(row.started_ms, boot),
        "finished_ms": row.since_received(row.finished_ms, boot),
        "reported_ms": row.since_received(monotonic_ms(), boot),
    }
    fields = {
        "attempt": row.attempt,
        "outcome": row.outcome,
        "fault": row.fault,
        "repeatable": (row.result or {}).get("repeatable"),
        "timings": Timings(**{name: moment for name, moment in moments.items() if moment is not None}).wire(),
    }
    return {name: value for name, value in fields.items() if value is not None}
