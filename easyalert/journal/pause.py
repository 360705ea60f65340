"""Why an agent takes no new jobs though nothing is wrong: somebody paused it here, or its control plane drains it.

Two notes of the journal say so. `pause` is left by `easyalert-agent pause`: nothing new starts, not even jobs that are
here already. `control` is what the control plane said in its last answer to a heartbeat: nothing new is taken, what
was acknowledged still runs. Both end by themselves at their time, if they have one; it survives restarts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

NOTE: Final = "pause"
CONTROL_NOTE: Final = "control"
POLL_INTERVAL_MAX_S: Final = 300

Kind = Literal["paused", "draining", "disabled"]


class Notes(Protocol):
    """The part of the journal that is used here."""

    def note(self, name: str) -> Any:
        """A note, or None."""

    def leave_note(self, name: str, value: Any, *, durable: bool = False) -> None:
        """Replace a note; None removes it."""


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
    journal.leave_note(NOTE, {"reason": reason, "until": until, "since": now, "by": by}, durable=True)
    return Pause("paused", reason, until)


def resume_here(journal: Notes) -> None:
    """End a pause made here. Raises JournalError."""
    journal.leave_note(NOTE, None, durable=True)


def local_pause(journal: Notes, now: float) -> Pause | None:
    """The pause made here that is in force at `now` (epoch seconds). Raises JournalError."""
    return local_pause_of(journal.note(NOTE), now)


def local_pause_of(note: Any, now: float) -> Pause | None:
    """The same from the note itself."""
    return _in_force("paused", note, now)


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
