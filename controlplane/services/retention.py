"""What jobs have printed is not kept for ever: results' outputs and live output go when their time is over.

In pieces, because a write transaction holds up every other one: a piece is a few rows, and megabytes at most. The job,
its attempts and how they ended stay, and say that the output is no longer kept.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import and_, delete, or_, select, update
from sqlalchemy.orm import Session

from controlplane.models.tables import Attempt, JobOutput, OutputChunk

PIECE: Final = 10
"""Attempts per transaction: each may have 2 MiB of live output, and as much and more in its result."""


def is_due(session: Session, before: float) -> bool:
    """Whether `drop_outputs` would drop anything: spares the write lock."""
    old = select(Attempt.job_id).where(Attempt.output_at < before).limit(1)
    live = select(JobOutput.job_id).where(JobOutput.stored_at < before).limit(1)
    return session.scalar(old) is not None or session.scalar(live) is not None


def drop_outputs(session: Session, before: float, piece: int = PIECE) -> int:
    """Drop a piece of what was stored before this time; returns of how many attempts. Zero: there is no more."""
    return _drop_results(session, before, piece) or _drop_live(session, before, piece)


def _drop_results(session: Session, before: float, piece: int) -> int:
    old = select(Attempt.job_id, Attempt.number).where(Attempt.output_at < before)
    found = session.execute(old.order_by(Attempt.output_at).limit(piece)).all()
    if found:
        these = or_(*(and_(Attempt.job_id == job_id, Attempt.number == number) for job_id, number in found))
        session.execute(update(Attempt).where(these).values(output=None, output_at=None, output_dropped=True))
    return len(found)


def _drop_live(session: Session, before: float, piece: int) -> int:
    old = select(JobOutput).where(JobOutput.stored_at < before).order_by(JobOutput.stored_at).limit(piece)
    found = session.scalars(old).all()
    for kept in found:
        chunks = and_(OutputChunk.job_id == kept.job_id, OutputChunk.attempt == kept.attempt)
        session.execute(delete(OutputChunk).where(chunks))
        kept.stored_at, kept.dropped = None, True
        kept.head_bytes = kept.tail_bytes = 0
    return len(found)
