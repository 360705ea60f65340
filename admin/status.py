"""The data of `GET /status`: how this agent is, for people and for `easyalert-agent status`. No secrets, no job output.

Each part is asked by itself: what cannot be read says so in its own place, and the rest is still answered.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from easyalert import __version__
from easyalert.errors import JournalError, QueueError
from easyalert.journal import Journal
from easyalert.journal.pause import pause_now
from easyalert.protocol.messages import RegisterData
from easyalert.queues import agent_queue, connect, queued_keys, registered_workers
from easyalert.settings import AgentSettings
from vault import Vault

Part = dict[str, Any]

_NOTES: Final = ("registration", "poller", "heartbeat", "workers", "policy")
"""What other processes leave in the journal about themselves; each may be missing. `registration` is a RegisterData,
the others may hold `lastError` and `lastErrorAt` (epoch seconds)."""


@dataclass(frozen=True)
class StatusReader:
    """Reads everything anew at each call, in the calling thread; blocks for 2 s at most while Redis is away."""

    settings: AgentSettings
    vault: Vault

    def read(self) -> Part:
        """Answer the whole status.

        Of each part, `state` is `ok` or says what is wrong, and `error` is a sentence or null. Ages are seconds.
        """
        journal, notes = self._journal()
        redis = self._redis()
        workers = redis.pop("workers")
        agent_id = _agent_id(notes["registration"])
        return {
            "agentName": self.settings.agent_name,
            "version": __version__,
            "registered": agent_id is not None,
            "agentId": agent_id,
            "paused": notes["poller"].get("paused"),
            "pause": journal.pop("pause", None),
            "controlPlane": self._control_plane(),
            "workers": {
                "registered": workers,
                "max": self.settings.max_concurrent_jobs,
                "inFlight": journal.get("inFlight"),
            },
            "redis": redis,
            "journal": journal,
            "vault": self._vault(),
            "policy": _policy(notes["policy"]),
            "lastErrors": _last_errors(notes),
        }

    def _journal(self) -> tuple[Part, dict[str, Part]]:
        nothing: dict[str, Part] = {name: {} for name in _NOTES}
        # Opening would make the file; before the first start of the agent there is nothing to tell.
        if not self.settings.journal_path.exists():
            return {"state": "missing", "error": "no journal yet: the agent has not been started here"}, nothing
        try:
            # One connection per call: calls come from any thread, and are few.
            with Journal(self.settings.journal_path) as journal:
                figures = {to_camel(name): value for name, value in asdict(journal.figures()).items()}
                notes = {name: journal.note(name) for name in _NOTES}
                pause = pause_now(journal, time.time())
        except JournalError as error:
            return {"state": "unavailable", "error": str(error)}, nothing
        return (
            {"state": "ok", "error": None, **figures, "pause": None if pause is None else pause.wire()},
            {name: note if isinstance(note, dict) else {} for name, note in notes.items()},
        )

    def _redis(self) -> Part:
        kind = "embedded" if self.settings.embedded_redis else "external"
        with connect(self.settings, glance=True) as connection:
            queue = agent_queue(connection)
            try:
                depth, workers = len(queued_keys(queue)), registered_workers(queue)
            except QueueError as error:
                return {
                    "state": "unavailable", "error": str(error), "kind": kind, "queueDepth": None, "workers": None
                }  # fmt: skip
        return {"state": "ok", "error": None, "kind": kind, "queueDepth": depth, "workers": workers}

    def _control_plane(self) -> Part:
        # Touched on each heartbeat that was answered, and on nothing else: the one honest sign of contact.
        try:
            age = _age(self.settings.heartbeat_file.stat().st_mtime)
        except OSError:
            age = None
        late = age is None or age > 3 * self.settings.heartbeat_interval
        return {
            "url": self.settings.agent_api_url,
            "state": "unreachable" if late else "ok",
            "lastSuccessSecondsAgo": age,
        }

    def _vault(self) -> Part:
        found = self.vault.check()
        return {
            "state": found.state,
            "entries": found.entries,
            "damaged": list(found.damaged),
            "error": None if found.state in {"ok", "empty"} else found.sentence,
        }


def _agent_id(note: Part) -> str | None:
    try:
        return RegisterData.model_validate(note).agent_id
    except ValidationError:
        return None


def _policy(note: Part) -> Part:
    """As the workers have noted it; nothing before their first word."""
    names = {"state": "unknown", "file": None, "inForce": None, "rules": None, "dryRun": None, "signatures": None}
    return {**{name: note.get(name, default) for name, default in names.items()}, "error": note.get("sentence")}


def _last_errors(notes: dict[str, Part]) -> list[Part]:
    """Answer `{"process", "secondsAgo", "error"}` of every process that has left one, newest first."""
    found = [
        {"process": name, "secondsAgo": _age(note.get("lastErrorAt")), "error": str(note["lastError"])}
        for name, note in notes.items()
        if note.get("lastError")
    ]
    return sorted(found, key=lambda item: float("inf") if item["secondsAgo"] is None else item["secondsAgo"])


def _age(moment: Any) -> float | None:
    """Whole tenths of seconds since an epoch time; a clock that was set back makes it 0, not negative."""
    return round(max(0.0, time.time() - moment), 1) if isinstance(moment, int | float) else None
