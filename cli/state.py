"""How the agent on a state directory is, as one JSON value: asked of the journal, supervisord, Redis and the vault.

Each part is asked by itself; what cannot be read says so in its own place. `problems` is what makes the agent degraded,
`hints` what merely wants a look.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import Any, Final

from redis.exceptions import RedisError

from cli import lock
from cli.diagnosis import hints, problems
from cli.looking import UNSET_URL
from cli.policy_state import policy_state
from cli.supervisor_rpc import process_table
from easyalert import __version__
from easyalert.errors import JournalError
from easyalert.journal import Figures, Journal
from easyalert.journal.pause import pause_now
from easyalert.queues import agent_queue, connect
from easyalert.settings import AgentSettings

Part = dict[str, Any]

_NOTES: Final = ("registration", "poller", "heartbeat", "confinement", "isolation", "policy")


def collect(settings: AgentSettings) -> Part:
    """Everything, at this moment. Takes a second at most beyond the 0.1 s of opening the vault."""
    pid = lock.holder_of(settings.lock_path)
    jobs, notes, pause = _journal(settings)
    registration, poller, heartbeat = (notes[name] for name in ("registration", "poller", "heartbeat"))
    state: Part = {
        "agentName": settings.agent_name,
        "version": __version__,
        "stateDir": str(settings.state_dir),
        "running": pid is not None,
        "pid": pid or None,
        "agentId": registration.get("agentId"),
        "features": registration.get("features", []),
        "paused": poller.get("paused"),
        "poller": poller.get("state"),
        "keyInUse": poller.get("keyInUse"),
        "pause": pause,
        "controlPlane": _control_plane(settings, poller, heartbeat),
        "programs": [] if pid is None else _programs(settings),
        "jobs": jobs,
        "redis": _redis(settings, running=pid is not None),
        "vault": _vault(settings),
        "policy": policy_state(settings, notes["policy"], running=pid is not None),
        "freeDiskMb": _free_disk_mb(settings),
        "confinement": notes["confinement"].get("sentence"),
        "isolation": {
            name: notes["isolation"].get(name) for name in ("mode", "asked", "exposed", "reason", "sentence")
        },
    }
    state["problems"] = problems(settings, state) if state["running"] else []
    state["hints"] = hints(state)
    return state


def _free_disk_mb(settings: AgentSettings) -> int | None:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(settings.state_dir).free // 2**20
    return None


def _journal(settings: AgentSettings) -> tuple[Part, dict[str, Part], Part | None]:
    nothing: dict[str, Part] = {name: {} for name in _NOTES}
    if not settings.journal_path.exists():  # opening it would make it
        return {"state": "missing", "error": None}, nothing, None
    try:
        with Journal(settings.journal_path) as journal:
            figures = journal.figures()
            notes = {name: journal.note(name) for name in _NOTES}
            pause = pause_now(journal, time.time())
    except JournalError as error:
        return {"state": "unavailable", "error": str(error)}, nothing, None
    known = {name: note if isinstance(note, dict) else {} for name, note in notes.items()}
    return _counts(figures), known, None if pause is None else pause.wire()


def _counts(figures: Figures) -> Part:
    return {
        "state": "ok",
        "error": None,
        "running": figures.in_flight,
        "waiting": figures.waiting,
        "undelivered": figures.undelivered,
        "rejected": figures.rejected,
        "executed": figures.executed,
        "failed": figures.failed,
        "executedLastHour": figures.executed_last_hour,
        "failedLastHour": figures.failed_last_hour,
    }


def _control_plane(settings: AgentSettings, poller: Part, heartbeat: Part) -> Part:
    moments = [moment for moment in (heartbeat.get("lastSuccessAt"), poller.get("lastPollAt")) if moment is not None]
    age = round(max(0.0, time.time() - max(moments)), 1) if moments else None
    errors = [
        (note.get("lastErrorAt") or 0.0, str(note["lastError"]))
        for note in (poller, heartbeat)
        if note.get("lastError")
    ]
    last = max(errors, default=None)
    return {
        "url": None if settings.agent_api_url == UNSET_URL else settings.agent_api_url,
        "state": "ok" if age is not None and age <= 3 * settings.heartbeat_interval else "unreachable",
        "lastSuccessSecondsAgo": age,
        "lastError": None if last is None else last[1],
        "lastErrorSecondsAgo": None if last is None else round(max(0.0, time.time() - last[0]), 1),
    }


def _programs(settings: AgentSettings) -> list[Part]:
    rows = process_table(settings.supervisor_socket) or []
    return [
        {
            "name": row["name"],
            "state": row["statename"],
            "pid": row["pid"] or None,
            "uptimeSeconds": max(0, row["now"] - row["start"]) if row["statename"] == "RUNNING" else None,
        }
        for row in rows
        if settings.embedded_redis or row["name"] != "redis"
    ]


def _redis(settings: AgentSettings, *, running: bool) -> Part:
    kind = "embedded" if settings.embedded_redis else "external"
    if settings.embedded_redis and not running:
        return {"kind": kind, "state": "stopped", "queued": None, "error": None}
    with connect(settings, glance=True) as connection:
        try:
            queued = agent_queue(connection).count
        except RedisError as error:
            return {"kind": kind, "state": "unavailable", "queued": None, "error": type(error).__name__}
    return {"kind": kind, "state": "ok", "queued": int(queued), "error": None}


def _vault(settings: AgentSettings) -> Part:
    api_key = settings.agent_api_key.get_secret_value()
    if not api_key:
        return {"state": "unknown", "entries": None, "error": "AGENT_API_KEY is not set here"}
    from vault import Vault, VaultKey  # noqa: PLC0415 - only with a key at hand

    found = Vault(settings.vault_path, VaultKey(api_key)).check()
    healthy = found.state in {"ok", "empty"}
    return {"state": found.state, "entries": found.entries, "error": None if healthy else found.sentence}
