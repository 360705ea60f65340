"""What a fake server can do wrong with one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Fault:
    """The base. `after_work`: the server does what was asked first (hands out, records), then goes wrong."""

    after_work: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Status(Fault):
    """Answer with this status, headers and body."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"success":false,"error":"a fault of the fake server"}'


@dataclass(frozen=True)
class Answer(Fault):
    """200 with exactly these bytes: not JSON, an array instead of an object, …"""

    body: bytes


@dataclass(frozen=True)
class Cut(Fault):
    """Close the connection: before any byte of the answer, inside its headers, or inside its body."""

    at: Literal["before", "headers", "body"] = "before"


@dataclass(frozen=True)
class Slow(Fault):
    """Answer properly, but only after `seconds`, or as soon as the server closes."""

    seconds: float


@dataclass(frozen=True)
class Trickle(Fault):
    """Answer byte by byte, each so many seconds after the one before."""

    seconds_per_byte: float


@dataclass(frozen=True)
class Silent(Fault):
    """Take the request and never answer it."""


def too_many_requests(retry_after: str | None) -> Status:
    """429, with a Retry-After of any text."""
    return Status(429, {} if retry_after is None else {"Retry-After": retry_after})
