"""The data of `GET /status`: how this agent is, for people and for `easyalert-agent status`. No secrets, no job output.

Each part is asked by itself: what cannot be read says so in its own place, and the rest is still answered.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from easyalert import __version__
from easyalert.errors import JournalError, QueueError
from easyalert.journal import Figures, Journal
from easyalert.queues import agent_queue, connect, queued_keys, registered_workers
from easyalert.settings import AgentSettings
from vault import Vault

Part = dict[str, Any]


@dataclass(frozen=True)
class StatusReader:
    """Reads everything anew at each call, in the calling thread; blocks for 2 s at most while Redis is away."""

    settings: AgentSettings
    vault: Vault

    def read(self) -> Part:
        """Answer the whole status."""
        journal, notes, journal_error = self._journal()
        queue, queue_error = self._queue()
        vault = self._vault()
        registration = notes.get("registration") if isinstance(notes.get("registration"), dict) else {}
        agent_id = registration.get("agentId")
        return {
            "agentName": self.settings.agent_name,
            "version": __version__,
            "registered": agent_id is not None,
            "agentId": agent_id,
            "controlPlane": self._control_plane(),
            "workers": {
                "running": queue.get("workers"),
                "max": self.settings.max_concurrent_jobs,
                "inFlight": journal.get("inFlight"),
            },
            "redis": {"state": "unavailable" if queue_error else "ok", "queueDepth": queue.get("depth")},
            "journal": {"state": "unavailable" if journal_error else "ok", **journal},
            "vault": vault,
            "lastErrors": [],
        }
