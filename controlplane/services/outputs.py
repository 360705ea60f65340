"""Live output: what running jobs print, kept with its beginning and its end, however much it is.

Bytes are numbered through both streams; the number an agent is told to go on with makes repetitions harmless. Only the
agent that has, or had, the attempt may add to it; at any time, for output may come in after the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.models.tables import Attempt, Job, JobOutput, OutputChunk
from controlplane.services import jobs, lifecycle
from controlplane.services.changes import changes_of
from controlplane.services.errors import ConflictError, NotFoundError
from controlplane.services.transcript import Piece
from easyalert.protocol import messages

HEAD_BYTES: Final = 1_048_576
TAIL_BYTES: Final = 1_048_576
_JOIN_BYTES: Final = 16_384
"""Small neighbours share a row up to here."""


@dataclass(frozen=True)
class Found:
    """An attempt's output, from somewhere on."""

    state: str
    """The job's."""
    attempt: int
    next_seq: int
    totals: dict[str, int]
    complete: bool
    """Everything the job will ever have printed has come in, or been dropped on the way."""
    pieces: list[Piece]
    shortened: bool = False
    """The pieces are a result's text, whose middle the agent has left out."""
    dropped: bool = False
    """There was more; its time is over (setting OUTPUT_RETENTION_DAYS)."""

    @property
    def over(self) -> bool:
        """Whether nothing more is to be expected."""
        return self.complete or self.state in lifecycle.FINAL


def take(session: Session, now: float, agent_id: str, job_id: str, said: messages.OutputRequest) -> int:
    """Keep new chunks; returns the number expected next. Raises NotFoundError, or ConflictError for others' jobs."""
    attempt = session.get(Attempt, (job_id, said.attempt))
    if attempt is None:
        raise NotFoundError(f"there is no attempt {said.attempt} of a job {job_id[:64]!r}")
    if attempt.agent_id != agent_id:
        raise ConflictError("another agent has this attempt", code="not_yours")
    kept = session.get(JobOutput, (job_id, said.attempt))
    if kept is None:
        kept = JobOutput(job_id=job_id, attempt=said.attempt, next_seq=0, stdout_bytes=0, stderr_bytes=0)
        kept.head_bytes = kept.tail_bytes = 0
        session.add(kept)
        session.flush()
    for chunk in said.chunks:
        _add(session, kept, chunk)
    _drop(session, kept)
    if said.totals is not None:
        kept.stdout_bytes = max(kept.stdout_bytes, said.totals.stdout)
        kept.stderr_bytes = max(kept.stderr_bytes, said.totals.stderr)
    kept.ended = said.totals is not None
    kept.stored_at = now
    changes_of(session).output.add(job_id)
    return kept.next_seq


def find(session: Session, job_id: str, *, attempt: int | None = None, after: int = 0) -> Found:
    """What is kept of an attempt (None: the last), pieces that reach beyond `after`. Raises NotFoundError.

    Where no live output came in, a final job's result is read instead: agents do not send twice what a short job's
    result says anyway, and base agents know no live output.
    """
    job = jobs.get(session, job_id)
    number = job.attempt if attempt is None else attempt
    if attempt is not None and session.get(Attempt, (job_id, attempt)) is None:
        raise NotFoundError(f"job {job.id} has no attempt {attempt}")
    kept = session.get(JobOutput, (job_id, number))
    if kept is None:
        return _from_result(job, session.get(Attempt, (job_id, number)), number)
    query = (
        select(OutputChunk.stream, OutputChunk.seq, OutputChunk.offset, OutputChunk.data)
        .where(OutputChunk.job_id == job_id, OutputChunk.attempt == number)
        .where(OutputChunk.seq + OutputChunk.size > after)
        .order_by(OutputChunk.seq)
    )
    pieces = [Piece(*row) for row in session.execute(query)]
    totals = {"stdout": kept.stdout_bytes, "stderr": kept.stderr_bytes}
    return Found(job.state, number, kept.next_seq, totals, kept.ended, pieces, dropped=kept.dropped)


def _add(session: Session, kept: JobOutput, chunk: messages.OutputChunk) -> None:
    known = max(0, kept.next_seq - chunk.seq)
    data = chunk.data[known:]
    if not data:
        return
    seq, offset = chunk.seq + known, chunk.offset + known
    kept.next_seq = seq + len(data)
    if chunk.stream == "stdout":
        kept.stdout_bytes = max(kept.stdout_bytes, offset + len(data))
    else:
        kept.stderr_bytes = max(kept.stderr_bytes, offset + len(data))
    in_tail = kept.head_bytes >= HEAD_BYTES
    if in_tail:
        kept.tail_bytes += len(data)
    else:
        kept.head_bytes += len(data)
    last = _last(session, kept)
    if (
        last is not None
        and (last.stream, last.in_tail) == (chunk.stream, in_tail)
        and last.seq + last.size == seq
        and last.size + len(data) <= _JOIN_BYTES
    ):
        last.data += data
        last.size = len(last.data)
        return
    row = OutputChunk(job_id=kept.job_id, attempt=kept.attempt, seq=seq, stream=chunk.stream, offset=offset)
    row.size, row.in_tail, row.data = len(data), in_tail, data
    session.add(row)
    session.flush()


def _last(session: Session, kept: JobOutput) -> OutputChunk | None:
    query = select(OutputChunk).where(OutputChunk.job_id == kept.job_id, OutputChunk.attempt == kept.attempt)
    return session.scalar(query.order_by(OutputChunk.seq.desc()).limit(1))


def _drop(session: Session, kept: JobOutput) -> None:
    """Drop the tail's oldest chunks that it can do without."""
    while kept.tail_bytes > TAIL_BYTES:
        query = select(OutputChunk).where(OutputChunk.job_id == kept.job_id, OutputChunk.attempt == kept.attempt)
        oldest = session.scalar(query.where(OutputChunk.in_tail).order_by(OutputChunk.seq).limit(1))
        if oldest is None or kept.tail_bytes - oldest.size < TAIL_BYTES:
            return
        kept.tail_bytes -= oldest.size
        session.delete(oldest)
        session.flush()


def _from_result(job: Job, attempt: Attempt | None, number: int) -> Found:
    output = attempt.output if attempt is not None and isinstance(attempt.output, dict) else {}
    pieces: list[Piece] = []
    totals = dict.fromkeys(("stdout", "stderr"), 0)
    seq = 0
    for stream in totals:
        text = output.get(stream)
        data = text.encode("utf-8", "replace") if isinstance(text, str) else b""
        totals[stream] = len(data)
        if data:
            pieces.append(Piece(stream, seq, 0, data))
            seq += len(data)
    dropped = attempt is not None and attempt.output_dropped
    # a worker that was killed leaves no output in its result, and what it has printed comes separately
    complete = job.state in lifecycle.FINAL and (
        attempt is None or not attempt.needs_ack or attempt.output is not None or dropped
    )
    return Found(
        job.state, number, seq, totals, complete, pieces, shortened=output.get("truncated") is True, dropped=dropped
    )
