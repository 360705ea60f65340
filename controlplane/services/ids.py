"""Identifiers: a word, an underscore, and 26 characters that sort by time."""

from __future__ import annotations

import secrets

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 76
_LENGTH = 26


def new_id(kind: str, now: float) -> str:
    """`job_01JV…`: 54 bits of microseconds, 76 random ones, in Crockford's base 32."""
    number = (int(now * 1_000_000) << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
    digits = [_ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(_LENGTH))]
    return f"{kind}_{''.join(digits)}"


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
