"""What a heartbeat says: the base form of contract 1.6, and more where the server offered any feature."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import ValidationError

from easyalert import __version__
from easyalert.audit.moving import HEAD_NOTE
from easyalert.errors import JournalError
from easyalert.journal import Figures, JobRow, Journal
from easyalert.protocol.messages import (
    AckItem,
    AuditHead,
    HeartbeatRequest,
    MinuteCount,
    RegisterData,
    ScriptIsolation,
    SystemMetrics,
    WorkerFigures,
)
from easyalert.runtime import monotonic_ms, start_ticks

MINUTES_SENT: Final = 5
ISOLATION_NOTE: Final = "isolation"
"""Left by the workers' bookkeeper when they start: `{"mode", "asked", "exposed", "reason", …}`."""

Status = Literal["online", "offline"]


def base_form(
    registration: RegisterData, status: Status, figures: Figures, metrics: SystemMetrics, uptime_s: int
) -> dict[str, Any]:
    """The fields of contract 1.6. The job counts are of jobs, not of deliveries, since the journal began."""
    return {
        "agent_id": registration.agent_id,
        "status": status,
        "jobs_executed": figures.executed,
        "jobs_failed": figures.failed,
        "uptime_seconds": uptime_s,
        "version": __version__,
        "system_metrics": metrics,
    }


def extended_form(
    figures: Figures, running: list[JobRow], components: Mapping[str, str], max_concurrent_jobs: int
) -> dict[str, Any]:
    """The further fields. Running jobs renew their leases (feature ack); a plain server's jobs have no attempt."""
    return {
        "in_flight": figures.in_flight,
        "queue_depth": figures.waiting,
        "max_concurrent_jobs": max_concurrent_jobs,
        "undelivered_results": figures.undelivered,
        "running_jobs": [AckItem(job_id=row.job_id, attempt=row.attempt) for row in running if row.attempt is not None],
        "workers": WorkerFigures(
            executed_last_hour=figures.executed_last_hour,
            failed_last_hour=figures.failed_last_hour,
            per_minute=[
                MinuteCount(minute=minute, executed=executed, failed=failed)
                for minute, executed, failed in figures.per_minute[-MINUTES_SENT:]
            ],
        ),
        "components": dict(components),
    }


def audit_head(journal: Journal) -> AuditHead | None:
    """The end of the agent's audit record, for the control plane to witness; None before there is one."""
    with contextlib.suppress(JournalError, ValidationError):
        note = journal.note(HEAD_NOTE)
        return None if note is None else AuditHead.model_validate(note)
    return None


def script_isolation(journal: Journal) -> ScriptIsolation | None:
    """What the workers have noted about how scripts are kept; None before they have."""
    with contextlib.suppress(JournalError, ValidationError):
        note = journal.note(ISOLATION_NOTE)
        return None if note is None else ScriptIsolation.model_validate(note)
    return None


def message(fields: Mapping[str, Any]) -> HeartbeatRequest:
    """The wire model of the collected fields."""
    return HeartbeatRequest(**fields)


def agent_uptime_s(supervisor_pid: int) -> int:
    """Seconds since the agent started, that is its supervisor: this process may have been restarted meanwhile."""
    ticks = start_ticks(supervisor_pid)
    if ticks is None:
        return 0
    return max(0, monotonic_ms() // 1000 - ticks // os.sysconf("SC_CLK_TCK"))
