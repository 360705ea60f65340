"""Who did what: rows that are only ever added, in the same transaction as what they tell of.

The actor is a token (`name (tok_…)`), an agent (`name (agt_…)`) or the control plane itself. No row holds a secret, a
parameter or an output.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.clock import rfc3339
from controlplane.models.tables import Agent, Audit, OperatorToken
from easyalert.protocol.limits import REQUESTED_BY_MAX_CHARS

KEY_REFUSED: Final = "agent.key_refused"
KEY_TAKEN_OVER: Final = "agent.key_taken_over"
RECORD_ACCEPTED: Final = "agent.record_accepted"
"""`agent.record_cut`, `agent.record_rewritten`, `agent.record_begun_anew`: `audit_heads`."""
JOB_CANCEL: Final = "job.cancel"
JOB_RETRY: Final = "job.retry"
JOB_SETTLE: Final = "job.settle"
JOB_LATE_RESULT: Final = "job.late_result"
JOB_RUN_AGAIN: Final = "job.run_again"
CREDENTIALS_SENT: Final = "connection.credentials_sent"
JOB_IDEMPOTENCE_SET: Final = "job.idempotence_set"

CONTROL_PLANE: Final = "control plane"
_ACTOR_MAX: Final = 200


def record(session: Session, now: float, *, actor: str, action: str, target: str, **detail: Any) -> None:
    """Add a row. `target` is the id of a job or an agent, `detail` any JSON."""
    session.add(Audit(at=now, actor=actor[:_ACTOR_MAX], action=action, target=target, detail=detail))


def operator(session: Session, token_id: str) -> str:
    """A token as people know it."""
    token = session.get(OperatorToken, token_id)
    return token_id if token is None else f"{token.name} ({token_id})"


def requester(session: Session, token_id: str) -> str:
    """As `operator`, for the agent's own record: one printable line that is not too long."""
    name = "".join(sign if sign.isprintable() else "?" for sign in operator(session, token_id)).strip()
    return name if len(name) <= REQUESTED_BY_MAX_CHARS else f"…{name[1 - REQUESTED_BY_MAX_CHARS :]}"


def agent(row: Agent) -> str:
    """An agent as people know it."""
    return f"{row.name} ({row.id})"


def list_rows(
    session: Session, *, target: str | None, action: str | None, before: int | None, limit: int
) -> list[Audit]:
    """Rows, newest first, beginning after the one numbered `before`."""
    query = select(Audit).order_by(Audit.seq.desc()).limit(limit)
    if target is not None:
        query = query.where(Audit.target == target)
    if action is not None:
        query = query.where(Audit.action == action)
    return list(session.scalars(query if before is None else query.where(Audit.seq < before)))


def view(row: Audit) -> dict[str, Any]:
    """A row as operators see it."""
    return {
        "seq": row.seq,
        "at": rfc3339(row.at),
        "actor": row.actor,
        "action": row.action,
        "target": row.target,
        "detail": row.detail,
    }
