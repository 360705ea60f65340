"""Identifiers: the ones of rows, and of jobs as a base-protocol agent sees them."""

from __future__ import annotations

from easyalert.protocol.ids import new_id

__all__ = ["new_id", "split_wire_job_id", "wire_job_id"]


def wire_job_id(job_id: str, attempt: int) -> str:
    """The id a base-protocol agent sees: new for every attempt, since it refuses one it has seen (contract 1.10.6)."""
    return job_id if attempt <= 1 else f"{job_id}-{attempt}"


def split_wire_job_id(wire_id: str) -> tuple[str, int | None]:
    """The job's id and the attempt a wire id names; None where it names none."""
    job_id, dash, number = wire_id.rpartition("-")
    # isascii first: isdigit alone also says yes to superscripts, which int() refuses.
    if dash and number.isascii() and number.isdigit() and len(number) <= 9:
        return job_id, int(number)
    return wire_id, None
