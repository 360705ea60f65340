"""What a transaction changed, left in the session for whoever wakes sleepers after its commit."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

_KEY = "changes"


@dataclass
class Changes:
    """Pools in which something may be dispatched now, jobs that became final, agents with new orders, jobs that
    have printed something, wiped secrets.
    """

    pools: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    ordered: set[str] = field(default_factory=set)
    """Agents that are to end a job."""
    output: set[str] = field(default_factory=set)
    wiped: bool = False


def changes_of(session: Session) -> Changes:
    """The session's changes so far; never None."""
    found = session.info.get(_KEY)
    if not isinstance(found, Changes):
        found = session.info[_KEY] = Changes()
    return found
