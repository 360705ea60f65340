"""Identifiers of jobs and other rows: a word, an underscore, and 26 characters that sort by time."""

from __future__ import annotations

import re
import secrets
from typing import Final

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS: Final = 76
_LENGTH: Final = 26
_JOB_ID: Final = re.compile(rf"job_[{_ALPHABET}]{{{_LENGTH}}}", re.ASCII)


def new_id(kind: str, now: float) -> str:
    """`job_01JV…`: 54 bits of microseconds (`now` is seconds), 76 random ones, in Crockford's base 32."""
    number = (int(now * 1_000_000) << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
    digits = [_ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(_LENGTH))]
    return f"{kind}_{''.join(digits)}"


def is_job_id(text: str) -> bool:
    """Whether `text` is an id as `new_id("job", …)` makes them."""
    return _JOB_ID.fullmatch(text) is not None
