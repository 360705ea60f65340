"""How the agent's components are: one word each, for the heartbeat's extension form."""

from __future__ import annotations

import contextlib
import shutil
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from easyalert.errors import JournalError, QueueError
from easyalert.journal import Journal
from easyalert.queues import agent_queue, connect, registered_workers
from easyalert.settings import AgentSettings

OK: Final = "ok"
NOTED: Final = ("poller", "workers", "vault", "policy", "audit", "isolation")
"""Components that speak for themselves: a note of that name in the journal, `{"state": word}`."""

_WORD_CHARS: Final = 60


class Components:
    """What can be seen from outside. `look` blocks for about a second while Redis hangs: call it in a thread."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._redis: Redis = connect(settings, glance=True)
        self._queue = agent_queue(self._redis)

    def look(self) -> dict[str, str]:
        """State of Redis, the disk and (while Redis answers) the workers: `ok`, or a short reason. Never raises."""
        states = {"redis": self._redis_state(), "disk": self._disk_state()}
        with contextlib.suppress(QueueError):
            # the pool keeps idle workers ready, so none at all means there is no pool
            states["workers"] = OK if registered_workers(self._queue) else "none"
        return states

    def close(self) -> None:
        """Close the connection to Redis."""
        self._redis.close()

    def _redis_state(self) -> str:
        try:
            self._redis.ping()
        except RedisError:
            return "unavailable"
        return OK

    def _disk_state(self) -> str:
        try:
            usage = shutil.disk_usage(self._settings.state_dir)
        except OSError:
            return "unavailable"
        low = usage.free < self._settings.min_free_disk_mb * 2**20 or usage.free < usage.total * 0.05
        return "full" if low else OK


def noted(journal: Journal) -> dict[str, str]:
    """What the components say about themselves; one that has not spoken yet is left out. Never raises."""
    states: dict[str, str] = {}
    for name in NOTED:
        try:
            state = noted_state(journal.note(name))
        except JournalError:
            return {**states, "journal": "unavailable"}
        if state is not None:
            # a vault without credentials is how every agent begins, and nothing to mend
            states[name] = OK if name == "vault" and state == "empty" else state
    return states


def noted_state(note: Any) -> str | None:
    """The word a component has left about itself; None when it has not."""
    state = note.get("state") if isinstance(note, dict) else None
    return state[:_WORD_CHARS] if isinstance(state, str) and state else None
