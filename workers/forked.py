"""What the pool's parent knows of a process it has forked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from workers.lifeline import Lifeline

DEADLINE_GRACE_S: Final = 5.0
"""What a worker gets beyond its job's deadline to end the job by itself, partial output and all."""


@dataclass
class Forked:
    """A living process of the pool and what it has said last."""

    pid: int
    slot: int
    name: str
    lifeline: Lifeline
    forked_at: float
    born: float
    key: str | None = None
    deadline: float | None = None
    limit_s: int = 0
    cancel_until: float | None = None
    """Its job is to be cancelled: when it must have ended it."""
    stopping: bool = False
    idle_since: float = field(default_factory=time.monotonic)

    @property
    def idle(self) -> bool:
        """Waiting for a job, and going on to wait."""
        return self.key is None and not self.stopping

    @property
    def kill_at(self) -> float | None:
        """When it is killed if its job is still running."""
        if self.cancel_until is not None:
            return self.cancel_until
        return None if self.deadline is None else self.deadline + DEADLINE_GRACE_S
