"""Why an agent takes no new jobs though nothing is wrong: somebody paused it here, or its control plane drains it.

Three notes of the journal say so. `pause` is left by `easyalert-agent pause`: nothing new starts, not even jobs that
are here already. `control` is what the control plane said in its last answer to a heartbeat: nothing new is taken, what
was acknowledged still runs. Both end by themselves at their time, if they have one; it survives restarts. `rekeyed` is
left by a rekey of the vault: running workers hold the former key, and jobs that need a credential would fail. It is a
pause made here too, and ends when workers start whose key opens the vault.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

NOTE: Final = "pause"
CONTROL_NOTE: Final = "control"
REKEYED_NOTE: Final = "rekeyed"
POLL_INTERVAL_MAX_S: Final = 300
REKEYED_REASON: Final = (
    "the vault has a new key: restart the agent with AGENT_API_KEY set to it, AGENT_API_KEY_PREVIOUS to the former one"
)

Kind = Literal["paused", "draining", "disabled"]


class Notes(Protocol):
    """The part of the journal that is used here."""

    def note(self, name: str) -> Any:
        """A note, or None."""

    def leave_note(
        self, name: str, value: Any, *, durable: bool = False, audited: tuple[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Replace a note; None removes it. `audited`: an audit entry that tells of it."""


@dataclass(frozen=True)
class Pause:
    """A pause in force. `until` is epoch seconds, None: until somebody ends it."""

    kind: Kind
    reason: str | None = None
    until: float | None = None

    @property
    def sentence(self) -> str:
        """`paused here until 2026-01-31T18:00:00Z (disk is replaced)`."""
        what = "paused here" if self.kind == "paused" else f"{self.kind} by the control plane"
        ends = f" until {moment(self.until)}" if self.until is not None else ""
        return what + ends + (f" ({self.reason})" if self.reason else "")

    def wire(self) -> dict[str, Any]:
        """For status answers."""
        return {
            "kind": self.kind,
            "reason": self.reason,
            "until": None if self.until is None else moment(self.until),
            "sentence": self.sentence,
        }


def moment(at: float) -> str:
    """RFC 3339, whole seconds, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def pause_here(journal: Notes, now: float, *, reason: str | None, until: float | None, by: str) -> Pause:
    """Pause this agent. Raises JournalError."""
    ends = None if until is None else moment(until)
    journal.leave_note(
        NOTE,
        {"reason": reason, "until": until, "since": now, "by": by},
        durable=True,
        audited=("agent.paused", {"by": by, "reason": reason, "until": ends}),
    )
    return Pause("paused", reason, until)


def resume_here(journal: Notes, *, by: str = "somebody") -> None:
    """End a pause made here. Raises JournalError."""
    journal.leave_note(NOTE, None, durable=True, audited=("agent.resumed", {"by": by}))


def local_pause(journal: Notes, now: float) -> Pause | None:
    """The pause made here that is in force at `now` (epoch seconds). Raises JournalError."""
    return _in_force("paused", journal.note(NOTE), now) or rekey_pause(journal)


def pause_for_rekey(journal: Notes, now: float, *, by: str) -> None:
    """Nothing starts any more until workers begin with a key that opens the vault. Raises JournalError."""
    journal.leave_note(REKEYED_NOTE, {"since": now, "by": by}, durable=True)


def rekey_pause(journal: Notes) -> Pause | None:
    """The pause that a rekey of the vault has left. Raises JournalError."""
    return Pause("paused", REKEYED_REASON) if isinstance(journal.note(REKEYED_NOTE), dict) else None


def lift_rekey_pause(journal: Notes, opens: Callable[[], bool]) -> bool:
    """End that pause if this process' key opens the vault. True: it was lifted. Raises JournalError."""
    before = journal.note(REKEYED_NOTE)
    if before is None or not opens() or journal.note(REKEYED_NOTE) != before:
        return False
    journal.leave_note(REKEYED_NOTE, None, durable=True)
    return True


def ordered_pause(journal: Notes, now: float) -> Pause | None:
    """What the control plane ordered. Raises JournalError."""
    note = journal.note(CONTROL_NOTE)
    if not isinstance(note, dict):
        return None
    return _in_force("disabled", note.get("disabled"), now) or _in_force("draining", note.get("drain"), now)


def ordered_poll_interval(journal: Notes) -> int | None:
    """Seconds between polls while idle that the control plane wants; None: what is set here. Raises JournalError."""
    note = journal.note(CONTROL_NOTE)
    seconds = note.get("pollIntervalSeconds") if isinstance(note, dict) else None
    return seconds if type(seconds) is int and 1 <= seconds <= POLL_INTERVAL_MAX_S else None


def pause_now(journal: Notes, now: float) -> Pause | None:
    """Whatever keeps this agent from taking jobs at `now`, the local word first. Raises JournalError."""
    return local_pause(journal, now) or ordered_pause(journal, now)


def _in_force(kind: Kind, said: Any, now: float) -> Pause | None:
    if not isinstance(said, dict):
        return None
    until, reason = said.get("until"), said.get("reason")
    ends = float(until) if isinstance(until, int | float) else None
    if ends is not None and ends <= now:
        return None
    return Pause(kind, reason if isinstance(reason, str) else None, ends)
